// SPDX-License-Identifier: MIT
// How a queue comes to its socket on the real kernel: in other network namespaces, and handed over between processes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kernel/child.hpp"
#include "kernel/live_queue.hpp"
#include "kernel/process.hpp"
#include "unit/without_capability.hpp"
#include "wire/config.hpp"

namespace ipq {
namespace {

using namespace queue_tests;
using kernel_tests::child;

/// Sends a descriptor over a Unix socket.
void pass(int over, int fd) {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (::sendmsg(over, &message, 0) != 1) throw std::runtime_error("sendmsg");
}

int receive_descriptor(int over) {
  char byte = 0;
  iovec part{&byte, 1};
  int fd = -1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (::recvmsg(over, &message, 0) != 1 || CMSG_FIRSTHDR(&message) == nullptr) throw std::runtime_error("recvmsg");
  std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  return fd;
}

class queue_opening : public live_queue {
 protected:
  /// The other namespace gets a rule, and near0 the datagrams that it lets through.
  void queue_in_far_namespace() {
    kernel_tests::in(far_ns(), [&] { flow4().rule("-A INPUT", to_queue); });
  }
  void expect_works_in_far_namespace(const queue_options& options) {
    queue_in_far_namespace();
    const auto here = inode("/proc/thread-self/ns/net");
    queue q = must(queue::open(options));
    EXPECT_EQ(inode("/proc/thread-self/ns/net"), here) << "the thread was moved";
    flow4().send("a");
    flow4().send("b");
    EXPECT_EQ(receive_all(q, 2,
                          [&](const packet& p) {
                            EXPECT_EQ(p.hook, 1);
                            must(q.set_verdict(p, verdict::accept()));
                          }),
              2u);
    EXPECT_EQ(arrivals(2), (std::vector<std::string>{"a", "b"}));
    if (kernel_tests::queue_counters_are_shown()) expect_sum(q);  // of its namespace, not of ours
  }
  static ino_t inode(const char* path) {
    struct stat found {};
    return ::stat(path, &found) == 0 ? found.st_ino : 0;
  }
  std::string far_path() const { return "/proc/self/fd/" + std::to_string(far_ns().fd()); }
};

TEST_F(queue_opening, in_a_namespace_by_path) {
  expect_works_in_far_namespace({.number = number, .network_namespace = far_path()});
}

TEST_F(queue_opening, in_a_namespace_by_descriptor) {
  expect_works_in_far_namespace({.number = number, .network_namespace_fd = far_ns().fd()});
  EXPECT_NE(::fcntl(far_ns().fd(), F_GETFD), -1) << "it was closed";
}

TEST_F(queue_opening, in_a_namespace_by_name) {
  // In a mount namespace of its own, so that no name appears on the machine.
  child elsewhere([&](const child::line& line) {
    const auto done = [](bool well) {
      if (!well) throw std::runtime_error(std::string("make /run/netns: ") + std::strerror(errno));
    };
    done(::unshare(CLONE_NEWNS) == 0);
    done(::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
    done(::mount("run", "/run", "tmpfs", 0, nullptr) == 0);
    done(::mkdir("/run/netns", 0755) == 0);
    done(::symlink(far_path().c_str(), "/run/netns/far") == 0);
    const queue opened = must(queue::open({.number = number, .network_namespace = "far"}));
    line.say(must(queue::open({.number = number})).number() == number ? "free here" : "");
    line.wait_for_go();
  });
  EXPECT_EQ(elsewhere.hear(), "free here");
  EXPECT_FALSE(queue::open({.number = number, .network_namespace = far_path()})) << "taken there";
  elsewhere.go();
  EXPECT_EQ(elsewhere.wait(), 0);
}

TEST_F(queue_opening, namespaces_that_are_none_are_refused) {
  const auto refusal = [](const queue_options& options) {
    const auto opened = queue::open(options);
    return opened ? "opened" : opened.error().message();
  };
  EXPECT_EQ(refusal({.number = number, .network_namespace = "no such name"}),
            "bind queue 3: No such file or directory: there is no such network namespace");
  EXPECT_EQ(refusal({.number = number, .network_namespace = "/dev/null"}),
            "bind queue 3: Invalid argument: that is no network namespace");
  EXPECT_EQ(refusal({.number = number, .network_namespace = "/proc/self/ns/uts"}),
            "bind queue 3: Invalid argument: that is no network namespace");
  EXPECT_EQ(refusal({.number = number, .network_namespace = std::string("a\0b", 3)}),
            "bind queue 3: Invalid argument: that is no network namespace");
  EXPECT_EQ(refusal({.number = number, .network_namespace_fd = 1 << 20}), "bind queue 3: Bad file descriptor");
  EXPECT_EQ(refusal({.number = number, .network_namespace = far_path(), .network_namespace_fd = far_ns().fd()}),
            "bind queue 3: Invalid argument: the network namespace is given twice, by name and by descriptor");
}

TEST_F(queue_opening, owner_in_another_namespace_is_named) {
  const queue first = must(queue::open({.number = number, .network_namespace = far_path()}));
  const auto second = queue::open({.number = number, .network_namespace = far_path()});
  ASSERT_FALSE(second);
  EXPECT_TRUE(second.error().is(EBUSY));
  if (kernel_tests::queue_counters_are_shown()) {
    EXPECT_EQ(second.error().owner, ::getpid());
  }
}

TEST_F(queue_opening, receive_buffer_is_what_was_asked_for_or_permitted) {
  const std::size_t small = must_open({.receive_buffer = 100'000}).stats().receive_buffer;
  EXPECT_EQ(small, 100'000u);
  const std::size_t promised = must_open({.copy_range = 1000, .max_length = 5000}).stats().receive_buffer;
  if (kernel_tests::rights_of_process() == kernel_tests::rights::global_root) {
    EXPECT_EQ(promised, 2u * 2024 * 5000);
  } else {
    EXPECT_GT(promised, small);
  }
  EXPECT_LE(must_open({.max_length = 1'000'000}).stats().receive_buffer, 64u << 20);
}

// ---- hand-over

TEST_F(queue_opening, handed_to_another_process_loses_no_packet) {
  queued();
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  queue q = must_open({.max_length = 4096});
  flow4().send_numbered(120, 1);
  std::multiset<std::string> wanted, seen;
  for (const int count : {120, 40, 40}) {
    for (int i = 0; i < count; ++i) wanted.insert(std::to_string(i));
  }
  // The first batch here, one of its packets without a verdict of ours.
  const batch first = must(q.receive(soon()));
  for (std::size_t i = 1; i < first.size(); ++i) must(q.set_verdict(first[i], verdict::accept()));
  wanted.erase(wanted.find("0"));
  child successor([&](const child::line& line) {
    const int fd = receive_descriptor(pair[1]);
    queue mine = must(queue::adopt(fd, {.number = number, .max_length = 4096}));
    if (::fcntl(fd, F_GETFD) != -1) throw std::runtime_error("the descriptor was not closed");
    line.say("adopted");
    receive_all(mine, 120 - 64 + 80, [&](const packet& p) { must(mine.set_verdict(p, verdict::accept())); });
    line.say(std::to_string(mine.stats().accepted));
    line.wait_for_go();
  });
  const int given = must(std::move(q).release());
  flow4().send_numbered(40, 1);  // nobody reads at the moment
  pass(pair[0], given);
  ::close(given);
  EXPECT_EQ(successor.hear(), "adopted");
  flow4().send_numbered(40, 1);
  EXPECT_EQ(successor.hear(), "136");
  while (seen.size() < wanted.size()) {
    std::string text = flow4().arrived();
    text.resize(std::min(text.find(' '), text.size()));
    seen.insert(text);
  }
  EXPECT_EQ(seen, wanted);
  EXPECT_TRUE(flow4().nothing_arrived());
  successor.go();
  EXPECT_EQ(successor.wait(), 0);
  for (const int end : pair) ::close(end);
}

TEST_F(queue_opening, what_the_predecessor_received_and_left_gets_the_stated_verdict) {
  queued();
  const int copy = [&] {
    queue crashed = must_open();
    const int kept = ::dup(crashed.fd());
    for (const char* text : {"left", "left too"}) flow4().send(text);
    auto batch_of_two = must(crashed.receive(soon()));
    // As a crash: neither verdicts nor a farewell. Held packets are forgotten without one when their queue goes.
    static std::vector<held_packet> forgotten;
    for (const packet& p : batch_of_two) forgotten.push_back(must(crashed.hold(p)));
    return kept;
  }();
  for (const char* text : {"a", "b", "c"}) flow4().send(text);
  queue q = must(queue::adopt(copy, {.number = number, .unanswered = verdict::drop()}));
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 3u);
  EXPECT_EQ(must_stats(q).in_kernel->waiting, 5u);
  // One run of accepts: as a batch verdict alone it would also let pass what was left.
  for (const packet& p : got) must(q.set_verdict(p, verdict::accept()));
  EXPECT_EQ(arrivals(3), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(must_stats(q).in_kernel->waiting, 0u);
  EXPECT_EQ(q.stats().accepted, 3u);
  EXPECT_EQ(q.stats().dropped, 0u) << "nobody has counted those";
  EXPECT_FALSE(q.try_receive());
}

TEST_F(queue_opening, adopting_a_queue_of_which_nothing_is_left_makes_no_event) {
  queued();
  queue q = must(queue::adopt(must(must_open().release()), {.number = number}));
  flow4().send("a");
  must(q.set_verdict(must(q.receive(soon()))[0], verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"a"}));
  const auto nothing = q.try_receive();
  ASSERT_FALSE(nothing) << "an event";
  EXPECT_TRUE(nothing.error().is(ETIMEDOUT));
}

TEST_F(queue_opening, refusals_of_the_predecessors_verdicts_are_not_counted) {
  queued();
  queue before = must_open();
  flow4().send("a");
  const batch got = must(before.receive(soon()));
  must_run("ip link set near0 down");
  must(before.set_verdict(got[0], verdict::accept()));  // ENOENT waits in the socket now
  queue q = must(queue::adopt(must(std::move(before).release()), {.number = number}));
  EXPECT_FALSE(q.try_receive());
  const statistics s = q.stats();
  EXPECT_EQ(s.gone, 0u);
  EXPECT_EQ(s.accepted, 0u);
}

TEST_F(queue_opening, adopted_queue_has_the_new_options) {
  queued();
  const int given = must(must_open({.copy_range = 40, .uid_gid = true}).release());
  queue q = must(queue::adopt(given, {.number = number, .max_length = 2}));
  for (int i = 0; i < 4; ++i) flow4().send(std::string(100, 'x'));
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 2u);
  EXPECT_FALSE(got[0].truncated);
  EXPECT_FALSE(got[0].uid);
  EXPECT_EQ(must_stats(q).in_kernel->lost_queue_full, 2u);
}

TEST_F(queue_opening, adopting_binds_what_is_not_bound) {
  queued();
  const int fresh = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  queue q = must(queue::adopt(fresh, {.number = number}));
  flow4().send("a");
  must(q.set_verdict(must(q.receive(soon()))[0], verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"a"}));
  expect_sum(q);
}

// Of the same ids as those that come when it is bound anew.
TEST_F(queue_opening, adopting_forgets_packets_of_a_queue_that_is_gone) {
  queued();
  const int given = must(must_open().release());
  for (const char* text : {"a", "b", "c"}) flow4().send(text);
  alignas(4) std::byte request[wire::max_config_size];
  const auto length = wire::encode_config({.queue = number, .command = wire::config_command::unbind}, request);
  ASSERT_EQ(::send(given, request, length, 0), static_cast<ssize_t>(length));
  queue q = must(queue::adopt(given, {.number = number}));
  for (const char* text : {"1", "2", "3"}) flow4().send(text);
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 3u);
  for (const packet& p : got) {
    EXPECT_LT(static_cast<char>(p.payload.back()), 'a') << "a packet that is gone";
    must(q.set_verdict(p, verdict::accept()));
  }
  EXPECT_EQ(arrivals(3), (std::vector<std::string>{"1", "2", "3"}));
}

TEST_F(queue_opening, adopted_queue_asks_for_time_stamps_as_its_options_say_and_keeps_a_large_buffer) {
  queue before = must_open({.max_length = 4096, .timestamps = true});
  const std::size_t large = before.stats().receive_buffer;
  const queue q = must(queue::adopt(must(std::move(before).release()), {.number = number}));
  int stamps = -1;
  socklen_t size = sizeof stamps;
  ASSERT_EQ(::getsockopt(q.fd(), SOL_SOCKET, SO_TIMESTAMP, &stamps, &size), 0);
  EXPECT_EQ(stamps, 0);
  EXPECT_EQ(q.stats().receive_buffer, large);
}

// Verdicts about packets of the one would reach those of the other.
TEST_F(queue_opening, socket_that_has_another_queue_is_not_adopted) {
  if (!kernel_tests::queue_counters_are_shown()) GTEST_SKIP() << "the kernel's counters are not shown";
  queued();
  const int given = must(must_open().release());
  const auto refused = queue::adopt(given, {.number = number + 1});
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().is(EINVAL));
  EXPECT_EQ(refused.error().message(), "bind queue 4: Invalid argument: the socket has another queue");
  queue q = must(queue::adopt(given, {.number = number}));
  flow4().send("a");
  must(q.set_verdict(must(q.receive(soon()))[0], verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"a"}));
}

