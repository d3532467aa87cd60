// SPDX-License-Identifier: MIT
#include "queue/pacer.hpp"

#include <gtest/gtest.h>

namespace ipq::queues {
namespace {

using namespace std::chrono_literals;
using waiting = queue_options::waiting;

pacer::clock::time_point clock_now;
pacer::clock::time_point fake_clock() {
  return clock_now;
}

class pacing : public ::testing::Test {
 protected:
  /// Reads `count` batches of `size` packets that came `apart` from each other, and says how many pauses were made.
  static std::size_t read(pacer& asked, std::size_t count, std::size_t size, std::chrono::nanoseconds apart) {
    std::size_t pauses = 0;
    for (std::size_t i = 0; i < count; ++i) {
      clock_now += apart * static_cast<std::int64_t>(size);
      pauses += asked.pauses(size) ? 1u : 0u;
    }
    return pauses;
  }

  pacer adaptive{waiting::adaptive, 1024, fake_clock};
  pacer throughput{waiting::throughput, 1024, fake_clock};
};

TEST_F(pacing, latency_always_looks_and_never_pauses) {
  pacer latency(waiting::latency, 1024, fake_clock);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(latency.looks(), pacer::long_look);
    latency.looked(false);
  }
  EXPECT_EQ(read(latency, 1000, 2, 1us), 0u);
  EXPECT_EQ(throughput.looks(), 0us);
}

TEST_F(pacing, adaptive_looks_as_long_as_that_finds_something) {
  EXPECT_EQ(adaptive.looks(), 0us) << "nobody knows yet what a sleep costs";
  ASSERT_TRUE(adaptive.measures_sleep());
  adaptive.slept(1s);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(adaptive.looks(), pacer::short_look);
    adaptive.looked(true);
  }
  int looks = 0;
  for (int i = 0; i < 10'000; ++i) {
    if (adaptive.looks() == 0us) continue;
    ++looks;
    adaptive.looked(false);
  }
  EXPECT_GT(looks, 10'000 / 66) << "it tries again";
  EXPECT_LT(looks, 10'000 / 50);
  int waits = 0;
  while (adaptive.looks() == 0us) ASSERT_LT(++waits, 65);
  adaptive.looked(true);
  EXPECT_EQ(adaptive.looks(), pacer::short_look);
}

TEST_F(pacing, adaptive_looks_little_longer_than_what_a_sleep_costs) {
  const auto sleep = [&](std::chrono::nanoseconds cpu_time) {
    int measured = 0;
    for (int i = 0; i < 1600; ++i) {
      if (!adaptive.measures_sleep()) continue;
      adaptive.slept(cpu_time);
      ++measured;
    }
    EXPECT_EQ(measured, 100) << "the measurement has its cost, too";
  };
  sleep(4us);
  EXPECT_EQ(adaptive.looks(), 5us);
  sleep(1s);  // of a machine that stood still
  EXPECT_LE(adaptive.looks(), pacer::short_look);
  EXPECT_GT(adaptive.looks(), pacer::short_look - 1us);
  sleep(-1us);
  EXPECT_GT(adaptive.looks(), 0us);
  EXPECT_LT(adaptive.looks(), 2us);
  pacer latency(waiting::latency, 1024, fake_clock);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(latency.measures_sleep() || throughput.measures_sleep());
}

TEST_F(pacing, adaptive_that_never_sleeps_does_so_once_in_a_while_to_measure_it) {
  ASSERT_TRUE(adaptive.measures_sleep());
  adaptive.slept(1s);
  int looks = 0;
  for (; adaptive.looks() != 0us; ++looks) {
    ASSERT_LT(looks, 2000);
    adaptive.looked(true);
  }
  EXPECT_GT(looks, 1000);
  EXPECT_TRUE(adaptive.measures_sleep());
  for (int i = 0; i < 32; ++i) adaptive.slept(4us);
  EXPECT_LT(adaptive.looks(), 6us);
  EXPECT_GE(adaptive.looks(), 5us);
}

TEST_F(pacing, throughput_pauses_unless_a_batch_was_full) {
  EXPECT_TRUE(throughput.pauses(0));
  EXPECT_TRUE(throughput.pauses(10));
  EXPECT_TRUE(throughput.pauses(pacer::full - 1));
  EXPECT_FALSE(throughput.pauses(pacer::full));
  EXPECT_TRUE(throughput.pauses(5));
}

TEST_F(pacing, throughput_leaves_out_pauses_that_bring_nothing) {
  EXPECT_LT(read(throughput, 10'000, 1, 1ms), 200u);
  EXPECT_GE(read(throughput, 200, 10, 1us), 200u - 64u) << "64 are left out at most, and then each one is made";
}

TEST_F(pacing, no_pause_where_packets_would_be_lost_in_it) {
  pacer small(waiting::throughput, 2 * pacer::full - 1, fake_clock);
  EXPECT_EQ(read(small, 100, 10, 1us), 0u);
  // 100 us of packets that come 2 us apart are 50: that is more than half of 64.
  pacer short_queue(waiting::adaptive, 64, fake_clock);
  EXPECT_EQ(read(short_queue, 1000, 2, 2us), 0u);
  EXPECT_GT(read(adaptive, 1000, 8, 2us), 0u);
}

TEST_F(pacing, adaptive_pauses_in_a_flood_only) {
  EXPECT_EQ(read(adaptive, 10'000, 1, 20us), 0u) << "a question and an answer at a time";
  EXPECT_EQ(read(adaptive, 10'000, 3, 6us), 0u);
  EXPECT_GT(read(adaptive, 1000, 10, 3us), 900u);
  EXPECT_EQ(read(adaptive, 1000, 64, 2us), 0u) << "it does not keep up: batches are full without a pause";
}

TEST_F(pacing, adaptive_notices_the_end_of_a_flood_at_once) {
  ASSERT_GT(read(adaptive, 1000, 10, 3us), 900u);
  EXPECT_EQ(read(adaptive, 1, 1, 1ms), 0u);
  EXPECT_EQ(read(adaptive, 1000, 1, 1ms), 0u);
  EXPECT_GT(read(adaptive, 1000, 10, 3us), 700u) << "the next one is met as the first";
}

TEST_F(pacing, adaptive_gives_up_where_pauses_slow_the_sender_down) {
  // 20 packets on their way at a time: they come 3 us apart, but with pauses 6.
  std::size_t pauses = 0, batches = 0;
  bool paused = false;
  for (; batches < 100'000; ++batches) {
    clock_now += 20 * (paused ? 6us : 3us);
    paused = adaptive.pauses(20);
    pauses += paused ? 1u : 0u;
  }
  EXPECT_GT(pauses, 0u) << "it has to try";
  EXPECT_LT(pauses, batches / 50) << "and tries ever more seldom";
}

}  // namespace
}  // namespace ipq::queues
