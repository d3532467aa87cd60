// SPDX-License-Identifier: MIT
// The live queue on the real kernel: every option, every verdict, what is merged and what must not be.
#include "ipq/queue.hpp"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "kernel/live_queue.hpp"
#include "kernel/process.hpp"
#include "unit/without_capability.hpp"

namespace ipq {
namespace {

using namespace queue_tests;

TEST_F(live_queue, hands_over_what_is_there_in_one_batch) {
  queued();
  queue q = must_open();
  for (int i = 0; i < 5; ++i) flow4().send(std::to_string(i));
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 5u);
  EXPECT_TRUE(got.events().empty());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].id, i + 1);
    EXPECT_EQ(got[i].queue, number);
    EXPECT_EQ(got[i].hook, 3);
    ASSERT_EQ(got[i].payload.size(), flow4().header_size() + 1);
    EXPECT_EQ(static_cast<char>(got[i].payload.back()), static_cast<char>('0' + i));
    must(q.set_verdict(got[i], verdict::accept()));
  }
  EXPECT_EQ(arrivals(5), (std::vector<std::string>{"0", "1", "2", "3", "4"}));
}

TEST_F(live_queue, sends_when_the_last_of_a_batch_is_decided) {
  queued();
  queue q = must_open();
  flow4().send("a");
  flow4().send("b");
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 2u);
  must(q.set_verdict(got[0], verdict::accept()));
  EXPECT_TRUE(flow4().nothing_arrived());
  must(q.set_verdict(got[1], verdict::accept()));
  EXPECT_EQ(arrivals(2), (std::vector<std::string>{"a", "b"}));
}

TEST_F(live_queue, flush_sends_what_is_decided_and_hits_nothing_else) {
  queued();
  queue q = must_open();
  for (const char* text : {"a", "b", "c", "d"}) flow4().send(text);
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 4u);
  flow4().send("unread");
  must(q.set_verdict(got[0], verdict::accept()));
  must(q.set_verdict(got[2], verdict::accept()));
  must(q.set_verdict(got[3], verdict::accept()));
  must(q.flush());
  EXPECT_EQ(arrivals(3), (std::vector<std::string>{"a", "c", "d"}));
  EXPECT_EQ(must_stats(q).in_kernel->waiting, 2u);
  must(q.set_verdict(got[1], verdict::drop()));
  EXPECT_TRUE(flow4().nothing_arrived());
  EXPECT_EQ(must_stats(q).in_kernel->waiting, 1u);
  expect_sum(q);
}

TEST_F(live_queue, verdict_delay_of_zero_sends_each_at_once) {
  queued();
  queue q = must_open({.verdict_delay = 0ms});
  for (const char* text : {"a", "b", "c"}) flow4().send(text);
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 3u);
  must(q.set_verdict(got[1], verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"b"}));
  held_packet held = must(q.hold(got[0]));
  must(std::move(held).set_verdict(verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"a"})) << "though the reader does not wait";
}

TEST_F(live_queue, verdicts_wait_no_longer_than_verdict_delay_while_the_program_is_busy) {
  queued();
  queue q = must_open({.verdict_delay = 2ms});
  for (const char* text : {"a", "b", "c", "d", "e"}) flow4().send(text);
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 5u);
  must(q.set_verdict(got[0], verdict::accept()));
  std::this_thread::sleep_for(13ms);  // more than that and a tick
  must(q.set_verdict(got[1], verdict::accept()));
  EXPECT_EQ(arrivals(2), (std::vector<std::string>{"a", "b"}));
  held_packet one = must(q.hold(got[2])), other = must(q.hold(got[3]));
  must(std::move(one).set_verdict(verdict::accept()));
  std::this_thread::sleep_for(13ms);
  must(std::move(other).set_verdict(verdict::accept()));
  EXPECT_EQ(arrivals(2), (std::vector<std::string>{"c", "d"}));
}

