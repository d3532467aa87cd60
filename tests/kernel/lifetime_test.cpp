// SPDX-License-Identifier: MIT
// Who owns the queue and for how long: the next program, children, commands, killed processes, a thousand handles.
#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <atomic>
#include <fstream>
#include <new>
#include <thread>

#include "child.hpp"
#include "flow.hpp"
#include "process.hpp"

#ifdef __SANITIZE_THREAD__
// Handlers of programs do what they must not, also where they end the program.
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_suppressions() {
  return "signal:handler_may_destroy_a_handle_while_another_is_made\n";
}
#endif

namespace {
// How many allocations of this thread still succeed; for ever when negative.
thread_local int allocations_until_refusal = -1;

bool is_refused() {
  if (allocations_until_refusal == 0) return true;
  if (allocations_until_refusal > 0) --allocations_until_refusal;
  return false;
}
}  // namespace

// The library finds these two before its own.
void* operator new(std::size_t size) {
  static const auto allocate = reinterpret_cast<void* (*)(std::size_t)>(dlsym(RTLD_NEXT, "_Znwm"));
  if (is_refused()) throw std::bad_alloc();
  return allocate(size);
}

extern "C" void* mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  static const auto map = reinterpret_cast<decltype(&mmap)>(dlsym(RTLD_NEXT, "mmap"));
  if (!is_refused()) return map(at, size, protection, flags, fd, offset);
  errno = ENOMEM;
  return MAP_FAILED;
}

namespace kernel_tests {
namespace {

using lifetime = flow_test;

// Reads one packet of a flow and accepts it; what every owner of the queue can do.
void pass_one(const ipq_handle* h, const flow& packets, std::string_view payload) {
  packets.send(payload);
  set_verdict(h, read_packet(h).id());
  EXPECT_EQ(packets.arrived(), payload);
}

// Pieces of memory that children of this process would have in common with it.
int shared_mappings() {
  std::ifstream file("/proc/self/maps");
  int found = 0;
  for (std::string line; std::getline(file, line);) found += line.find(" rw-s ") != std::string::npos ? 1 : 0;
  return found;
}

// What becomes of a routing socket that is opened as daemons of 2001 do it: 0 or its errno.
int bind_routing_socket() {
  const descriptor opened{socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "socket"};
  sockaddr_nl local{};
  local.nl_family = AF_NETLINK;
  local.nl_pid = static_cast<uint32_t>(getpid());
  return bind(opened.get(), reinterpret_cast<const sockaddr*>(&local), sizeof local) == 0 ? 0 : errno;
}

TEST_F(lifetime, queue_is_free_at_once_for_the_next_handle) {
  flow4().rule();
  for (int round = 0; round < 20; ++round) {
    handle h{ipv4, IPQ_COPY_PACKET};
    flow4().send("left behind");
    h.destroy();
    handle next{ipv4, IPQ_COPY_PACKET};
    pass_one(next, flow4(), "next");
  }
}

TEST_F(lifetime, queue_is_free_at_once_for_the_next_process) {
  flow4().rule();
  child next{[&](const child::line& line) {
    line.wait_for_go();
    handle h{ipv4, IPQ_COPY_PACKET};
    flow4().send("to the child");
    set_verdict(h, read_packet(h).id());
    line.say("passed");
  }};
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send("left behind");
  h.destroy();
  next.go();
  EXPECT_EQ(next.hear(), "passed");
  EXPECT_EQ(flow4().arrived(), "to the child");
}

TEST_F(lifetime, killed_process_drops_its_packets_and_frees_the_queue) {
  flow4().rule();
  child owner{[&](const child::line& line) {
    handle h{ipv4, IPQ_COPY_PACKET};
    line.say("ready");
    read_packet(h);
    line.say("one read");
    line.wait_for_go();
  }};
  ASSERT_EQ(owner.hear(), "ready");
  flow4().send("read");
  flow4().send("unread");
  ASSERT_EQ(owner.hear(), "one read");
  owner.end_by(SIGKILL);
  handle h{ipv4, IPQ_COPY_PACKET};
  EXPECT_TRUE(nothing_to_read(h));
  pass_one(h, flow4(), "after the kill");
  EXPECT_TRUE(flow4().nothing_arrived());
}

TEST_F(lifetime, command_started_meanwhile_does_not_keep_the_queue) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  handle other{ipv6, IPQ_COPY_PACKET};
  const int fds[] = {h.fd(), other.fd()};
  background_command command{split("sleep 60")};
  // A program in the middle of exec() still has the descriptors for a moment.
  wait_until("the command to have closed what it inherited", [&] {
    const auto inherited = open_descriptors(command.pid());
    return !inherited.contains(fds[0]) && !inherited.contains(fds[1]);
  });
  h.destroy();
  other.destroy();
  child next{[&](const child::line& line) {
    handle mine{ipv4, IPQ_COPY_PACKET};
    flow4().send("free");
    set_verdict(mine, read_packet(mine).id());
    line.say("passed");
  }};
  EXPECT_EQ(next.hear(), "passed");
  EXPECT_EQ(flow4().arrived(), "free");
}

TEST_F(lifetime, child_may_make_its_own_handle_and_hears_ebusy) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    child other{[&](const child::line& line) {
      handle mine{protocol, IPQ_COPY_PACKET};
      line.say(std::to_string(read_error(mine).error()));
    }};
    EXPECT_EQ(other.hear(), std::to_string(EBUSY));
    EXPECT_EQ(WEXITSTATUS(other.wait()), 0);
    pass_one(h, packets, "still ours");
  }
}

