// SPDX-License-Identifier: MIT
#include "compat/translate.hpp"

#include <gtest/gtest.h>
#include <libipq/libipq.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <vector>

namespace ipq::compat {
namespace {

constexpr unsigned char untouched = 0xaa;

std::vector<std::byte> payload_of(std::size_t length) {
  std::vector<std::byte> bytes(length);
  unsigned char next = 1;
  for (auto& byte : bytes) byte = std::byte{next++};
  return bytes;
}

/// Interface 3 is veth0, 4 has a name of full length, 5 is the loopback interface.
std::uint16_t find(std::uint32_t index, netlink::name_room name) {
  const std::string_view found = index == 3 ? "veth0" : index == 4 ? "eth1234567890ab" : index == 5 ? "lo" : "";
  found.copy(name.data(), name.size());
  return index == 5 ? 772 : 1;
}

template <class Field>
Field at(const std::vector<unsigned char>& buffer, std::size_t offset) {
  Field value;
  std::memcpy(&value, buffer.data() + offset, sizeof value);
  return value;
}

TEST(translate, the_layout_is_that_of_64_bit_programs) {
  static_assert(sizeof(nlmsghdr) == 16);
  static_assert(sizeof(ipq_packet_msg_t) == 96);
  static_assert(offsetof(ipq_packet_msg_t, packet_id) == 0);
  static_assert(offsetof(ipq_packet_msg_t, mark) == 8);
  static_assert(offsetof(ipq_packet_msg_t, timestamp_sec) == 16);
  static_assert(offsetof(ipq_packet_msg_t, timestamp_usec) == 24);
  static_assert(offsetof(ipq_packet_msg_t, hook) == 32);
  static_assert(offsetof(ipq_packet_msg_t, indev_name) == 36);
  static_assert(offsetof(ipq_packet_msg_t, outdev_name) == 52);
  static_assert(offsetof(ipq_packet_msg_t, hw_protocol) == 68);
  static_assert(offsetof(ipq_packet_msg_t, hw_type) == 70);
  static_assert(offsetof(ipq_packet_msg_t, hw_addrlen) == 72);
  static_assert(offsetof(ipq_packet_msg_t, hw_addr) == 73);
  static_assert(offsetof(ipq_packet_msg_t, data_len) == 88);
  static_assert(offsetof(ipq_packet_msg_t, payload) == 96);
  static_assert(sizeof(ipq_verdict_msg_t) == 24);
  static_assert(sizeof(ipq_mode_msg_t) == 16);
  static_assert(sizeof(ipq_peer_msg_t) == 24);
  static_assert(sizeof(nlmsgerr) == 20);
  EXPECT_EQ(min_read_buffer, sizeof(nlmsgerr));
}

TEST(translate, every_field_of_a_packet) {
  const auto payload = payload_of(84);
  packet queued;
  queued.id = 0xfffffff0;
  queued.mark = 0x80000001;
  queued.timestamp = packet_time{1700000000, 999999};
  queued.hook = 2;
  queued.hw_protocol = 0x0800;
  queued.indev = 3;
  queued.outdev = 4;
  queued.hw_addr = {2, 0, 0, 0, 0, 9, 0, 0};
  queued.hw_addr_length = 6;
  queued.payload = payload;
  std::vector<unsigned char> buffer(400, untouched);
  EXPECT_EQ(write_packet(queued, find, buffer), 196U);

  EXPECT_EQ(at<std::uint32_t>(buffer, 0), 196U);  // nlmsg_len
  EXPECT_EQ(at<std::uint16_t>(buffer, 4), 0x13);  // IPQM_PACKET
  EXPECT_EQ(at<std::uint16_t>(buffer, 6), 0);     // flags
  EXPECT_EQ(at<std::uint64_t>(buffer, 8), 0U);    // seq, pid
  EXPECT_EQ(at<unsigned long>(buffer, 16), 0xfffffff0UL);
  EXPECT_EQ(at<unsigned long>(buffer, 24), 0x80000001UL);
  EXPECT_EQ(at<long>(buffer, 32), 1700000000);
  EXPECT_EQ(at<long>(buffer, 40), 999999);
  EXPECT_EQ(at<unsigned>(buffer, 48), 2U);
  EXPECT_STREQ(reinterpret_cast<const char*>(buffer.data()) + 52, "veth0");
  EXPECT_STREQ(reinterpret_cast<const char*>(buffer.data()) + 68, "eth1234567890ab");
  EXPECT_EQ(buffer[84], 8);  // hw_protocol stays in network byte order
  EXPECT_EQ(buffer[85], 0);
  EXPECT_EQ(at<std::uint16_t>(buffer, 86), 1);  // ARPHRD_ETHER
  EXPECT_EQ(buffer[88], 6);
  EXPECT_EQ(std::memcmp(buffer.data() + 89, queued.hw_addr.data(), 8), 0);
  EXPECT_EQ(at<std::size_t>(buffer, 104), 84U);
  EXPECT_EQ(std::memcmp(buffer.data() + 112, payload.data(), 84), 0);
  EXPECT_TRUE(std::all_of(buffer.begin() + 196, buffer.end(), [](auto byte) { return byte == untouched; }));
}

TEST(translate, a_packet_without_payload_is_112_bytes) {
  std::vector<unsigned char> buffer(112, untouched);
  EXPECT_EQ(write_packet(packet{}, find, buffer), 112U);
  EXPECT_EQ(at<std::size_t>(buffer, 104), 0U);
}

TEST(translate, hardware_fields_need_an_input_device) {
  packet queued;
  queued.hw_addr = {1, 2, 3, 4, 5, 6};
  queued.hw_addr_length = 6;
  std::vector<unsigned char> buffer(112, untouched);
  queued.outdev = 5;
  write_packet(queued, find, buffer);
  EXPECT_STREQ(reinterpret_cast<const char*>(buffer.data()) + 68, "lo");
  EXPECT_EQ(at<std::uint16_t>(buffer, 86), 0);
  EXPECT_EQ(buffer[88], 0);
  EXPECT_TRUE(std::all_of(buffer.begin() + 89, buffer.begin() + 97, [](auto byte) { return byte == 0; }));
}

TEST(translate, the_length_is_rounded_up_and_the_padding_is_zero) {
  for (const std::size_t length : {81u, 82u, 83u, 84u}) {
    const auto payload = payload_of(length);
    packet queued;
    queued.payload = payload;
    std::vector<unsigned char> buffer(200, untouched);
    EXPECT_EQ(write_packet(queued, find, buffer), 196U);
    EXPECT_EQ(at<std::size_t>(buffer, 104), length);
    for (std::size_t i = 112 + length; i < 196; ++i) EXPECT_EQ(buffer[i], 0) << i;
    EXPECT_EQ(buffer[196], untouched);
  }
}

TEST(translate, a_buffer_that_is_too_small_gets_the_beginning_and_not_a_byte_more) {
  const auto payload = payload_of(83);
  packet queued;
  queued.id = 7;
  queued.indev = 3;
  queued.outdev = 4;
  queued.payload = payload;
  std::vector<unsigned char> whole(196);
  ASSERT_EQ(write_packet(queued, find, whole), 196U);
  for (std::size_t room = 0; room <= 196; ++room) {
    std::vector<unsigned char> buffer(200, untouched);
    EXPECT_EQ(write_packet(queued, find, std::span(buffer).first(room)), 196U);
    EXPECT_TRUE(std::equal(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(room), buffer.begin())) << room;
    EXPECT_EQ(buffer[room], untouched) << room;
  }
}

TEST(translate, a_refused_verdict) {
  std::vector<unsigned char> buffer(100, untouched);
  const request_note note{.verdict = verdict_note{0x80000002, 1, 84}};
  EXPECT_EQ(write_refusal(ENOENT, note, 4711, buffer), 60U);
  EXPECT_EQ(at<std::uint32_t>(buffer, 0), 60U);
  EXPECT_EQ(at<std::uint16_t>(buffer, 4), NLMSG_ERROR);
  EXPECT_EQ(at<int>(buffer, 16), -ENOENT);
  EXPECT_EQ(at<std::uint32_t>(buffer, 20), 40U + 84);  // as it was sent, with the replacement that is left out
  EXPECT_EQ(at<std::uint16_t>(buffer, 24), 0x12);      // IPQM_VERDICT
  EXPECT_EQ(at<std::uint32_t>(buffer, 32), 4711U);
  EXPECT_EQ(at<unsigned>(buffer, 36), 1U);
  EXPECT_EQ(at<unsigned long>(buffer, 44), 0x80000002UL);
  EXPECT_EQ(at<std::size_t>(buffer, 52), 84U);
  EXPECT_EQ(buffer[60], untouched);
}

TEST(translate, a_refused_mode) {
  std::vector<unsigned char> buffer(100, untouched);
  const request_note note{.mode = mode_note{.mode = 9, .range = 1500}};
  EXPECT_EQ(write_refusal(EINVAL, note, 4711, buffer), 76U);
  EXPECT_EQ(at<std::uint32_t>(buffer, 0), 76U);
  EXPECT_EQ(at<int>(buffer, 16), -EINVAL);
  EXPECT_EQ(at<std::uint32_t>(buffer, 20), 56U);
  EXPECT_EQ(at<std::uint16_t>(buffer, 24), 0x11);  // IPQM_MODE
  EXPECT_EQ(buffer[36], 9);
  EXPECT_EQ(at<std::size_t>(buffer, 44), 1500U);
  EXPECT_EQ(buffer[76], untouched);
}

[[gnu::noinline]] void soil_the_stack() {
  volatile unsigned char soiled[4096];
  for (auto& byte : soiled) byte = untouched;
}

// Found by fuzz_translation in a build without optimisation: what lies between members was what the stack held.
TEST(translate, a_refused_mode_is_zero_between_its_members) {
  std::vector<unsigned char> buffer(76, untouched);
  soil_the_stack();
  static_cast<void>(write_refusal(EINVAL, {.mode = mode_note{.mode = 9, .range = 1500}}, 0, buffer));
  EXPECT_TRUE(std::all_of(buffer.begin() + 37, buffer.begin() + 44, [](auto byte) { return byte == 0; }));
}

TEST(translate, a_refusal_respects_a_small_buffer) {
  for (std::size_t room = min_read_buffer; room < 60; ++room) {
    std::vector<unsigned char> buffer(61, untouched);
    EXPECT_EQ(write_refusal(ENOENT, {.verdict = verdict_note{1, 1, 0}}, 0, std::span(buffer).first(room)), 60U);
    EXPECT_EQ(buffer[room], untouched);
  }
}

}  // namespace
}  // namespace ipq::compat