TEST_F(live_queue, regress_verdict_of_a_slow_handler_does_not_wait_for_the_next) {
  queued();
  queue q = must_open({.verdict_delay = 2ms});
  for (const char* text : {"a", "b"}) flow4().send(text);
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 2u);
  std::this_thread::sleep_for(13ms);  // more than that and a tick
  must(q.set_verdict(got[0], verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"a"}));
}

TEST_F(live_queue, regress_verdict_of_a_holder_does_not_wait_for_a_busy_reader) {
  queued();
  queue q = must_open({.verdict_delay = 2ms});
  for (const char* text : {"a", "b", "c", "d"}) flow4().send(text);
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 4u);
  held_packet one = must(q.hold(got[0])), other = must(q.hold(got[1]));
  std::this_thread::sleep_for(13ms);
  must(std::move(one).set_verdict(verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"a"})) << "late, while another is still to be decided";
  must(std::move(other).set_verdict(verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"b"})) << "the last";
  held_packet again = must(q.hold(got[2]));
  must(std::move(again).set_verdict(verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"c"})) << "the last, though not late";
}

TEST_F(live_queue, verdict_delay_may_be_as_long_as_can_be_said) {
  queued();
  queue q = must_open({.verdict_delay = std::chrono::milliseconds::max()});
  for (const char* text : {"a", "b", "c"}) flow4().send(text);
  const batch got = must(q.receive(soon()));
  must(q.set_verdict(got[0], verdict::accept()));
  std::this_thread::sleep_for(13ms);
  must(q.set_verdict(got[1], verdict::accept()));
  EXPECT_TRUE(flow4().nothing_arrived());
  must(q.set_verdict(got[2], verdict::accept()));
  EXPECT_EQ(arrivals(3), (std::vector<std::string>{"a", "b", "c"}));
}

TEST_F(live_queue, held_packets_decided_in_an_event_loop_go_at_once) {
  queued();
  queue q = must_open();
  flow4().send("a");
  flow4().send("b");
  const batch got = must(q.try_receive());
  held_packet a = must(q.hold(got[0])), b = must(q.hold(got[1]));
  must(std::move(a).set_verdict(verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"a"})) << "nobody asks for the next batch until it is there";
  EXPECT_TRUE(q.try_receive().error().is(ETIMEDOUT));
  must(std::move(b).set_verdict(verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"b"}));
}

TEST_F(live_queue, held_packet_decided_after_receive_came_back_without_packets_goes_at_once) {
  queued();
  queue q = must_open();
  flow4().send("a");
  flow4().send("b");
  const batch got = must(q.receive(soon()));
  held_packet a = must(q.hold(got[0])), b = must(q.hold(got[1]));
  EXPECT_TRUE(q.receive(queue::clock::now()).error().is(ETIMEDOUT));
  must(std::move(a).set_verdict(verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"a"}));
  q.stop();
  EXPECT_TRUE(q.receive(soon()).error().is(ECANCELED));
  must(std::move(b).set_verdict(verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"b"}));
}