TEST_F(queue_opening, adopted_socket_of_another_namespace_shows_its_own_counters) {
  queue_in_far_namespace();
  const int given = must(must(queue::open({.number = number, .network_namespace = far_path()})).release());
  queue q = must(queue::adopt(given, {.number = number}));
  flow4().send("a");
  must(q.set_verdict(must(q.receive(soon()))[0], verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"a"}));
  if (kernel_tests::queue_counters_are_shown()) expect_sum(q);
}

TEST_F(queue_opening, descriptors_that_are_none_of_ours_are_refused_and_stay_open) {
  const int pipe_like = ::dup(0);
  const int routes = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  for (const int fd : {pipe_like, routes}) {
    const auto refused = queue::adopt(fd, {.number = number});
    ASSERT_FALSE(refused);
    EXPECT_TRUE(refused.error().is(EINVAL));
    EXPECT_EQ(refused.error().message(),
              "bind queue 3: Invalid argument: the descriptor is no socket of NETLINK_NETFILTER");
    EXPECT_EQ(::close(fd), 0) << "it still is the caller's";
  }
  EXPECT_TRUE(queue::adopt(-1, {.number = number}).error().is(EBADF));
  const queue owner = must_open();
  const int other = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  const auto taken = queue::adopt(other, {.number = number});
  ASSERT_FALSE(taken);
  EXPECT_TRUE(taken.error().is(EBUSY)) << taken.error().message();
  EXPECT_FALSE(queue::adopt(other, {.number = 9, .network_namespace = "x"}));
  {
    const unit_tests::without_net_admin powerless;
    const auto forbidden = queue::adopt(other, {.number = 9});
    ASSERT_FALSE(forbidden);
    EXPECT_TRUE(forbidden.error().is(EPERM)) << forbidden.error().message();
  }
  EXPECT_TRUE(queue::adopt(other, {.number = 9}));
}

