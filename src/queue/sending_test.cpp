// SPDX-License-Identifier: MIT
// The queue over a scripted kernel: when it sends, and how much together.
#include <gtest/gtest.h>
#include <poll.h>

#include <cerrno>
#include <thread>

#include "ipq/queue.hpp"
#include "unit/scripted_queue.hpp"

namespace ipq {
namespace {

using namespace queue_tests;

using sending_queue = scripted_queue_test;

TEST_F(sending_queue, holding_the_next_packet_sends_what_is_late) {
  queue q = open({.number = number, .verdict_delay = 100ms});
  for (int i = 0; i < 3; ++i) arrive();
  const batch got = must_receive(q);
  ASSERT_EQ(got.size(), 3u);
  EXPECT_TRUE(q.set_verdict(got[0], verdict::accept()));
  std::this_thread::sleep_for(150ms);
  const auto held = q.hold(got[1]);
  ASSERT_TRUE(held);
  ASSERT_EQ(kernel.verdicts().size(), 1u);
  EXPECT_EQ(kernel.verdicts()[0].id, got[0].id);
}

TEST_F(sending_queue, small_send_buffer_ends_nothing) {
  send_buffer = 40'000;
  queue q = open({.number = number, .verdict_delay = 1h});
  for (int i = 0; i < 3; ++i) arrive(30'000);
  arrive(60'000);
  const batch got = must_receive(q);
  ASSERT_EQ(got.size(), 4u);
  for (const std::size_t i : {0uz, 1uz, 2uz}) {
    EXPECT_TRUE(q.set_verdict(got[i], verdict::accept().with_payload(got[i].payload)));
  }
  const auto larger = q.set_verdict(got[3], verdict::accept().with_payload(got[3].payload));
  ASSERT_FALSE(larger);
  EXPECT_TRUE(larger.error().is(EMSGSIZE));
  EXPECT_TRUE(q.flush());
  EXPECT_EQ(kernel.verdicts().size(), 3u);
  auto held = q.hold(got[3]);
  ASSERT_TRUE(held) << "it is undecided";
  EXPECT_TRUE(std::move(*held).set_verdict(verdict::accept().with_payload(got[3].payload)).error().is(EMSGSIZE));
  EXPECT_TRUE(std::move(*held).set_verdict(verdict::drop()));
  EXPECT_TRUE(waiting().empty());
}

TEST_F(sending_queue, smallest_send_buffer_takes_whole_batches) {
  send_buffer = 1;
  queue q = open({.number = number, .verdict_delay = 1h});
  for (int i = 0; i < 64; ++i) arrive();
  std::uint32_t seen = 0;
  while (seen < 64) {
    for (const packet& p : must_receive(q)) {
      ++seen;
      const auto given = verdict::accept().with_mark(seen).with_priority(1).with_connmark(seen, 0xffff);
      EXPECT_TRUE(q.set_verdict(p, given));
    }
  }
  EXPECT_TRUE(waiting().empty());
}

// By packets: an empty payload is the same in all of them.
TEST_F(sending_queue, copy_without_a_payload_is_of_no_packet) {
  queue q = open({.number = number, .metadata_only = true});
  arrive(0);
  const batch got = must_receive(q);
  const packet copy = got[0];
  EXPECT_TRUE(q.set_verdict(copy, verdict::accept()).error().is(EINVAL));
  EXPECT_TRUE(q.hold(copy).error().is(EINVAL));
  EXPECT_TRUE(q.set_verdict(got[0], verdict::accept()));
}

TEST_F(sending_queue, descriptor_is_readable_after_stop_whoever_has_seen_the_end) {
  queue q = open();
  std::thread reader([&] {
    const auto ended = q.receive();
    EXPECT_TRUE(!ended && ended.error().is(ECANCELED));
  });
  std::this_thread::sleep_for(20ms);  // mostly it waits then
  q.stop();
  reader.join();
  kernel.settle();
  pollfd readable{.fd = q.fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&readable, 1, 0), 1);
  EXPECT_TRUE(q.try_receive().error().is(ECANCELED));
  EXPECT_EQ(::poll(&readable, 1, 0), 1);
}

}  // namespace
}  // namespace ipq
