// SPDX-License-Identifier: MIT
#include "wire/verdict.hpp"

#include <gtest/gtest.h>
#include <libmnl/libmnl.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "data/message_bytes.hpp"
#include "data/recorded.hpp"
#include "wire/bytes.hpp"

namespace ipq::wire {
namespace {

using test_data::byte_vector;
using test_data::bytes_of;
using test_data::from_hex;
using test_data::to_hex;

/// Encoded into memory of exactly the promised size, so that a byte too many is found by AddressSanitizer.
byte_vector encoded(const verdict& answer) {
  byte_vector into(encoded_size(answer), std::byte{0xee});
  EXPECT_EQ(encode_verdict(answer, into), into.size());
  return into;
}

std::string normal(std::string_view hex) {
  return to_hex(from_hex(hex));
}

TEST(verdict, accept_is_32_bytes) {
  EXPECT_EQ(to_hex(encoded({.id = 0x01020304, .value = 1})), normal(R"(20 00 00 00 01 03 01 00 00 00 00 00 00 00 00 00
                                                                       00 00 00 00
                                                                       0c 00 02 00 00 00 00 01 01 02 03 04)"));
}

TEST(verdict, headers_carry_queue_sequence_port_id_and_the_wish_for_an_answer) {
  EXPECT_EQ(
      to_hex(encoded({.queue = 0xfffe, .id = 1, .acknowledge = true, .sequence = 0xcafe0001, .port_id = 0x80000000})),
      normal(R"(20 00 00 00 01 03 05 00 01 00 fe ca 00 00 00 80
                      00 00 ff fe
                      0c 00 02 00 00 00 00 00 00 00 00 01)"));
}

TEST(verdict, batch_has_a_type_of_its_own) {
  EXPECT_EQ(to_hex(encoded({.id = 64, .value = 1, .batch = true})),
            normal(R"(20 00 00 00 03 03 01 00 00 00 00 00 00 00 00 00
                      00 00 00 00
                      0c 00 02 00 00 00 00 01 00 00 00 40)"));
}

TEST(verdict, mark_and_priority_are_big_endian) {
  EXPECT_EQ(to_hex(encoded({.id = 1, .value = 1, .mark = 0, .priority = 0xdeadbeef})),
            normal(R"(30 00 00 00 01 03 01 00 00 00 00 00 00 00 00 00
                      00 00 00 00
                      0c 00 02 00 00 00 00 01 00 00 00 01
                      08 00 03 00 00 00 00 00
                      08 00 15 00 de ad be ef)"));
}

TEST(verdict, conntrack_and_expectation_are_nested_as_they_come) {
  const byte_vector conntrack = bytes_of({8, 0, 8, 0, 0, 0, 0, 7}), expectation = bytes_of({5, 0, 1, 0, 9});
  EXPECT_EQ(to_hex(encoded({.id = 1, .value = 1, .conntrack = conntrack, .expectation = expectation})),
            normal(R"(38 00 00 00 01 03 01 00 00 00 00 00 00 00 00 00
                      00 00 00 00
                      0c 00 02 00 00 00 00 01 00 00 00 01
                      0c 00 0b 80 08 00 08 00 00 00 00 07
                      09 00 0f 80 05 00 01 00 09 00 00 00)"));
}

TEST(verdict, vlan_is_nested_with_both_its_numbers) {
  EXPECT_EQ(to_hex(encoded({.id = 1, .value = 1, .vlan = {{.protocol = 0x8100, .tci = 0x602a}}})),
            normal(R"(34 00 00 00 01 03 01 00 00 00 00 00 00 00 00 00
                      00 00 00 00
                      0c 00 02 00 00 00 00 01 00 00 00 01
                      14 00 13 80
                      06 00 01 00 81 00 00 00
                      06 00 02 00 60 2a 00 00)"));
}

TEST(verdict, l2_header_keeps_its_length) {
  const byte_vector ethernet = bytes_of({2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0});
  EXPECT_EQ(to_hex(encoded({.id = 1, .value = 1, .l2_header = ethernet})),
            normal(R"(34 00 00 00 01 03 01 00 00 00 00 00 00 00 00 00
                      00 00 00 00
                      0c 00 02 00 00 00 00 01 00 00 00 01
                      12 00 14 00 02 00 00 00 00 01 02 00 00 00 00 02 08 00 00 00)"));
}

TEST(verdict, payload_header_comes_last_and_counts_the_payload) {
  const std::string headers = normal("00 00 00 00 0c 00 02 00 00 00 00 01 00 00 00 01");
  for (const std::size_t length : {0u, 1u, 2u, 3u, 4u, 20u, 1500u}) {
    const byte_vector bytes = encoded({.id = 1, .value = 1, .payload_length = length});
    EXPECT_EQ(bytes.size(), 36u);
    EXPECT_EQ(load<std::uint32_t>(bytes.data()), 36 + length);
    EXPECT_EQ(to_hex(std::span(bytes).subspan(16, 16)), headers);
    EXPECT_EQ(load<std::uint16_t>(bytes.data() + 32), 4 + length);
    EXPECT_EQ(load<std::uint16_t>(bytes.data() + 34), 10u);
  }
}

TEST(verdict, largest_payload_fits_the_length_of_an_attribute) {
  const byte_vector bytes = encoded({.id = 1, .value = 1, .payload_length = max_payload});
  EXPECT_EQ(max_payload, 65531u);
  EXPECT_EQ(load<std::uint16_t>(bytes.data() + 32), 0xffffu);
  EXPECT_EQ(load<std::uint32_t>(bytes.data()), 36u + 65531u);
}

/// What libmnl finds in a message: the value of each attribute in hexadecimal, by type.
using found_attributes = std::map<std::uint16_t, std::string>;

int collect(const nlattr* attribute, void* into) {
  const auto* value = static_cast<const std::byte*>(mnl_attr_get_payload(attribute));
  const auto [place, is_new] = static_cast<found_attributes*>(into)->emplace(
      mnl_attr_get_type(attribute), to_hex({value, mnl_attr_get_payload_len(attribute)}));
  return is_new ? MNL_CB_OK : MNL_CB_ERROR;
}

TEST(verdict, libmnl_reads_every_combination) {
  const byte_vector conntrack = bytes_of({8, 0, 8, 0, 0, 0, 0, 7}), expectation = bytes_of({5, 0, 1, 0, 9, 0, 0, 0});
  const byte_vector ethernet(14, std::byte{0x11}), payload = bytes_of("a new packet!");
  for (int combination = 0; combination < 256; ++combination) {
    verdict answer{.queue = 5, .id = 7, .value = 4, .batch = (combination & 128) != 0};
    found_attributes expected{{attribute_verdict_hdr, "00 00 00 04 00 00 00 07"}};
    if (combination & 1) {
      answer.mark = 0x01020304;
      expected[attribute_mark] = "01 02 03 04";
    }
    if (combination & 2) {
      answer.priority = 0x05060708;
      expected[attribute_priority] = "05 06 07 08";
    }
    if (combination & 4) expected[attribute_ct] = to_hex(conntrack), answer.conntrack = conntrack;
    if (combination & 8) expected[attribute_exp] = to_hex(expectation), answer.expectation = expectation;
    if (combination & 16) {
      answer.vlan = {.protocol = 0x88a8, .tci = 0x0fff};
      expected[attribute_vlan] = "06 00 01 00 88 a8 00 00 06 00 02 00 0f ff 00 00";
    }
    if (combination & 32) expected[attribute_l2hdr] = to_hex(ethernet), answer.l2_header = ethernet;
    byte_vector bytes = encoded({answer});
    if (combination & 64) {
      answer.payload_length = payload.size();
      bytes = encoded(answer);
      bytes.insert(bytes.end(), payload.begin(), payload.end());
      expected[attribute_payload] = to_hex(payload);
    }
    const auto* header = reinterpret_cast<const nlmsghdr*>(bytes.data());
    ASSERT_EQ(header->nlmsg_len, bytes.size());
    ASSERT_TRUE(mnl_nlmsg_ok(header, static_cast<int>(bytes.size())));
    EXPECT_EQ(header->nlmsg_type, combination & 128 ? 0x303 : 0x301);
    bytes.resize(align(bytes.size()));  // libmnl looks at the padding of the last attribute
    header = reinterpret_cast<const nlmsghdr*>(bytes.data());
    found_attributes found;
    ASSERT_EQ(mnl_attr_parse(header, nfgen_size, collect, &found), MNL_CB_OK) << combination;
    EXPECT_EQ(found, expected) << combination;
  }
}

TEST(verdict, fixed_room_holds_everything_of_fixed_size) {
  const verdict answer{
      .mark = 1, .priority = 2, .vlan = {{.protocol = 0x8100, .tci = 1}}, .payload_length = max_payload};
  EXPECT_EQ(encoded_size(answer), max_verdict_size);
  const byte_vector three(3);
  verdict more = answer;
  more.conntrack = more.expectation = more.l2_header = three;
  EXPECT_EQ(encoded_size(more), max_verdict_size + 3 * (align(3) + 4));
  EXPECT_EQ(encoded(more).size(), encoded_size(more));
}

// libmnl 1.0.4 leaves the bytes that pad an attribute as they were: what the stack held would go out.
TEST(regress, libmnl_padding_is_zero) {
  const byte_vector five = bytes_of({5, 0, 1, 0, 9}), ethernet(14, std::byte{1});
  const byte_vector bytes = encoded({.id = 1,
                                     .value = 1,
                                     .conntrack = five,
                                     .expectation = five,
                                     .vlan = {{.protocol = 1, .tci = 1}},
                                     .l2_header = ethernet});
  EXPECT_EQ(std::ranges::count(bytes, std::byte{0xee}), 0);
}

// A verdict of one byte lost the number of the queue that NF_QUEUE names.
TEST(regress, go_nfqueue_verdict_keeps_the_upper_bits) {
  const byte_vector bytes = encoded({.id = 1, .value = 0x00058003});
  EXPECT_EQ(to_hex(std::span(bytes).subspan(24, 4)), "00 05 80 03");
}

// The length of an attribute excludes its padding: a payload of 21 bytes must not become one of 24.
TEST(regress, nfq_rs_attribute_length_excludes_padding) {
  const byte_vector conntrack = bytes_of({5, 0, 1, 0, 9});
  const byte_vector bytes = encoded({.id = 1, .value = 1, .conntrack = conntrack, .payload_length = 21});
  EXPECT_EQ(load<std::uint16_t>(bytes.data() + 32), 9u);
  EXPECT_EQ(load<std::uint16_t>(bytes.data() + 44), 25u);
  EXPECT_EQ(load<std::uint32_t>(bytes.data()), 48u + 21u);
}

}  // namespace
}  // namespace ipq::wire