TEST_F(live_queue, any_order_of_any_verdicts_reaches_the_right_packets) {
  queued();
  queue q = must_open({.max_length = 4096});
  std::vector<std::string> expected;
  constexpr std::size_t count = 400;
  flow4().send_numbered(count, 1);
  unsigned random = 1;
  std::size_t arrived = 0;
  receive_all(q, count, [&](const packet&) {});  // the first pass leaves them to `unanswered`
  EXPECT_TRUE(flow4().nothing_arrived());
  for (int round = 0; round < 20; ++round) {
    flow4().send_numbered(40, 1);
    const batch got = must(q.receive(soon()));
    ASSERT_EQ(got.size(), 40u);
    std::vector<std::size_t> order(got.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::vector<bool> passes(got.size());
    for (std::size_t i = order.size() - 1; i > 0; --i)
      std::swap(order[i], order[(random = random * 1103515245 + 12345) / 65536 % (i + 1)]);
    for (std::size_t i = 0; i < order.size(); ++i) {
      const bool pass = (random = random * 1103515245 + 12345) / 65536 % 3 != 0;
      passes[order[i]] = pass;
      must(q.set_verdict(got[order[i]], pass ? verdict::accept() : verdict::drop()));
      if (random / 65536 % 5 == 0) must(q.flush());
    }
    std::multiset<std::string> wanted, seen;
    for (std::size_t i = 0; i < passes.size(); ++i) {
      if (passes[i]) wanted.insert(std::to_string(i));
    }
    while (seen.size() < wanted.size()) seen.insert(flow4().arrived());
    ASSERT_EQ(seen, wanted) << "round " << round;
    arrived += seen.size();
    ASSERT_TRUE(flow4().nothing_arrived());
  }
  const statistics s = q.stats();
  EXPECT_EQ(s.accepted, arrived);
  EXPECT_EQ(s.accepted + s.dropped, s.received);
  EXPECT_EQ(s.gone, 0u);
  expect_sum(q);
}

TEST_F(live_queue, second_verdict_is_refused) {
  queued();
  queue q = must_open();
  flow4().send("a");
  flow4().send("b");
  const batch got = must(q.receive(soon()));
  must(q.set_verdict(got[0], verdict::accept()));
  const auto again = q.set_verdict(got[0], verdict::drop());
  ASSERT_FALSE(again);
  EXPECT_TRUE(again.error().is(EALREADY)) << again.error().message();
  const auto held = q.hold(got[0]);
  ASSERT_FALSE(held);
  EXPECT_TRUE(held.error().is(EALREADY));
  packet other = got[1];
  other.id = 99;
  const auto foreign = q.set_verdict(other, verdict::drop());
  ASSERT_FALSE(foreign);
  EXPECT_TRUE(foreign.error().is(EINVAL));
  // As from the queue of this number in another network namespace.
  other.id = got[1].id;
  other.payload = got[0].payload;
  EXPECT_TRUE(q.set_verdict(other, verdict::drop()).error().is(EINVAL));
  EXPECT_TRUE(q.hold(other).error().is(EINVAL));
  const packet copy = got[1];
  must(q.set_verdict(copy, verdict::accept()));
  EXPECT_EQ(arrivals(2), (std::vector<std::string>{"a", "b"}));
}

TEST_F(live_queue, unanswered_packets_get_the_stated_verdict) {
  queued();
  {
    queue q = must_open({.unanswered = verdict::accept()});
    flow4().send("a");
    flow4().send("b");
    const batch got = must(q.receive(soon()));
    must(q.set_verdict(got[0], verdict::drop()));
    EXPECT_FALSE(q.try_receive());
    EXPECT_EQ(arrivals(1), (std::vector<std::string>{"b"}));
    EXPECT_EQ(q.stats().unanswered, 1u);
    expect_sum(q);
  }
  queue q = must_open();
  flow4().send("c");
  EXPECT_EQ(must(q.receive(soon())).size(), 1u);
  EXPECT_FALSE(q.try_receive());
  EXPECT_TRUE(flow4().nothing_arrived());
  EXPECT_EQ(q.stats().unanswered, 1u);
  EXPECT_EQ(q.stats().dropped, 1u);
}

TEST_F(live_queue, closing_drops_or_accepts_what_waits) {
  queued();
  {
    queue q = must_open({.at_close = queue_options::closing::accept_waiting});
    flow4().send("held");
    auto held = must(q.hold(must(q.receive(soon()))[0]));
    flow4().send("decided");
    flow4().send("passed over");
    must(q.set_verdict(must(q.receive(soon()))[0], verdict::accept()));
    flow4().send("unread");
    { const queue closed = std::move(q); }
    const auto late = std::move(held).set_verdict(verdict::drop());
    ASSERT_FALSE(late);
    EXPECT_TRUE(late.error().is(ENODEV));
    EXPECT_EQ(arrivals(3), (std::vector<std::string>{"decided", "held", "unread"}));
  }
  {
    queue q = must_open();
    flow4().send("decided");
    flow4().send("passed over");
    must(q.set_verdict(must(q.receive(soon()))[0], verdict::accept()));
    flow4().send("unread");
  }
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"decided"}));
}