TEST_F(queue_opening, held_packets_keep_a_queue_from_being_given_away) {
  queued();
  queue q = must_open();
  flow4().send("a");
  held_packet held = must(q.hold(must(q.receive(soon()))[0]));
  const auto refused = std::move(q).release();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(), "give queue away: Device or resource busy");
  must(std::move(held).set_verdict(verdict::accept()));
  const int given = must(std::move(q).release());
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"a"}));
  ::close(given);
}

TEST_F(queue_opening, what_came_with_a_queue_has_to_be_received_before_it_is_given_on) {
  queued();
  queue before = must_open();
  flow4().send("a");
  flow4().send("b");
  queue q = must(queue::adopt(must(std::move(before).release()), {.number = number}));
  EXPECT_TRUE(std::move(q).release().error().is(EBUSY));
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 2u);
  for (const packet& p : got) must(q.set_verdict(p, verdict::accept().with_payload(p.payload)));
  EXPECT_EQ(arrivals(2), (std::vector<std::string>{"a", "b"}));
  ::close(must(std::move(q).release()));
}

// What it gives where it is granted is tested in tests/stock_kernels.
TEST_F(live_queue, conntrack_is_granted_or_refused_with_the_reason) {
  const auto refused = queue::open({.number = number, .conntrack = true});
  if (refused) return;
  EXPECT_TRUE(refused.error().is(EOPNOTSUPP));
  EXPECT_EQ(refused.error().message(),
            "bind queue 3: Operation not supported: conntrack needs nf_conntrack_netlink in the kernel "
            "(CONFIG_NETFILTER_NETLINK_GLUE_CT)");
}

