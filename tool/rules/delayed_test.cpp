// SPDX-License-Identifier: MIT
// The heap of delayed packets: order, bounds, and that what waits is moved, not copied.
#include "delayed.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "random.hpp"

namespace ipq::tool::rules {
namespace {

using time = std::chrono::nanoseconds;
using namespace std::chrono_literals;
using held = std::unique_ptr<int>;  // can't be copied, as a held packet

held make(int value) {
  return std::make_unique<int>(value);
}

TEST(delayed, comes_out_when_it_is_due) {
  delayed<held> waiting;
  EXPECT_FALSE(waiting.next_due());
  EXPECT_FALSE(waiting.pop(time::max()));
  ASSERT_TRUE(waiting.push(make(2), 20ms, 100));
  ASSERT_TRUE(waiting.push(make(1), 10ms, 50));
  EXPECT_EQ(waiting.next_due(), time(10ms));
  EXPECT_EQ(waiting.size(), 2u);
  EXPECT_EQ(waiting.bytes(), 150u);
  EXPECT_FALSE(waiting.pop(10ms - 1ns));
  EXPECT_EQ(**waiting.pop(10ms), 1);
  EXPECT_FALSE(waiting.pop(19ms));
  EXPECT_EQ(waiting.bytes(), 100u);
  EXPECT_EQ(**waiting.pop(time::max()), 2);
  EXPECT_TRUE(waiting.empty());
  EXPECT_EQ(waiting.bytes(), 0u);
}

TEST(delayed, keeps_the_order_of_those_due_together) {
  delayed<held> waiting;
  for (int each = 0; each < 1000; ++each) ASSERT_TRUE(waiting.push(make(each), time(each % 3), 1));
  for (int due = 0; due < 3; ++due) {
    for (int each = due; each < 1000; each += 3) EXPECT_EQ(**waiting.pop(time(due)), each);
    EXPECT_FALSE(waiting.pop(time(due)));
  }
}

TEST(delayed, is_bounded_in_number) {
  delayed<held> waiting({.packets = 2, .beyond = ipq::verdict::action::accept});
  ASSERT_TRUE(waiting.push(make(1), 1s, 1));
  ASSERT_TRUE(waiting.push(make(2), 1s, 1));
  held third = make(3);
  EXPECT_FALSE(waiting.push(std::move(third), 1s, 1));
  ASSERT_TRUE(third);  // it is still the caller's, to be decided
  EXPECT_EQ(*third, 3);
  EXPECT_EQ(waiting.refused(), 1u);
  EXPECT_EQ(waiting.limits().beyond, ipq::verdict::action::accept);
  EXPECT_EQ(**waiting.pop(1s), 1);
  EXPECT_TRUE(waiting.push(std::move(third), 1s, 1));
}

TEST(delayed, is_bounded_in_bytes) {
  delayed<held> waiting({.packets = 10, .bytes = 1000});
  ASSERT_TRUE(waiting.push(make(1), 1s, 600));
  EXPECT_FALSE(waiting.push(make(2), 1s, 401));
  EXPECT_FALSE(waiting.push(make(2), 1s, static_cast<std::size_t>(-1)));
  EXPECT_TRUE(waiting.push(make(2), 1s, 400));
  EXPECT_EQ(waiting.refused(), 2u);
  EXPECT_FALSE(waiting.admit(1));
  EXPECT_EQ(waiting.refused(), 3u);
  static_cast<void>(waiting.pop(1s));
  EXPECT_TRUE(waiting.admit(600));
  EXPECT_EQ(waiting.refused(), 3u);
  EXPECT_EQ(waiting.limits().beyond, ipq::verdict::action::drop);
}

TEST(delayed, many_in_any_order) {
  random numbers(1, 0);
  delayed<held> waiting;
  std::vector<std::pair<time, int>> expected;
  for (int each = 0; each < 20'000; ++each) {
    const auto due = time(static_cast<time::rep>(numbers.below(1000)));
    expected.emplace_back(due, each);
    ASSERT_TRUE(waiting.push(make(each), due, 1));
  }
  std::ranges::sort(expected);  // by time, then in the order of the pushes
  for (const auto& [due, value] : expected) {
    ASSERT_EQ(waiting.next_due(), due);
    ASSERT_EQ(**waiting.pop(due), value);
  }
  EXPECT_TRUE(waiting.empty());
}

}  // namespace
}  // namespace ipq::tool::rules
