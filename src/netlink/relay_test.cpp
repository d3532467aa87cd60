// SPDX-License-Identifier: MIT
#include "netlink/relay.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "unit/without_capability.hpp"
#include "wire/bytes.hpp"

namespace ipq::netlink {
namespace {

using namespace std::chrono_literals;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

bool becomes_readable(const socket& watched) {
  return watched.wait_readable(std::chrono::steady_clock::now() + 10s).has_value();
}

/// The next datagram as text.
std::string received(const socket& from) {
  std::string buffer(1 << 17, '\0');
  if (!becomes_readable(from)) return "nothing comes";
  const auto taken = from.receive(std::as_writable_bytes(std::span(buffer)), waiting::not_at_all);
  if (!taken) return taken.error().message();
  buffer.resize(taken->length);
  return buffer;
}

bool is_readable(const socket& watched) {
  return watched.wait_readable(std::chrono::steady_clock::now()).has_value();
}

/// Datagrams with A are the first reader's, with B the second's, with a the first's but for their last byte.
std::optional<std::size_t> route_by_letter(std::span<std::byte>& datagram) {
  const char letter = static_cast<char>(datagram[0]);
  if (letter == 'a') datagram = datagram.first(datagram.size() - 1);
  if (letter == 'A' || letter == 'a') return 0;
  if (letter == 'B') return 1;
  return std::nullopt;
}

class relay_test : public testing::Test {
 protected:
  void SetUp() override {
    auto ends = open_pair();
    ASSERT_TRUE(ends);
    source = std::move(ends->first);
    kernel = std::move(ends->second);
    auto created = relay::create(source, route_by_letter);
    ASSERT_TRUE(created);
    running = *std::move(created);
    first = std::move(*running->open_reader(0));
    second = std::move(*running->open_reader(1));
  }
  void start() { ASSERT_TRUE(running->start()); }
  void send(std::string_view text) const { ASSERT_TRUE(kernel.send(bytes_of(text))); }