TEST_F(live_queue, mark_and_priority_go_with_the_verdict) {
  queued();
  must_run(
      "iptables-legacy -w -A POSTROUTING -t mangle -p udp --dport 5000 -m mark --mark 0x12345678 -j NFQUEUE "
      "--queue-num 4");
  queue q = must_open();
  queue after = must_open({.number = 4});
  flow4().send("marked");
  must(q.set_verdict(must(q.receive(soon()))[0], verdict::accept().with_mark(0x12345678).with_priority(6)));
  const batch seen = must(after.receive(soon()));
  EXPECT_EQ(seen[0].mark, 0x12345678u);
  EXPECT_EQ(seen[0].priority, 6u);
  EXPECT_EQ(seen[0].hook, 4);
  must(after.set_verdict(seen[0], verdict::accept()));
  // A run with a mark becomes one batch verdict, which carries it too.
  for (const char* text : {"a", "b", "c"}) flow4().send(text);
  const batch run = must(q.receive(soon()));
  ASSERT_EQ(run.size(), 3u);
  for (const packet& p : run) must(q.set_verdict(p, verdict::accept().with_mark(0x12345678)));
  std::size_t marked = receive_all(after, 3, [&](const packet& p) {
    EXPECT_EQ(p.mark, 0x12345678u);
    must(after.set_verdict(p, verdict::accept()));
  });
  EXPECT_EQ(marked, 3u);
}

TEST_F(live_queue, neighbours_that_differ_only_in_mark_or_priority_are_not_merged) {
  queued();
  must_run("iptables-legacy -w -A POSTROUTING -t mangle -p udp --dport 5000 -j NFQUEUE --queue-num 4");
  queue q = must_open();
  queue after = must_open({.number = 4});
  for (int i = 0; i < 4; ++i) flow4().send("x");
  const batch run = must(q.receive(soon()));
  ASSERT_EQ(run.size(), 4u);
  must(q.set_verdict(run[0], verdict::accept().with_mark(1)));
  must(q.set_verdict(run[1], verdict::accept().with_mark(2)));
  must(q.set_verdict(run[2], verdict::accept().with_mark(2).with_priority(5)));
  must(q.set_verdict(run[3], verdict::accept().with_mark(2)));
  std::vector<std::pair<std::uint32_t, std::uint32_t>> seen;
  receive_all(after, 4, [&](const packet& p) {
    seen.emplace_back(p.mark, p.priority);
    must(after.set_verdict(p, verdict::drop()));
  });
  EXPECT_EQ(seen, (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{1, 0}, {2, 0}, {2, 5}, {2, 0}}));
}

TEST_F(live_queue, connection_mark_is_no_error_where_the_kernel_has_none) {
  queued();
  queue q = must_open();
  flow4().send("a");
  must(q.set_verdict(must(q.receive(soon()))[0], verdict::accept().with_connmark(7)));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"a"}));
  EXPECT_FALSE(q.try_receive()) << "no event";
}

TEST_F(live_queue, repeat_and_requeue_bring_the_packet_back) {
  queued();
  queue q = must_open();
  queue other = must_open({.number = 4});
  flow4().send("a");
  must(q.set_verdict(must(q.receive(soon()))[0], verdict::repeat()));
  batch again = must(q.receive(soon()));
  EXPECT_EQ(again[0].id, 2u);
  must(q.set_verdict(again[0], verdict::queue(4)));
  const batch there = must(other.receive(soon()));
  EXPECT_EQ(there[0].queue, 4u);
  must(other.set_verdict(there[0], verdict::stop()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"a"}));
  flow4().send("nobody listens");
  flow4().send("bypass");
  const batch two = must(q.receive(soon()));
  must(q.set_verdict(two[0], verdict::queue(5)));
  must(q.set_verdict(two[1], verdict::queue(5, true)));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"bypass"}));
  const statistics s = q.stats();
  EXPECT_EQ(s.repeated, 1u);
  EXPECT_EQ(s.requeued, 3u);
  EXPECT_EQ(other.stats().stopped, 1u);
  expect_sum(q);
}

