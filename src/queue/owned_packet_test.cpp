// SPDX-License-Identifier: MIT
#include "ipq/owned_packet.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>

namespace ipq {
namespace {

std::string text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void expect_whole(const packet& kept) {
  EXPECT_EQ(kept.id, 7u);
  EXPECT_EQ(kept.mark, 9u);
  EXPECT_EQ(kept.uid, 1000u);
  EXPECT_EQ(text(kept.payload), "payload");
  EXPECT_EQ(text(kept.l2_header), "link");
  EXPECT_EQ(text(kept.conntrack), "connection");
  EXPECT_EQ(kept.security_context, "label");
}

/// Made from a buffer that is overwritten and gone when this returns.
owned_packet make() {
  auto buffer = std::make_unique<std::string>("payloadlinkconnectionlabel");
  const auto bytes = std::as_bytes(std::span(*buffer));
  packet view;
  view.id = 7;
  view.mark = 9;
  view.uid = 1000;
  view.payload = bytes.first(7);
  view.l2_header = bytes.subspan(7, 4);
  view.conntrack = bytes.subspan(11, 10);
  view.security_context = std::string_view(*buffer).substr(21);
  owned_packet kept(view);
  std::ranges::fill(*buffer, '?');
  return kept;
}

TEST(owned_packet, keeps_every_byte_that_is_viewed) {
  const owned_packet kept = make();
  expect_whole(kept.get());
  EXPECT_EQ(kept->id, 7u);
}

TEST(owned_packet, copies_and_moves_have_their_own_bytes) {
  std::optional<owned_packet> first(make());
  owned_packet copy = *first;
  EXPECT_NE(copy->payload.data(), first->get().payload.data());
  owned_packet assigned{packet{}};
  assigned = *first;
  const owned_packet moved = std::move(*first);
  first.reset();
  expect_whole(copy.get());
  expect_whole(assigned.get());
  expect_whole(moved.get());
  assigned = std::move(copy);
  expect_whole(assigned.get());
}

TEST(owned_packet, of_nothing_is_empty) {
  const owned_packet empty{packet{}};
  EXPECT_TRUE(empty->payload.empty());
  EXPECT_TRUE(empty->security_context.empty());
}

}  // namespace
}  // namespace ipq