TEST_F(lifetime, child_that_ends_leaves_the_queue_to_its_parent) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  child other{[](const child::line&) {}};
  EXPECT_EQ(WEXITSTATUS(other.wait()), 0);
  pass_one(h, flow4(), "still here");
}

TEST_F(lifetime, handle_made_before_fork_works_in_the_child) {
  for (bool mode_before_fork : {true, false}) {
    const flow& packets = (mode_before_fork ? flow4() : flow6()).rule();
    const uint32_t protocol = mode_before_fork ? ipv4 : ipv6;
    handle h{protocol};
    if (mode_before_fork) {
      ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_PACKET, 0), sent_mode);
    }
    child daemon{[&](const child::line& line) {
      if (!mode_before_fork) ipq_set_mode(h, IPQ_COPY_PACKET, 0);
      line.say("ready");
      set_verdict(h, read_packet(h).id());
      line.say("passed");
      line.say(nothing_to_read(h) ? "nothing more" : "something more");
    }};
    ASSERT_EQ(daemon.hear(), "ready");
    packets.send("by the child");
    EXPECT_EQ(daemon.hear(), "passed");
    EXPECT_EQ(packets.arrived(), "by the child");
    EXPECT_EQ(daemon.hear(), "nothing more");
  }
}

// The parent lives, and it is its thread that tells whose a packet is.
TEST_F(lifetime, two_handles_made_before_fork_work_in_the_child) {
  flow4().rule();
  flow6().rule();
  handle four{ipv4}, six{ipv6};
  child program{[&](const child::line& line) {
    for (const handle* h : {&four, &six}) ipq_set_mode(*h, IPQ_COPY_PACKET, h == &four ? 40 : 60);
    line.say("ready");
    for (const handle* h : {&four, &six}) {
      const message m = read_packet(*h);
      set_verdict(*h, m.id());
      line.say(std::to_string(m.packet().data_len));
    }
    line.say(nothing_to_read(four) && nothing_to_read(six) ? "nothing more" : "something more");
    line.wait_for_go();
  }};
  ASSERT_EQ(program.hear(), "ready");
  const std::string text(100, 'x');
  for (const auto& [packets, length] : {std::pair{&flow4(), "40"}, {&flow6(), "60"}}) {
    packets->send(text);
    EXPECT_EQ(program.hear(), length);
    EXPECT_EQ(packets->arrived(), text);
  }
  EXPECT_EQ(program.hear(), "nothing more");
  program.go();
}

// A supervisor, whose workers all begin by setting the mode; they share the socket that took the queue.
TEST_F(lifetime, every_child_may_set_the_mode_of_a_handle_made_before) {
  flow4().rule();
  handle h{ipv4};
  for (int worker = 0; worker < 3; ++worker) {
    child program{[&](const child::line& line) {
      if (ipq_set_mode(h, IPQ_COPY_PACKET, 0) != sent_mode) throw std::runtime_error(last_error(h));
      line.say(nothing_to_read(h) ? "ready" : "refused");
      set_verdict(h, read_packet(h).id());
    }};
    ASSERT_EQ(program.hear(), "ready") << worker;
    flow4().send("by a worker");
    EXPECT_EQ(flow4().arrived(), "by a worker");
    EXPECT_EQ(program.wait(), 0);
  }
}

