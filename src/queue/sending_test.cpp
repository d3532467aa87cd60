// SPDX-License-Identifier: MIT
// The queue over a scripted kernel: when it sends, and how much together.
#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <string>
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

// ---- what is merged beside packets that are held: a batch verdict hits all that wait, up to its id

class merging_queue : public scripted_queue_test {
 protected:
  /// The messages with verdicts since the last call, as in "1 -4": of one packet, and of a run up to there.
  std::string sent() {
    const auto all = kernel.requests();
    std::string said;
    for (; seen_ < all.size(); ++seen_) {
      const auto& each = all[seen_];
      if (each.type != wire::message_verdict && each.type != wire::message_verdict_batch) continue;
      const auto id = std::to_string(each.number(wire::attribute_verdict_hdr, 4));
      said += (said.empty() ? "" : " ") + (each.type == wire::message_verdict_batch ? "-" + id : id);
    }
    return said;
  }
  /// All but those that are held.
  static void accept_rest(queue& from, const batch& got, const std::vector<std::size_t>& but) {
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (std::ranges::find(but, i) != but.end()) continue;
      EXPECT_TRUE(from.set_verdict(got[i], verdict::accept()));
    }
  }
  batch arrive_and_receive(queue& q, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) arrive();
    const batch got = must_receive(q);
    EXPECT_EQ(got.size(), count);
    return got;
  }

 private:
  std::size_t seen_ = 0;
};

TEST_F(merging_queue, merges_up_to_the_first_packet_that_is_held) {
  queue q = open({.number = number, .verdict_delay = 1h});
  const batch got = arrive_and_receive(q, 8);
  auto later = q.hold(got[6]), first = q.hold(got[3]);
  accept_rest(q, got, {3, 6});
  EXPECT_EQ(sent(), "-3 5 6 8");
  EXPECT_EQ(waiting(), (std::vector<std::uint32_t>{4, 7}));
}

TEST_F(merging_queue, merges_nothing_behind_an_earlier_batchs_packet) {
  queue q = open({.number = number, .verdict_delay = 1h});
  batch got = arrive_and_receive(q, 3);
  auto held = q.hold(got[2]);
  accept_rest(q, got, {2});
  EXPECT_EQ(sent(), "-2");
  got = arrive_and_receive(q, 3);
  auto other = q.hold(got[2]);
  accept_rest(q, got, {2});
  EXPECT_EQ(sent(), "4 5");
  EXPECT_EQ(waiting(), (std::vector<std::uint32_t>{3, 6}));
  EXPECT_TRUE(std::move(*held).set_verdict(verdict::drop()));
  got = arrive_and_receive(q, 3);
  accept_rest(q, got, {});
  EXPECT_EQ(sent(), "3 7 8 9") << "the other is held on";
  EXPECT_TRUE(std::move(*other).set_verdict(verdict::drop()));
  got = arrive_and_receive(q, 3);
  accept_rest(q, got, {});
  EXPECT_EQ(sent(), "6 -12");
}

TEST_F(merging_queue, merges_over_held_packets_whose_verdicts_go_before) {
  queue q = open({.number = number, .verdict_delay = 1h});
  const batch got = arrive_and_receive(q, 8);
  auto first = q.hold(got[1]), second = q.hold(got[5]);
  EXPECT_TRUE(std::move(*first).set_verdict(verdict::drop()));
  accept_rest(q, got, {1, 5});
  EXPECT_EQ(sent(), "2 1 -5 7 8") << "the second is undecided";
  EXPECT_TRUE(std::move(*second).set_verdict(verdict::drop()));
  EXPECT_EQ(sent(), "6");
  EXPECT_TRUE(waiting().empty());
}

TEST_F(merging_queue, merges_over_held_packets_that_were_decided_with_replacements_or_given_up) {
  queue q = open({.number = number, .verdict_delay = 1h});
  const batch got = arrive_and_receive(q, 6);
  auto first = q.hold(got[0]), second = q.hold(got[1]);
  const byte_vector replacement(20, std::byte{0x45});
  EXPECT_TRUE(std::move(*first).set_verdict(verdict::accept().with_payload(replacement)));
  { const held_packet given_up = *std::move(second); }
  accept_rest(q, got, {0, 1});
  EXPECT_EQ(sent(), "1 2 -6");
  EXPECT_TRUE(waiting().empty());
}

TEST_F(merging_queue, packet_that_is_too_large_for_a_batch_is_decided_before_it) {
  queue q = open({.number = number, .copy_range = 100, .verdict_delay = 1h}, 0xffff);
  arrive(4000);
  const batch got = arrive_and_receive(q, 3);
  accept_rest(q, got, {});
  EXPECT_EQ(sent(), "1 -4") << "the queue itself decides it first";
  EXPECT_TRUE(waiting().empty());
}

// With a cancel during its send(2) the next one would send the message again, and bytes that are gone.
TEST_F(merging_queue, cancelled_holder_leaves_nothing_for_others_to_send) {
  queue q = open({.number = number, .verdict_delay = 1h});
  const batch got = arrive_and_receive(q, 3);
  auto first = q.hold(got[0]), second = q.hold(got[1]);
  std::thread([&] {
    const byte_vector mine(20, std::byte{0x45});
    ::pthread_cancel(::pthread_self());
    static_cast<void>(std::move(*first).set_verdict(verdict::drop().with_payload(mine)));
    ::pthread_testcancel();
  }).join();
  EXPECT_EQ(sent(), "1");
  const byte_vector other(20, std::byte{0x45});
  EXPECT_TRUE(std::move(*second).set_verdict(verdict::accept().with_payload(other)));
  EXPECT_EQ(sent(), "2");
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