  socket source, kernel, first, second;
  std::unique_ptr<relay> running;  // last, since it uses the source
};

TEST_F(relay_test, everybody_receives_what_is_his_in_order) {
  start();
  for (const char* text : {"A1", "B1", "A2", "A3", "B2"}) send(text);
  EXPECT_EQ(received(first), "A1");
  EXPECT_EQ(received(first), "A2");
  EXPECT_EQ(received(first), "A3");
  EXPECT_EQ(received(second), "B1");
  EXPECT_EQ(received(second), "B2");
}

TEST_F(relay_test, what_came_before_the_start_is_relayed) {
  send("A1");
  EXPECT_FALSE(is_readable(first));
  start();
  EXPECT_EQ(received(first), "A1");
}

TEST_F(relay_test, nobodys_datagram_and_anothers_leave_a_reader_unreadable) {
  start();
  for (const char* text : {"x", "B1", "x", "B2"}) send(text);
  EXPECT_EQ(received(second), "B1");
  EXPECT_EQ(received(second), "B2");
  EXPECT_FALSE(is_readable(first));
  EXPECT_FALSE(is_readable(source));
}

TEST_F(relay_test, reader_is_readable_until_it_has_read_all) {
  start();
  for (const char* text : {"A1", "A2", "B"}) send(text);
  EXPECT_EQ(received(second), "B");  // relayed last
  EXPECT_TRUE(is_readable(first));
  EXPECT_EQ(received(first), "A1");
  EXPECT_TRUE(is_readable(first));
  EXPECT_EQ(received(first), "A2");
  EXPECT_FALSE(is_readable(first));
}

TEST_F(relay_test, router_may_shorten_a_datagram) {
  start();
  send("a12");
  EXPECT_EQ(received(first), "a1");
}

TEST_F(relay_test, closed_reader_loses_its_datagrams_and_nobody_elses) {
  start();
  running->close_reader(0);
  for (const char* text : {"A1", "B1"}) send(text);
  EXPECT_EQ(received(second), "B1");
  EXPECT_EQ(received(first), "");  // the end
  first = std::move(*running->open_reader(0));
  send("A2");
  EXPECT_EQ(received(first), "A2");
}

TEST_F(relay_test, reader_that_has_gone_away_harms_nobody) {
  start();
  first = socket();
  for (const char* text : {"A1", "B1"}) send(text);
  EXPECT_EQ(received(second), "B1");
}

TEST_F(relay_test, delivered_datagrams_join_the_others) {
  start();
  std::string text = "A1";
  running->deliver(std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(received(first), "A1");
}

/// More than fits into the send buffer of who may not force one.
constexpr int many = 400;

std::string large_datagram(int number) {
  return "A" + std::to_string(number) + std::string(60'000, 'x');
}

TEST_F(relay_test, reader_that_does_not_read_delays_nobody_and_loses_nothing) {
  const unit_tests::without_net_admin ordinary;
  first = std::move(*running->open_reader(0));
  start();
  for (int i = 0; i < many; ++i) send(large_datagram(i));
  send("B");
  EXPECT_EQ(received(second), "B");
  for (int i = 0; i < many; ++i) ASSERT_EQ(received(first).substr(0, 10), large_datagram(i).substr(0, 10));
  EXPECT_FALSE(is_readable(first));
}

TEST_F(relay_test, delivered_datagrams_that_do_not_fit_come_later) {
  const unit_tests::without_net_admin ordinary;
  first = std::move(*running->open_reader(0));
  start();
  send("A awake");
  EXPECT_EQ(received(first), "A awake");  // and now it waits for work
  for (int i = 0; i < many; ++i) {
    std::string text = large_datagram(i);
    running->deliver(std::as_writable_bytes(std::span(text)));
  }
  // Now there is room again, but not for who comes last.
  for (int i = 0; i < 2; ++i) ASSERT_EQ(received(first).substr(0, 10), large_datagram(i).substr(0, 10));
  std::string last = "A last";
  running->deliver(std::as_writable_bytes(std::span(last)));
  for (int i = 2; i < many; ++i) ASSERT_EQ(received(first).substr(0, 10), large_datagram(i).substr(0, 10));
  EXPECT_EQ(received(first), "A last");
}

TEST_F(relay_test, end_of_the_source_ends_the_thread_and_not_what_was_relayed) {
  start();
  send("A1");
  kernel = socket();
  EXPECT_EQ(received(first), "A1");
}

TEST_F(relay_test, thread_takes_no_signals) {
  static std::atomic<int> handled_by_others;
  static thread_local bool is_this_thread;
  is_this_thread = true;
  handled_by_others = 0;
  struct sigaction before, action{};
  action.sa_handler = [](int) { handled_by_others += is_this_thread ? 0 : 1; };
  ::sigaction(SIGUSR1, &action, &before);
  sigset_t usr1, mask;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  start();
  ::pthread_sigmask(SIG_BLOCK, &usr1, &mask);
  ::kill(::getpid(), SIGUSR1);  // to any thread that does not block it
  send("A1");
  EXPECT_EQ(received(first), "A1");
  EXPECT_EQ(handled_by_others, 0);
  ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(relay_test, ends_at_once_when_idle_and_without_ever_starting) {
  start();
  send("A1");
  EXPECT_EQ(received(first), "A1");
  running.reset();
  EXPECT_EQ(received(first), "");
}

TEST_F(relay_test, readers_come_and_go_under_traffic) {
  start();
  std::atomic<bool> done = false;
  std::thread traffic([&, end = &kernel] {
    while (!done) {
      EXPECT_TRUE(end->send(bytes_of("A")));
      EXPECT_TRUE(end->send(bytes_of("B")));
    }
  });
  std::thread reading([&, reader = &second] {
    while (!done) EXPECT_EQ(received(*reader), "B");
  });
  for (int i = 0; i < 50; ++i) {
    running->close_reader(0);
    first = std::move(*running->open_reader(0));
    EXPECT_EQ(received(first), "A");
  }
  done = true;
  traffic.join();
  send("B");  // lets the reading thread look at done
  reading.join();
}

TEST_F(relay_test, child_that_is_forked_at_once_and_ends_leaves_it_at_work) {
  for (int round = 0; round < 40; ++round) {
    auto created = relay::create(source, route_by_letter);
    ASSERT_TRUE(created);
    running = *std::move(created);
    first = std::move(*running->open_reader(0));
    start();
    ASSERT_TRUE(running->serves()) << "in round " << round;
    running->before_fork();
    const pid_t child = ::fork();
    if (child == 0) {
      running->after_fork_in_child();
      std::this_thread::sleep_for(2ms);
      ::_exit(0);
    }
    running->after_fork_in_parent();
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    send("A");
    ASSERT_EQ(received(first), "A") << "in round " << round;
  }
}

/// Runs in a child of the test: it makes a relay, forks as a program does that becomes a daemon, and ends.
[[noreturn]] void become_daemon(const socket& source, const socket& report) {
  const auto running = relay::create(source, route_by_letter);
  const auto reader = (*running)->open_reader(0);
  if (!(*running)->start()) ::_exit(2);
  if (received(*reader) != "A before") ::_exit(3);
  const pid_t parent = ::getpid();
  (*running)->before_fork();
  if (::fork() == 0) {
    ::alarm(20);
    (*running)->after_fork_in_child();
    while (::getppid() == parent) std::this_thread::sleep_for(1ms);
    const auto sent = report.send(bytes_of(received(*reader)));
    ::_exit(sent ? 0 : 4);
  }
  (*running)->after_fork_in_parent();
  // As long as the parent lives it is the one that relays.
  const bool relayed = received(*reader) == "A in the parent";
  // It does not end before its thread has put that datagram out of its hand: its child would have it, too.
  (*running)->before_fork();
  (*running)->after_fork_in_parent();
  ::_exit(relayed ? 0 : 5);
}

TEST(relay, child_of_a_program_that_ends_takes_over) {
  auto [source, kernel] = *open_pair();
  auto [report, ours] = *open_pair();
  const pid_t parent = ::fork();
  if (parent == 0) become_daemon(source, report);
  source = socket();
  report = socket();
  ASSERT_TRUE(kernel.send(bytes_of("A before")));
  ASSERT_TRUE(kernel.send(bytes_of("A in the parent")));
  int status = 0;
  ASSERT_EQ(::waitpid(parent, &status, 0), parent);
  ASSERT_TRUE(WIFEXITED(status));
  ASSERT_EQ(WEXITSTATUS(status), 0);
  ASSERT_TRUE(kernel.send(bytes_of("A in the child")));
  EXPECT_EQ(received(ours), "A in the child");
  // Which ends with its report.
  EXPECT_EQ(received(ours), "");
}

/// A message: its length, as those of netlink begin with it, and the letter of route_by_letter behind a header.
std::vector<std::byte> message_of(std::string_view text) {
  std::vector<std::byte> made(wire::nlmsg_header_size);
  std::ranges::copy(bytes_of(text), std::back_inserter(made));
  wire::store(made.data(), static_cast<std::uint32_t>(made.size()));
  return made;
}

/// Runs in a child of the test: it has a child, and is killed with a datagram in its hand.
[[noreturn]] void end_while_it_forwards(const socket& source, const socket& report) {
  const pid_t parent = ::getpid();
  const auto running = relay::create(source, [&](std::span<std::byte>& datagram) -> std::optional<std::size_t> {
    if (::getpid() == parent) ::_exit(0);
    datagram = datagram.subspan(wire::nlmsg_header_size);
    return route_by_letter(datagram);
  });
  const auto reader = (*running)->open_reader(0);
  if (!(*running)->start()) ::_exit(2);
  (*running)->before_fork();
  if (::fork() == 0) {
    ::alarm(20);
    (*running)->after_fork_in_child();
    for (int i = 0; i < 2; ++i) {
      if (!report.send(bytes_of(received(*reader)))) ::_exit(4);
    }
    ::_exit(0);
  }
  (*running)->after_fork_in_parent();
  if (!report.send(bytes_of("forked"))) ::_exit(3);
  for (;;) ::pause();
}

TEST(relay, datagram_in_the_hand_of_a_program_that_ends_is_its_childs) {
  auto [source, kernel] = *open_pair();
  auto [report, ours] = *open_pair();
  const pid_t parent = ::fork();
  if (parent == 0) end_while_it_forwards(source, report);
  source = socket();
  report = socket();
  ASSERT_EQ(received(ours), "forked");
  ASSERT_TRUE(kernel.send(message_of("A first")));
  ASSERT_TRUE(kernel.send(message_of("A second")));
  int status = 0;
  ASSERT_EQ(::waitpid(parent, &status, 0), parent);
  EXPECT_EQ(received(ours), "A first");
  EXPECT_EQ(received(ours), "A second");
}

TEST_F(relay_test, what_is_sent_over_a_readers_end_goes_out_over_the_source) {
  start();
  ASSERT_TRUE(first.send(bytes_of("verdict")));
  EXPECT_EQ(received(kernel), "verdict");
  send("A1");
  EXPECT_EQ(received(first), "A1");
  ASSERT_TRUE(second.send(bytes_of("another")));
  EXPECT_EQ(received(kernel), "another");
}

TEST_F(relay_test, reader_that_closes_its_end_costs_no_time) {
  start();
  first = socket();
  send("B1");
  EXPECT_EQ(received(second), "B1");
  rusage before{}, behind{};
  ASSERT_EQ(::getrusage(RUSAGE_SELF, &before), 0);
  std::this_thread::sleep_for(200ms);
  ASSERT_EQ(::getrusage(RUSAGE_SELF, &behind), 0);
  EXPECT_LT(behind.ru_nvcsw + behind.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw, 50);
  const auto microseconds = [](const rusage& of) {
    return (of.ru_utime.tv_sec + of.ru_stime.tv_sec) * 1'000'000 + of.ru_utime.tv_usec + of.ru_stime.tv_usec;
  };
  EXPECT_LT(microseconds(behind) - microseconds(before), 50'000) << "its thread waits";
}

relay* forked_in_handler;

// As a handler does that calls system() or forks.
TEST_F(relay_test, handler_may_fork_while_something_is_delivered) {
  start();
  forked_in_handler = running.get();
  static std::atomic<int> handled;
  handled = 0;
  struct sigaction forking {
  }, before{};
  forking.sa_handler = [](int) {
    forked_in_handler->before_fork();
    forked_in_handler->after_fork_in_parent();
    ++handled;
    ::ualarm(50, 0);
  };
  sigaction(SIGALRM, &forking, &before);
  ::ualarm(50, 0);
  std::byte datagram[] = {std::byte{'x'}};
  while (handled < 300) running->deliver(datagram);
  ::ualarm(0, 0);
  sigaction(SIGALRM, &before, nullptr);
}

}  // namespace
}  // namespace ipq::netlink