TEST_F(live_queue, replacement_is_taken_from_the_callers_bytes) {
  queued();
  queue q = must_open();
  for (const char* text : {"aaa", "bbb", "ccc"}) flow4().send(text);
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 3u);
  must(q.set_verdict(got[0], verdict::accept()));
  {
    std::vector<std::byte> changed(got[1].payload.begin(), got[1].payload.end());
    changed[26] = changed[27] = std::byte{0};  // the UDP checksum: none
    std::memcpy(changed.data() + 28, "xyz", 3);
    must(q.set_verdict(got[1], verdict::accept().with_payload(changed)));
    std::ranges::fill(changed, std::byte{0});
  }
  // Bytes of another packet of the batch are gathered from the arena.
  must(q.set_verdict(got[2], verdict::accept().with_payload(got[0].payload)));
  EXPECT_EQ(arrivals(3), (std::vector<std::string>{"aaa", "xyz", "aaa"}));
}

TEST_F(live_queue, many_replacements_fit_into_several_datagrams) {
  queued();
  queue q = must_open();
  const std::string text(1400, 'x');
  for (int i = 0; i < 30; ++i) flow4().send(text);
  for (int i = 0; i < 4; ++i) flow4().send(std::to_string(i));
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 34u);
  for (const packet& p : got) must(q.set_verdict(p, verdict::accept().with_payload(p.payload)));
  for (int i = 0; i < 30; ++i) EXPECT_EQ(flow4().arrived(), text);
  EXPECT_EQ(arrivals(4), (std::vector<std::string>{"0", "1", "2", "3"}));
}

TEST_F(live_queue, truncated_packet_is_not_written_back) {
  queued();
  queue q = must_open({.copy_range = 40});
  flow4().send(std::string(100, 'x'));
  const batch got = must(q.receive(soon()));
  EXPECT_EQ(got[0].payload.size(), 40u);
  EXPECT_EQ(got[0].original_length, 128u);
  EXPECT_TRUE(got[0].truncated);
  const auto refused = q.set_verdict(got[0], verdict::accept().with_payload(got[0].payload));
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().is(EMSGSIZE));
  must(q.set_verdict(got[0], verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{std::string(100, 'x')}));
}

TEST_F(live_queue, metadata_only_has_no_payload) {
  queued();
  queue q = must_open({.metadata_only = true});
  flow4().send("x");
  const batch got = must(q.receive(soon()));
  EXPECT_TRUE(got[0].payload.empty());
  EXPECT_EQ(got[0].hw_protocol, 0x800);
}

TEST_F(live_queue, owner_of_the_sending_socket) {
  queued();
  queue q = must_open({.uid_gid = true});
  flow4().send("x");
  const batch got = must(q.receive(soon()));
  ASSERT_TRUE(got[0].uid && got[0].gid);
  if (::getuid() == 0 && kernel_tests::rights_of_process() == kernel_tests::rights::global_root) {
    EXPECT_EQ(*got[0].uid, 0u);
  }
}

TEST_F(live_queue, time_of_reception) {
  flow4().rule("-A INPUT", to_queue);
  queue q = must_open({.timestamps = true});
  // The kernel begins to stamp in the background (net_enable_timestamp).
  std::optional<packet_time> seen;
  kernel_tests::wait_until("a time of reception", [&] {
    flow4().send_back("x");
    seen = must(q.receive(soon()))[0].timestamp;
    return seen.has_value();
  });
  EXPECT_LT(std::abs(static_cast<double>(seen->seconds - ::time(nullptr))), 60.0);
}