TEST_F(lifetime, parent_may_set_the_mode_that_its_child_has_set) {
  flow4().rule();
  handle h{ipv4};
  child program{[&](const child::line& line) {
    if (ipq_set_mode(h, IPQ_COPY_PACKET, 0) != sent_mode) throw std::runtime_error(last_error(h));
    line.say("set");
    line.wait_for_go();
  }};
  ASSERT_EQ(program.hear(), "set");
  ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_META, 0), sent_mode);
  EXPECT_TRUE(nothing_to_read(h));
  flow4().send("by the parent");
  const message m = read_packet(h);
  EXPECT_EQ(m.packet().data_len, 0u);
  set_verdict(h, m.id());
  EXPECT_EQ(flow4().arrived(), "by the parent");
  program.go();
}

// What one process asked for its family stays when another asks for the other family.
TEST_F(lifetime, parent_and_child_may_each_set_the_mode_of_one_family) {
  flow4().rule();
  flow6().rule();
  handle four{ipv4}, six{ipv6};
  child program{[&](const child::line& line) {
    line.wait_for_go();
    if (ipq_set_mode(four, IPQ_COPY_META, 0) != sent_mode) throw std::runtime_error(last_error(four));
    line.say(nothing_to_read(four) ? "ready" : "refused");
    const message m = read_packet(four);
    line.say(std::to_string(m.packet().data_len));
    set_verdict(four, m.id());
    line.wait_for_go();
  }};
  ASSERT_EQ(ipq_set_mode(six, IPQ_COPY_PACKET, 60), sent_mode);
  program.go();
  ASSERT_EQ(program.hear(), "ready");
  flow4().send("four");
  EXPECT_EQ(program.hear(), "0");
  EXPECT_EQ(flow4().arrived(), "four");
  flow6().send(std::string(100, 'x'));
  const message m = read_packet(six);
  EXPECT_EQ(m.packet().data_len, 60u);
  set_verdict(six, m.id());
  EXPECT_EQ(flow6().arrived(), std::string(100, 'x'));
  program.go();
}

TEST_F(lifetime, child_goes_on_when_its_parent_destroys_the_handle) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_META};
  child program{[&](const child::line& line) {
    line.wait_for_go();
    if (ipq_set_mode(h, IPQ_COPY_PACKET, 0) != sent_mode) throw std::runtime_error(last_error(h));
    line.say("ready");
    const message m = read_packet(h);
    line.say(std::to_string(m.packet().data_len));
    set_verdict(h, m.id());
  }};
  h.destroy();
  program.go();
  ASSERT_EQ(program.hear(), "ready");
  flow4().send("four");
  EXPECT_EQ(program.hear(), "32");
  EXPECT_EQ(flow4().arrived(), "four");
}

// Wherever memory ends in the middle of it, nothing stays behind.
TEST_F(lifetime, creation_without_memory_is_enomem_and_leaves_nothing) {
  child program{[](const child::line& line) {
    const auto descriptors = open_descriptors();
    int refusals = 0;
    for (;; ++refusals) {
      ipq_handle* made = nullptr;
      allocations_until_refusal = refusals;
      const int error = errno_after([&] { made = ipq_create_handle(0, ipv4); });
      allocations_until_refusal = -1;
      if (made != nullptr) {
        ipq_destroy_handle(made);
        break;
      }
      if (error != ENOMEM || std::string(ipq_errstr()) != "Unable to create netlink handle" ||
          open_descriptors() != descriptors) {
        throw std::runtime_error("refusal of allocation " + std::to_string(refusals) + ": error " +
                                 std::to_string(error) + " " + ipq_errstr());
      }
    }
    line.say(std::to_string(refusals));
    const handle again{ipv4, IPQ_COPY_PACKET};
    line.say(nothing_to_read(again) ? "works" : "refused");
  }};
  EXPECT_GE(std::stoi(program.hear()), 3);
  EXPECT_EQ(program.hear(), "works");
}

