// SPDX-License-Identifier: MIT
#include "compat/undecided_packets.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace ipq::compat {
namespace {

std::vector<std::uint32_t> take_all(undecided_packets& from, std::size_t whose) {
  std::vector<std::uint32_t> all;
  std::array<std::uint32_t, 3> some;
  std::size_t at = 0;
  while (const auto taken = from.take(whose, some, at)) all.insert(all.end(), some.begin(), some.begin() + taken);
  std::ranges::sort(all);
  return all;
}

TEST(undecided_packets, are_those_without_a_verdict_of_either_member) {
  undecided_packets packets;
  packets.reserve(1024);
  for (std::uint32_t id = 1; id <= 1000; ++id) packets.insert(id, id % 2);
  for (std::uint32_t id = 1; id <= 990; ++id) packets.erase(id);
  packets.erase(5000);
  EXPECT_EQ(take_all(packets, 0), (std::vector<std::uint32_t>{992, 994, 996, 998, 1000}));
  EXPECT_EQ(take_all(packets, 0), std::vector<std::uint32_t>{});
  EXPECT_EQ(take_all(packets, 1), (std::vector<std::uint32_t>{991, 993, 995, 997, 999}));
}

TEST(undecided_packets, stay_when_there_is_to_be_more_room) {
  undecided_packets packets;
  packets.reserve(1);
  packets.insert(7, 0);
  packets.insert(8, 1);
  packets.reserve(100'000);
  packets.reserve(3);
  EXPECT_EQ(take_all(packets, 0), std::vector<std::uint32_t>{7});
  EXPECT_EQ(take_all(packets, 1), std::vector<std::uint32_t>{8});
}

// A held packet is not forgotten while no more wait than the kernel holds.
TEST(undecided_packets, are_all_known_as_long_as_the_kernel_can_hold_them) {
  undecided_packets packets;
  packets.reserve(1000);
  packets.insert(1, 0);
  for (std::uint32_t id = 2; id < 1'000'000; ++id) {
    packets.insert(id, 1);
    if (id > 999) packets.erase(id - 998);
  }
  EXPECT_EQ(take_all(packets, 0), std::vector<std::uint32_t>{1});
  EXPECT_EQ(take_all(packets, 1).size(), 998U);
}

TEST(undecided_packets, are_the_newest_where_verdicts_are_not_seen) {
  undecided_packets packets;
  packets.reserve(1024);
  std::uint32_t id = 0xfffff000;  // and they wrap
  for (int i = 0; i < 100'000; ++i) packets.insert(id++, 0);
  auto left = take_all(packets, 0);
  EXPECT_EQ(left.size(), 4096U);
  for (const auto each : left) EXPECT_LE(id - each, 4096U);
}

}  // namespace
}  // namespace ipq::compat
