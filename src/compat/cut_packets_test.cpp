// SPDX-License-Identifier: MIT
#include "compat/cut_packets.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace ipq::compat {
namespace {

using answer = cut_packets::answer;

TEST(cut_packets, tells_what_was_returned_as_received_from_what_was_changed) {
  cut_packets cut;
  std::vector<std::byte> bytes(65531, std::byte{7});
  EXPECT_EQ(cut.look_up(5, bytes), answer::not_cut);
  cut.add(5, bytes);
  EXPECT_EQ(cut.look_up(5, bytes), answer::returned_as_received);
  EXPECT_EQ(cut.look_up(6, bytes), answer::not_cut);
  bytes[8] = std::byte{63};
  EXPECT_EQ(cut.look_up(5, bytes), answer::changed);
}

TEST(cut_packets, keeps_as_many_as_a_queue_holds) {
  cut_packets cut;
  const std::vector<std::byte> bytes(100, std::byte{1});
  for (std::uint32_t id = 1; id <= 1025; ++id) cut.add(id, bytes);
  EXPECT_EQ(cut.look_up(1, bytes), answer::not_cut);
  for (std::uint32_t id = 2; id <= 1025; ++id) ASSERT_EQ(cut.look_up(id, bytes), answer::returned_as_received) << id;
}

}  // namespace
}  // namespace ipq::compat