// daemon(3): the process that made the handles goes, and with it any thread that it had.
void daemon_works(const flow& four, const flow& six, bool mode_before_fork) {
  child parent{[&](const child::line& line) {
    const handle first{ipv4}, second{ipv6};
    const auto set_modes = [&] {
      for (const ipq_handle* h : {static_cast<ipq_handle*>(first), static_cast<ipq_handle*>(second)}) {
        if (ipq_set_mode(h, IPQ_COPY_PACKET, 0) != sent_mode) throw std::runtime_error(last_error(h));
      }
    };
    if (mode_before_fork) set_modes();
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    pid_t daemon = fork();
    if (daemon < 0) throw std::runtime_error("fork");
    if (daemon > 0) {
      char any;
      child::end(read(ends[0], &any, 1) == 1 ? 0 : 1);
    }
    if (!mode_before_fork) set_modes();  // which the parent's thread sees accepted
    if (write(ends[1], "x", 1) != 1) child::end(1);
    line.wait_for_go();
    try {
      for (ipq_handle* h : {static_cast<ipq_handle*>(first), static_cast<ipq_handle*>(second)}) {
        line.say("reading");
        set_verdict(h, read_packet(h).id());
      }
      line.say("done");
    } catch (const std::exception& error) {
      line.say(error.what());
    }
    child::end(0);
  }};
  siginfo_t ended;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(parent.pid()), &ended, WEXITED | WNOWAIT), 0);
  parent.go();
  ASSERT_EQ(parent.hear(), "reading");
  four.send("four");
  EXPECT_EQ(four.arrived(), "four");
  ASSERT_EQ(parent.hear(), "reading");
  six.send("six");
  EXPECT_EQ(six.arrived(), "six");
  EXPECT_EQ(parent.hear(), "done");
}

TEST_F(lifetime, two_handles_made_before_daemon_work_in_the_daemon) {
  daemon_works(flow4().rule(), flow6().rule(), true);
}

TEST_F(lifetime, two_handles_made_before_daemon_work_in_the_daemon_that_sets_their_modes) {
  daemon_works(flow4().rule(), flow6().rule(), false);
}

// As a function of atexit(3) does in the parent.
TEST_F(lifetime, parent_that_destroys_its_handles_leaves_the_modes_of_its_child) {
  flow4().rule();
  child parent{[](const child::line& line) {
    handle first{ipv4, IPQ_COPY_PACKET}, second{ipv6, IPQ_COPY_META};
    const pid_t daemon = fork();
    if (daemon < 0) throw std::runtime_error("fork");
    if (daemon > 0) {
      first.destroy();
      second.destroy();
      child::end(0);
    }
    line.wait_for_go();
    line.say("reading");
    const message got = read_packet(first);
    line.say(std::to_string(got.packet().data_len));
    set_verdict(first, got.id());
    child::end(0);
  }};
  siginfo_t ended;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(parent.pid()), &ended, WEXITED | WNOWAIT), 0);
  parent.go();
  ASSERT_EQ(parent.hear(), "reading");
  flow4().send("four");
  EXPECT_EQ(parent.hear(), "32");
  EXPECT_EQ(flow4().arrived(), "four");
}

// Runs in a process that makes a handle, starts a daemon and ends.
[[noreturn]] void daemon_makes_the_second_handle(const child::line& line) {
  try {
    const handle first{ipv4, IPQ_COPY_PACKET};
    const pid_t daemon = fork();
    if (daemon < 0) throw std::runtime_error("fork");
    if (daemon > 0) child::end(0);
    line.wait_for_go();
    const handle second{ipv6, IPQ_COPY_PACKET};
    line.say(nothing_to_read(second) ? "ready" : "refused");
    for (const handle* h : {&first, &second}) set_verdict(*h, read_packet(*h).id());
  } catch (const std::exception& error) {
    line.say(error.what());
  }
  child::end(0);
}

TEST_F(lifetime, second_handle_may_be_made_in_the_daemon) {
  flow4().rule();
  flow6().rule();
  for (const bool waited_for : {false, true}) {
    child shell{[&](const child::line& line) {
      const pid_t creator = fork();
      if (creator < 0) throw std::runtime_error("fork");
      if (creator == 0) daemon_makes_the_second_handle(line);
      siginfo_t ended;
      waitid(P_PID, static_cast<id_t>(creator), &ended, WEXITED | (waited_for ? 0 : WNOWAIT));
      line.say("it ended");
      pause();
    }};
    ASSERT_EQ(shell.hear(), "it ended");
    shell.go();
    ASSERT_EQ(shell.hear(), "ready");
    flow4().send("four");
    EXPECT_EQ(flow4().arrived(), "four");
    flow6().send("six");
    EXPECT_EQ(flow6().arrived(), "six");
    wait_until("the daemon has ended", [] {
      const handle next{ipv4, IPQ_COPY_PACKET};
      return nothing_to_read(next);
    });
  }
}