TEST_F(live_queue, bad_options_are_refused) {
  const std::array<std::byte, 1> byte{};
  for (const queue_options& bad :
       {queue_options{.number = number, .copy_range = 65532},
        queue_options{.number = number, .metadata_only = true, .copy_range = 1},
        queue_options{.number = number, .unanswered = verdict::drop().with_payload(byte)},
        queue_options{.number = number, .max_length = 0}, queue_options{.number = number, .verdict_delay = -1ms}}) {
    const auto refused = queue::open(bad);
    ASSERT_FALSE(refused);
    EXPECT_TRUE(refused.error().is(EINVAL)) << refused.error().message();
  }
}

TEST_F(live_queue, taken_queue_names_its_owner) {
  const queue q = must_open();
  const auto refused = queue::open({.number = number});
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().is(EBUSY));
  if (kernel_tests::queue_counters_are_shown()) {
    EXPECT_EQ(refused.error().owner, ::getpid());
    EXPECT_EQ(refused.error().message(), std::string("bind queue 3: owned by ") + refused.error().owner_name.data() +
                                             " (pid " + std::to_string(::getpid()) + ")");
  }
}

TEST_F(live_queue, length_is_not_changed_by_a_thread_without_the_right) {
  queue q = must_open();
  {
    const unit_tests::without_net_admin powerless;
    const auto refused = q.set_max_length(1);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message(),
              "set length of queue 3: Operation not permitted: this thread lacks CAP_NET_ADMIN");
  }
  EXPECT_TRUE(q.set_max_length(1));
}

