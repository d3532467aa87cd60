// SPDX-License-Identifier: MIT
#include "rates.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace tool {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

ipq::queue_status queue(std::uint16_t number, std::uint32_t last_id, std::uint32_t lost = 0,
                        std::uint32_t port_id = 1) {
  return {.number = number, .port_id = port_id, .lost_queue_full = lost, .last_id = last_id};
}

TEST(rate_meter, needs_two_looks) {
  rate_meter meter;
  const clock::time_point start{};
  EXPECT_EQ(meter.of(3), nullptr);
  meter.look(std::vector{queue(3, 100)}, start);
  EXPECT_EQ(meter.of(3), nullptr);
  meter.look(std::vector{queue(3, 150, 5)}, start + 500ms);
  ASSERT_NE(meter.of(3), nullptr);
  EXPECT_DOUBLE_EQ(meter.of(3)->packets, 100);
  EXPECT_DOUBLE_EQ(meter.of(3)->lost, 10);
  EXPECT_EQ(meter.of(4), nullptr);
}

TEST(rate_meter, follows_counters_that_wrap) {
  rate_meter meter;
  const clock::time_point start{};
  meter.look(std::vector{queue(3, 0xfffffff0, 0xffffffff)}, start);
  meter.look(std::vector{queue(3, 0x10, 1)}, start + 1s);
  EXPECT_DOUBLE_EQ(meter.of(3)->packets, 32);
  EXPECT_DOUBLE_EQ(meter.of(3)->lost, 2);
}

TEST(rate_meter, begins_anew_with_another_owner_and_forgets_who_is_gone) {
  rate_meter meter;
  const clock::time_point start{};
  meter.look(std::vector{queue(3, 100), queue(4, 0)}, start);
  meter.look(std::vector{queue(3, 10, 0, 2), queue(4, 1)}, start + 1s);
  EXPECT_EQ(meter.of(3), nullptr);
  EXPECT_DOUBLE_EQ(meter.of(4)->packets, 1);
  meter.look(std::vector{queue(3, 20, 0, 2)}, start + 2s);
  EXPECT_DOUBLE_EQ(meter.of(3)->packets, 10);
  EXPECT_EQ(meter.of(4), nullptr);
}

TEST(rate_meter, two_looks_at_one_moment_say_nothing) {
  rate_meter meter;
  meter.look(std::vector{queue(3, 1)}, clock::time_point{});
  meter.look(std::vector{queue(3, 2)}, clock::time_point{});
  EXPECT_EQ(meter.of(3), nullptr);
}

TEST(rate_meter, has_a_bounded_history) {
  rate_meter meter;
  for (std::uint32_t i = 0; i < 1000; ++i) meter.look(std::vector{queue(3, i)}, clock::time_point{} + i * 1s);
  EXPECT_EQ(meter.of(3)->history.size(), rate_meter::longest_history);
}

TEST(sparkline, draws_the_last_values) {
  EXPECT_EQ(sparkline({}, 10), "");
  EXPECT_EQ(sparkline({0, 0}, 10), "  ");
  EXPECT_EQ(sparkline({0, 1, 2, 4, 8}, 10), " ▁▂▄█");
  EXPECT_EQ(sparkline({100, 1, 2}, 2), "▄█");
  EXPECT_EQ(sparkline({1, 1000000}, 5), "▁█");
  EXPECT_EQ(sparkline({1, 2}, 0), "");
}

TEST(short_number, fits) {
  EXPECT_EQ(short_number(0), "0");
  EXPECT_EQ(short_number(7), "7");
  EXPECT_EQ(short_number(12.34), "12.3");
  EXPECT_EQ(short_number(99.96), "100");
  EXPECT_EQ(short_number(999.4), "999");
  EXPECT_EQ(short_number(999.6), "1.0k");
  EXPECT_EQ(short_number(1234), "1.2k");
  EXPECT_EQ(short_number(34567), "35k");
  EXPECT_EQ(short_number(5.6e6), "5.6M");
  EXPECT_EQ(short_number(4.2e9), "4.2G");
  for (double value = 0.01; value < 4e9; value *= 1.07) EXPECT_LE(short_number(value).size(), 6u) << value;
}

}  // namespace
}  // namespace tool
