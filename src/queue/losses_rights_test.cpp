// SPDX-License-Identifier: MIT
// The live queue on the real kernel: packets that are lost, gone, or whose verdict is refused, each told and counted.
#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "ipq/queue.hpp"
#include "kernel/live_queue.hpp"
#include "kernel/process.hpp"
#include "unit/without_capability.hpp"

namespace ipq {
namespace {

using namespace queue_tests;

TEST_F(live_queue, full_queue_loses_and_says_so_or_lets_pass) {
  queued();
  {
    queue q = must_open({.max_length = 3});
    for (int i = 0; i < 5; ++i) flow4().send(std::to_string(i));
    EXPECT_EQ(must_stats(q).in_kernel->lost_queue_full, 2u);
    receive_all(q, 3, [&](const packet& p) { must(q.set_verdict(p, verdict::accept())); });
    EXPECT_EQ(arrivals(3), (std::vector<std::string>{"0", "1", "2"}));
    expect_sum(q);
  }
  queue q = must_open({.max_length = 3, .fail_open = true});
  for (int i = 0; i < 5; ++i) flow4().send(std::to_string(i));
  EXPECT_EQ(arrivals(2), (std::vector<std::string>{"3", "4"}));
  EXPECT_EQ(must_stats(q).in_kernel->lost_queue_full, 0u);
}

TEST_F(live_queue, length_changes_while_packets_wait) {
  queued();
  queue q = must_open({.max_length = 2});
  const auto lost = [&] { return must_stats(q).in_kernel->lost_queue_full; };
  for (int i = 0; i < 3; ++i) flow4().send(std::to_string(i));
  EXPECT_EQ(lost(), 1u);
  const auto buffer = q.stats().receive_buffer;
  must(q.set_max_length(100));
  EXPECT_GT(q.stats().receive_buffer, buffer);
  for (int i = 3; i < 6; ++i) flow4().send(std::to_string(i));
  EXPECT_EQ(lost(), 1u);
  must(q.set_max_length(1));
  flow4().send("6");
  EXPECT_EQ(lost(), 2u);
  receive_all(q, 5, [&](const packet& p) { must(q.set_verdict(p, verdict::accept())); });
  EXPECT_EQ(arrivals(5), (std::vector<std::string>{"0", "1", "3", "4", "5"}));
  expect_sum(q);
}

TEST_F(live_queue, small_receive_buffer_loses_and_the_sum_is_exact) {
  queued();
  queue q = must_open({.max_length = 10'000, .receive_buffer = 20'000});
  for (std::size_t round = 1; round <= 3; ++round) {
    constexpr std::size_t sent = 500;
    const auto before = must_stats(q);
    flow4().send_numbered(sent, 100);
    const auto lost = must_stats(q).in_kernel->lost_no_buffer - before.in_kernel->lost_no_buffer;
    EXPECT_GT(lost, 0u);
    std::size_t told = 0;
    // A loss may be told a tick after its packets.
    for (const auto end = soon(); told < lost && queue::clock::now() < end;) {
      const auto got = q.try_receive();
      if (!got) continue;
      for (const packet& p : *got) must(q.set_verdict(p, verdict::drop()));
      for (const event& e : got->events()) {
        EXPECT_EQ(e.what, event::kind::overrun);
        told += e.count;
      }
    }
    EXPECT_EQ(told, lost);
    expect_sum(q);
    const statistics s = must_stats(q);
    EXPECT_EQ(s.in_kernel->queued, sent * round);
    EXPECT_EQ(s.dropped + s.in_kernel->lost_no_buffer, sent * round);
  }
}

TEST_F(live_queue, full_receive_buffer_lets_pass_and_says_so_where_the_queue_fails_open) {
  queued();
  queue q = must_open({.max_length = 10'000, .fail_open = true, .receive_buffer = 20'000});
  constexpr std::size_t sent = 100;
  flow4().send_numbered(sent, 100);
  std::size_t told = 0, seen = 0;
  for (const auto end = soon(); seen + told < sent && queue::clock::now() < end;) {
    const auto got = q.try_receive();
    if (!got) continue;
    for (const packet& p : *got) must(q.set_verdict(p, verdict::drop()));
    seen += got->size();
    for (const event& e : got->events()) told += e.count;
  }
  EXPECT_GT(told, 0u);
  EXPECT_EQ(seen + told, sent);
  EXPECT_EQ(must_stats(q).in_kernel->lost_no_buffer, 0u);
  for (std::size_t i = 0; i < told; ++i) flow4().arrived();
  EXPECT_TRUE(flow4().nothing_arrived());
}

// What the kernel has dropped by itself waits no more, and is not told as if it did.
TEST_F(live_queue, regress_packet_that_is_gone_does_not_wait) {
  queued();
  queue q = must_open({.verdict_delay = 0ms});
  for (std::uint32_t count = 1; count <= 2; ++count) {
    std::vector<held_packet> held;
    for (std::uint32_t i = 0; i < count; ++i) flow4().send("x");
    receive_all(q, count, [&](const packet& p) { held.push_back(must(q.hold(p))); });
    must_run("ip link set near0 down");
    for (int look = 0; look < 3; ++look) {
      const statistics s = must_stats(q);
      EXPECT_EQ(s.in_kernel->waiting, 0u);
      EXPECT_EQ(s.undecided, count);
    }
    for (held_packet& each : held) must(std::move(each).set_verdict(verdict::accept()));
    must_run("ip link set near0 up");
    const auto told = q.try_receive();
    ASSERT_TRUE(told);
    EXPECT_EQ(told->events().size(), count);
    expect_sum(q);
  }
}

TEST_F(live_queue, gone_packet_is_an_event_and_no_error) {
  queued();
  queue q = must_open();
  flow4().send("a");
  flow4().send("b");
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 2u);
  must_run("ip link set near0 down");
  must(q.set_verdict(got[0], verdict::accept()));
  must(q.set_verdict(got[1], verdict::drop()));
  const batch events = must(q.receive(soon()));
  EXPECT_TRUE(events.empty());
  ASSERT_EQ(events.events().size(), 2u);
  for (std::uint32_t i = 0; i < 2; ++i) {
    EXPECT_EQ(events.events()[i].what, event::kind::gone);
    EXPECT_EQ(events.events()[i].id, i + 1);
    EXPECT_EQ(events.events()[i].count, 1u);
    EXPECT_EQ(events.events()[i].code.value(), ENOENT);
  }
  const statistics s = q.stats();
  EXPECT_EQ(s.gone, 2u);
  EXPECT_EQ(s.accepted + s.dropped, 0u);
  expect_sum(q);
}

TEST_F(live_queue, lost_capability_is_an_event_for_every_verdict) {
  queued();
  queue q = must_open({.verdict_delay = 1h});
  for (const char* text : {"a", "b", "c"}) flow4().send(text);
  const batch got = must(q.receive(soon()));
  {
    const unit_tests::without_net_admin powerless;
    for (const packet& p : got) must(q.set_verdict(p, verdict::accept()));
  }
  const batch events = must(q.receive(soon()));
  ASSERT_EQ(events.events().size(), 1u);
  EXPECT_EQ(events.events()[0].what, event::kind::refused);
  EXPECT_EQ(events.events()[0].count, 3u);
  EXPECT_EQ(events.events()[0].id, 3u);
  EXPECT_EQ(events.events()[0].code.value(), EPERM);
  EXPECT_EQ(q.stats().accepted, 0u);
  EXPECT_EQ(q.stats().refused, 3u);
  EXPECT_EQ(must_stats(q).in_kernel->waiting, 3u);
  expect_sum(q);
}

// The kernel answers once for the whole datagram.
TEST_F(live_queue, lost_capability_is_counted_for_all_verdicts_that_went_out_together) {
  queued();
  queue q = must_open({.verdict_delay = 1h});
  for (int i = 0; i < 7; ++i) flow4().send(std::to_string(i));
  {
    const batch got = must(q.receive(soon()));
    ASSERT_EQ(got.size(), 7u);
    held_packet held = must(q.hold(got[0])), other = must(q.hold(got[6]));
    must(std::move(held).set_verdict(verdict::accept()));
    {
      const unit_tests::without_net_admin powerless;
      for (std::size_t i = 1; i < 6; ++i) must(q.set_verdict(got[i], i % 2 == 0 ? verdict::accept() : verdict::drop()));
    }
    must(std::move(other).set_verdict(verdict::accept()));
  }
  {
    const batch events = must(q.receive(soon()));
    ASSERT_EQ(events.events().size(), 1u);
    EXPECT_EQ(events.events()[0].what, event::kind::refused);
    EXPECT_EQ(events.events()[0].id, 1u);
    EXPECT_EQ(events.events()[0].count, 6u);
    EXPECT_EQ(events.events()[0].code.value(), EPERM);
  }
  const statistics s = must_stats(q);
  EXPECT_EQ(s.accepted, 1u);
  EXPECT_EQ(s.dropped, 0u);
  EXPECT_EQ(s.refused, 6u);
  EXPECT_EQ(s.in_kernel->waiting, 6u);
  expect_sum(q);
}

TEST_F(live_queue, lost_capability_names_the_last_packet_of_the_first_message) {
  queued();
  queue q = must_open({.verdict_delay = 1h});
  for (int i = 0; i < 5; ++i) flow4().send(std::to_string(i));
  {
    const batch got = must(q.receive(soon()));
    ASSERT_EQ(got.size(), 5u);
    const unit_tests::without_net_admin powerless;
    for (std::size_t i = 0; i < 5; ++i) must(q.set_verdict(got[i], i == 3 ? verdict::drop() : verdict::accept()));
  }
  const batch events = must(q.receive(soon()));
  ASSERT_EQ(events.events().size(), 1u);
  EXPECT_EQ(events.events()[0].id, 3u);
  EXPECT_EQ(events.events()[0].count, 5u);
  EXPECT_EQ(q.stats().refused, 5u);
}

}  // namespace
}  // namespace ipq