TEST_F(live_queue, descriptor_is_readable_exactly_while_something_is_there) {
  queued();
  queue q = must_open();
  const auto readable = [&] {
    pollfd watched{q.fd(), POLLIN, 0};
    return ::poll(&watched, 1, 0) == 1;
  };
  EXPECT_FALSE(readable());
  for (int i = 0; i < 100; ++i) flow4().send("x");
  std::size_t seen = 0;
  while (seen < 100) {
    ASSERT_TRUE(readable()) << "after " << seen;
    const batch got = must(q.try_receive());
    EXPECT_LE(got.size(), 64u);
    seen += got.size();
  }
  EXPECT_FALSE(readable());
  const auto nothing = q.try_receive();
  ASSERT_FALSE(nothing);
  EXPECT_TRUE(nothing.error().is(ETIMEDOUT));
}

TEST_F(live_queue, receive_ends_at_the_deadline_by_a_signal_and_by_stop) {
  queue q = must_open();
  const auto late = q.receive(queue::clock::now() + 20ms);
  ASSERT_FALSE(late);
  EXPECT_TRUE(late.error().is(ETIMEDOUT));
  std::atomic<pid_t> reader = 0;
  std::thread stopper([&] {
    while (reader == 0) std::this_thread::yield();
    kernel_tests::wait_until_asleep(reader);
    q.stop();
  });
  reader = ::gettid();
  const auto stopped = q.receive();
  stopper.join();
  ASSERT_FALSE(stopped);
  EXPECT_TRUE(stopped.error().is(ECANCELED));
  EXPECT_TRUE(q.try_receive().error().is(ECANCELED)) << "it stays so";
}

TEST_F(live_queue, stop_ends_a_reader_that_packets_keep_busy) {
  queued();
  queue q = must_open();
  flow4().send("x");
  q.stop();
  EXPECT_TRUE(q.receive().error().is(ECANCELED));
}

TEST_F(live_queue, held_packet_is_decided_on_another_thread_while_the_reader_waits) {
  queued();
  queue q = must_open();
  flow4().send("held");
  flow4().send("not held");
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 2u);
  held_packet held = must(q.hold(got[0]));
  EXPECT_EQ(held.id(), 1u);
  must(q.set_verdict(got[1], verdict::accept()));
  EXPECT_EQ(flow4().arrived(), "not held");
  const pid_t reader = ::gettid();
  std::thread other([&, mine = std::move(held)]() mutable {
    kernel_tests::wait_until_asleep(reader);
    must(std::move(mine).set_verdict(verdict::accept()));
    EXPECT_EQ(flow4().arrived(), "held") << "though the reader still waits";
    q.stop();
  });
  EXPECT_TRUE(q.receive(soon()).error().is(ECANCELED));
  other.join();
  expect_sum(q);
}

TEST_F(live_queue, no_batch_verdict_passes_over_a_held_packet) {
  queued();
  queue q = must_open();
  flow4().send("held");
  held_packet held = must(q.hold(must(q.receive(soon()))[0]));
  for (const char* text : {"a", "b", "c"}) flow4().send(text);
  receive_all(q, 3, [&](const packet& p) { must(q.set_verdict(p, verdict::accept())); });
  EXPECT_EQ(arrivals(3), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(must_stats(q).in_kernel->waiting, 1u);
  EXPECT_EQ(q.stats().undecided, 1u);
  must(std::move(held).set_verdict(verdict::accept()));
  must(q.flush());
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"held"}));
  const auto twice = std::move(held).set_verdict(verdict::drop());
  ASSERT_FALSE(twice);
  EXPECT_TRUE(twice.error().is(EALREADY));
}