// The library asks for interface names by sockets of its own, in the child of a fork by others.
TEST_F(lifetime, program_and_its_child_may_bind_a_routing_socket_to_their_process_id) {
  flow4().rule();
  const handle h{ipv4, IPQ_COPY_PACKET};
  EXPECT_EQ(bind_routing_socket(), 0) << "beside a handle";
  EXPECT_EQ(static_cast<ipq_handle*>(h)->local.nl_pid, static_cast<uint32_t>(getpid()))
      << "the queue's own is what it was in the original";
  child program{[&](const child::line& line) {
    const message m = read_packet(h);
    line.say(m.packet().outdev_name);
    line.say(std::to_string(bind_routing_socket()));
    set_verdict(h, m.id());
  }};
  flow4().send("to the child");
  EXPECT_EQ(program.hear(), "near0");
  EXPECT_EQ(program.hear(), "0") << "in a child that knows the name of an interface";
  EXPECT_EQ(flow4().arrived(), "to the child");
}

TEST_F(lifetime, forked_child_may_destroy_its_copy) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  child other{[&](const child::line& line) { line.say(std::to_string(h.destroy())); }};
  EXPECT_EQ(other.hear(), "0");
  EXPECT_EQ(WEXITSTATUS(other.wait()), 0);
  pass_one(h, flow4(), "the parent's own");
}

TEST_F(lifetime, thousand_handles_leak_nothing) {
  auto cycle = [](int rounds) {
    for (int round = 0; round < rounds; ++round) {
      handle h{round % 2 == 0 ? ipv4 : ipv6, IPQ_COPY_PACKET};
    }
  };
  cycle(20);
  const auto descriptors = open_descriptors();
  const auto mappings = shared_mappings();
  const auto memory = mallinfo2().uordblks;
  cycle(1000);
  EXPECT_EQ(mallinfo2().uordblks, memory);
  EXPECT_EQ(open_descriptors(), descriptors);
  EXPECT_EQ(shared_mappings(), mappings);
  const handle open{ipv4, IPQ_COPY_PACKET};
  EXPECT_EQ(shared_mappings(), mappings + 1) << "what is looked for is seen";
}

TEST_F(lifetime, pairs_of_handles_leak_nothing) {
  auto cycle = [](int rounds) {
    for (int round = 0; round < rounds; ++round) {
      handle first{ipv4, IPQ_COPY_PACKET}, second{ipv6, IPQ_COPY_META};
      if (round % 2 == 0) first.destroy();
    }
  };
  cycle(20);
  // Behind the first, as ThreadSanitizer starts a thread of its own with it. An ending thread can be seen for a moment
  // longer than it is joined, so this may be one too many; what 200 rounds leak is more than that.
  const auto tasks = threads();
  const auto descriptors = open_descriptors();
  const auto memory = mallinfo2().uordblks;
  cycle(200);
  // The C library keeps memory for a thread or two; what 200 rounds leak, of 32 bytes at the least, is more than that.
  EXPECT_LT(mallinfo2().uordblks, memory + 200 * 32 / 2);
  EXPECT_EQ(open_descriptors(), descriptors);
  wait_until("the end of every thread that was started", [&] { return threads() <= tasks; });
}

TEST_F(lifetime, packets_leak_nothing) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  auto cycle = [&](int rounds) {
    bytes buffer(large_enough);
    for (int round = 0; round < rounds; ++round) {
      flow4().send("x");
      ASSERT_GT(ipq_read(h, buffer.data(), buffer.size(), 0), 0);
      const auto id = ipq_get_packet(buffer.data())->packet_id;
      ASSERT_GT(ipq_set_verdict(h, id, NF_DROP, 0, nullptr), 0);
      ASSERT_GT(ipq_set_verdict(h, id, NF_DROP, 0, nullptr), 0);
      ASSERT_GT(ipq_read(h, buffer.data(), buffer.size(), 0), 0);
    }
  };
  cycle(20);
  const auto descriptors = open_descriptors();
  const auto memory = mallinfo2().uordblks;
  cycle(500);
  EXPECT_EQ(mallinfo2().uordblks, memory);
  EXPECT_EQ(open_descriptors(), descriptors);
}