// ThreadSanitizer has a thread, and only a process without any may enter a user namespace.
#ifndef __SANITIZE_THREAD__
/// Moves this process, an ordinary user's, into a user and a network namespace of its own, where it is root.
void become_root_of_namespaces() {
  const std::string uid = std::to_string(::geteuid()), gid = std::to_string(::getegid());
  const auto done = [](bool well) {
    if (!well) throw std::runtime_error(std::string("make a user namespace: ") + std::strerror(errno));
  };
  const auto write = [&](const char* path, const std::string& text) {
    const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
    done(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    ::close(fd);
  };
  done(::prctl(PR_SET_DUMPABLE, 1) == 0);  // who was somebody else may not write these files
  done(::unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0);
  write("/proc/self/setgroups", "deny");
  write("/proc/self/uid_map", "0 " + uid + " 1");
  write("/proc/self/gid_map", "0 " + gid + " 1");
}

// The kernel lets it, whatever capget(2) says: its verdicts are not taken for refused, after which what waits is
// dropped.
TEST_F(queue_opening, owner_of_the_user_namespace_has_the_right_without_a_capability) {
  if (!global_root("to become somebody else")) return;
  const auto inside = [](int over, const child::line& line) {
    become_root_of_namespaces();
    must_run("ip link set lo up");
    ::setenv("XTABLES_LOCKFILE", "/dev/null", 1);  // that of the test is root's
    iptables("-A OUTPUT -p udp --dport 5000 -j NFQUEUE --queue-num 3");
    const auto here = kernel_tests::netns::current();
    const kernel_tests::udp_socket from(here, "127.0.0.1"), to(here, "127.0.0.1", 5000);
    pass(over, must(must_open().release()));
    line.say("passed");
    for (const char* text : {"dropped", "waits"}) {
      line.wait_for_go();
      from.send("127.0.0.1", 5000, text);
      line.say("sent");
    }
    line.say(to.receive());
  };
  child owner([&](const child::line& line) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) throw std::runtime_error("become somebody else");
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) throw std::runtime_error("socketpair");
    const child root([&](const child::line& to_owner) {
      ::close(pair[0]);
      inside(pair[1], to_owner);
    });
    ::close(pair[1]);
    root.hear();
    const int given = receive_descriptor(pair[0]);
    std::optional<queue> q =
        must(queue::adopt(given, {.number = number, .at_close = queue_options::closing::accept_waiting}));
    must(q->set_max_length(9));
    root.go();
    root.hear();
    must(q->set_verdict(must(q->receive(soon()))[0], verdict::drop()));
    root.go();
    root.hear();
    q.reset();
    line.say(root.hear());
  });
  EXPECT_EQ(owner.hear(), "waits");
}
#endif

TEST_F(live_queue, missing_right_is_told_apart) {
  const unit_tests::without_net_admin powerless;
  const auto refused = queue::open({.number = number});
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().is(EPERM));
  EXPECT_EQ(refused.error().message(),
            "bind queue 3: Operation not permitted: needs CAP_NET_ADMIN in this network namespace, as root has");
}

}  // namespace
}  // namespace ipq