TEST_F(live_queue, forgotten_held_packet_gets_the_stated_verdict) {
  queued();
  queue q = must_open({.unanswered = verdict::accept()});
  flow4().send("a");
  { const held_packet forgotten = must(q.hold(must(q.receive(soon()))[0])); }
  must(q.flush());
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"a"}));
  EXPECT_EQ(q.stats().unanswered, 1u);
}

TEST_F(live_queue, thousands_held_are_decided_in_reverse) {
  queued();
  constexpr std::size_t count = 3000;
  queue q = must_open({.max_length = count});
  flow4().send_numbered(count, 1);
  std::vector<held_packet> held;
  while (held.size() < count) {
    const batch got = must(q.receive(soon()));
    for (const packet& p : got) held.push_back(must(q.hold(p)));
  }
  for (auto last = held.rbegin(); last != held.rend(); ++last) must(std::move(*last).set_verdict(verdict::drop()));
  must(q.flush());
  EXPECT_EQ(must_stats(q).in_kernel->waiting, 0u);
  EXPECT_EQ(q.stats().dropped, count);
  expect_sum(q);
}

TEST_F(live_queue, serve_answers_with_what_the_handler_returns) {
  queued();
  queue q = must_open();
  std::thread sender([&] {
    kernel_tests::in(near_ns(), [&] {
      for (int i = 0; i < 200; ++i) flow4().send(std::to_string(i));
    });
  });
  int seen = 0;
  const auto outcome = serve(q, [&](const packet&) {
    if (++seen == 200) q.stop();
    return seen % 2 == 1 ? verdict::accept() : verdict::drop();
  });
  sender.join();
  EXPECT_TRUE(outcome);
  for (int i = 0; i < 200; i += 2) EXPECT_EQ(flow4().arrived(), std::to_string(i));
  EXPECT_TRUE(flow4().nothing_arrived());
  expect_sum(q);
}

TEST_F(live_queue, what_a_handler_throws_passes_and_leaves_nothing_behind) {
  queued();
  queue q = must_open({.unanswered = verdict::accept()});
  flow4().send("a");
  flow4().send("b");
  EXPECT_THROW(static_cast<void>(serve(q, [](const packet&) -> verdict { throw std::runtime_error("no"); })),
               std::runtime_error);
  EXPECT_FALSE(q.try_receive());
  EXPECT_EQ(arrivals(2), (std::vector<std::string>{"a", "b"}));
}

// Also while packets and verdicts are on their way.
TEST_F(live_queue, sum_is_exact_under_overload) {
  queued();
  queue q = must_open({.max_length = 200, .receive_buffer = 100'000});
  std::atomic<bool> enough = false;
  std::thread sender([&] {
    kernel_tests::in(near_ns(), [&] {
      while (!enough) flow4().send_numbered(400, 200);
    });
  });
  std::atomic<std::uint64_t> looks = 0, wrong = 0;
  std::thread watcher([&] {
    for (; !enough; ++looks) {
      const statistics s = q.stats();
      const auto counted = static_cast<std::uint32_t>(s.accepted + s.dropped);
      // One may be on its way into the queue.
      wrong += !s.in_kernel || s.in_kernel->queued - (counted + s.in_kernel->waiting + s.in_kernel->lost_no_buffer) > 1;
    }
  });
  std::size_t seen = 0;
  unsigned turn = 0;
  while (seen < 20'000) {
    const batch got = must(q.receive(soon()));
    for (const packet& p : got) {
      must(q.set_verdict(p, ++turn % 3 == 0 ? verdict::accept() : verdict::drop()));
    }
    seen += got.size();
    if (turn % 64 == 0) std::this_thread::sleep_for(1ms);
  }
  enough = true;
  sender.join();
  watcher.join();
  EXPECT_GT(looks, 100u);
  EXPECT_EQ(wrong, 0u) << "of " << looks;
  expect_sum(q);
  const statistics s = must_stats(q);
  EXPECT_GT(s.in_kernel->lost_queue_full + s.in_kernel->lost_no_buffer, 0u) << "it was no overload";
}

}  // namespace
}  // namespace ipq