// Neither those that wait, nor those that another process has decided.
TEST_F(lifetime, packets_of_two_families_take_no_memory) {
  flow4().rule();
  handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_PACKET};
  for (int i = 0; i < 20; ++i) pass_one(four, flow4(), "warm");
  bytes buffer(large_enough);
  const auto memory = mallinfo2().uordblks;
  for (int i = 0; i < 100; ++i) {
    flow4().send("held");
    ASSERT_GT(ipq_read(four, buffer.data(), buffer.size(), 0), 0);
  }
  EXPECT_EQ(mallinfo2().uordblks, memory);
  constexpr int elsewhere = 2000;
  {
    child decider{[&](const child::line& line) {
      line.say("ready");
      for (int i = 0; i < elsewhere; ++i) {
        set_verdict(four, read_packet(four).id(), NF_DROP);
        line.say("decided");
      }
    }};
    ASSERT_EQ(decider.hear(), "ready");
    for (int i = 0; i < elsewhere; ++i) {
      flow4().send("for the child");
      ASSERT_EQ(decider.hear(), "decided");
    }
    EXPECT_EQ(decider.wait(), 0);
  }
  // A string or two; what the packets took would be more than 32 bytes for each.
  EXPECT_LT(mallinfo2().uordblks, memory + elsewhere * 8);
  four.destroy();
  EXPECT_TRUE(nothing_to_read(six));
}

// As routines of 2001 do that make a daemon: the handle's was the only descriptor that there was.
TEST_F(lifetime, program_may_close_what_it_did_not_open) {
  flow4().rule();
  const auto before = open_descriptors();
  handle h{ipv4, IPQ_COPY_PACKET};
  pass_one(h, flow4(), "before");
  for (const int fd : open_descriptors()) {
    if (!before.contains(fd) && fd != h.fd()) close(fd);
  }
  // The program's own descriptors have those numbers now.
  int pairs[6];
  for (int* pair = pairs; pair != pairs + 6; pair += 2)
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  for (const int fd : pairs) ASSERT_EQ(write(fd, "own", 3), 3);
  iptables("-t mangle -A INPUT -p udp -j QUEUE");
  for (int round = 0; round < 3; ++round) {
    pass_one(h, flow4(), "behind");
    flow4().send_back("back");  // by an interface whose name has not been asked for
    const message packet = read_packet(h);
    EXPECT_STREQ(packet.packet().indev_name, "near0");
    set_verdict(h, packet.id());
    EXPECT_EQ(flow4().arrived_back(), "back");
  }
  EXPECT_EQ(ipq_set_mode(h, IPQ_COPY_META, 0), sent_mode);
  flow4().send("meta");
  set_verdict(h, read_packet(h).id());
  EXPECT_EQ(flow4().arrived(), "meta");
  const int fd = h.fd();
  h.destroy();
  EXPECT_EQ(fcntl(fd, F_GETFD), -1);
  for (const int own : pairs) {
    char bytes[64];
    EXPECT_EQ(recv(own, bytes, sizeof bytes, MSG_DONTWAIT), 3) << "what the program wrote, and nothing else";
    close(own);
  }
}

// A handler that ends the program may interrupt whatever is done with another handle.
TEST_F(lifetime, handler_may_destroy_a_handle_while_another_is_made) {
#ifdef __SANITIZE_THREAD__
  constexpr int programs = 3;  // each has a report made, as long as that takes, before it is suppressed
#else
  constexpr int programs = 60;
#endif
  for (int number = 0; number < programs; ++number) {
    child program{[&](const child::line&) {
      static ipq_handle* destroyed = ipq_create_handle(0, PF_INET);
      signal(SIGALRM, [](int) {
        ipq_destroy_handle(destroyed);
        _exit(0);
      });
      ualarm(static_cast<useconds_t>(2000 + number * 37), 0);
      for (;;) {
        ipq_handle* const made = ipq_create_handle(0, PF_INET6);
        ipq_destroy_handle(made);
      }
    }};
    ASSERT_EQ(program.wait(), 0);
  }
}

// The child has the handle as it is at that moment, with whatever another thread was about to write into it.
TEST_F(lifetime, child_has_its_own_errors_whatever_another_thread_did) {
  handle h{ipv4};
  std::atomic<bool> done = false;
  std::thread failing([&] {
    unsigned char buffer[64];
    while (!done) ipq_read(h, buffer, 4, 0);
  });
  int without = 0;
  for (int number = 0; number < 400; ++number) {
    child program{[&](const child::line& line) {
      ipq_set_max_length(h, 0);
      line.say(ipq_handle_errstr(h));
    }};
    without += program.hear().find("1048576") == std::string::npos ? 1 : 0;
  }
  done = true;
  failing.join();
  EXPECT_EQ(without, 0);
}

}  // namespace
}  // namespace kernel_tests
