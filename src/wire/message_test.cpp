// SPDX-License-Identifier: MIT
#include "wire/message.hpp"

#include <gtest/gtest.h>
#include <libmnl/libmnl.h>

#include <climits>
#include <ostream>
#include <string>
#include <vector>

#include "data/message_bytes.hpp"
#include "data/recorded.hpp"

namespace ipq::wire {
namespace {

using test_data::byte_vector;
using test_data::bytes_of;
using test_data::message_bytes;
using test_data::recorded;
using test_data::to_hex;

std::optional<message> first_message(const byte_vector& datagram) {
  bytes rest = datagram;
  return next_message(rest);
}

TEST(message, header_and_body) {
  const byte_vector datagram = message_bytes(0x300, 0x102, 0x01020304, 0xf0f0f0f0).raw(bytes_of("body")).done();
  bytes rest = datagram;
  const auto taken = next_message(rest);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->type, 0x300);
  EXPECT_EQ(taken->flags, 0x102);
  EXPECT_EQ(taken->sequence, 0x01020304u);
  EXPECT_EQ(taken->port_id, 0xf0f0f0f0u);
  EXPECT_EQ(to_hex(taken->body), "62 6f 64 79");
  EXPECT_TRUE(rest.empty());
  EXPECT_FALSE(next_message(rest));
}

TEST(message, body_points_into_the_datagram) {
  const byte_vector datagram = message_bytes(1, 0).raw(bytes_of("x")).done();
  EXPECT_EQ(first_message(datagram)->body.data(), datagram.data() + 16);
}

TEST(message, without_body) {
  const auto taken = first_message(message_bytes(3, 0).done());
  ASSERT_TRUE(taken);
  EXPECT_TRUE(taken->body.empty());
}

TEST(message, datagram_shorter_than_a_header_has_none) {
  const byte_vector whole = message_bytes(1, 0).done(16);
  for (std::size_t length = 0; length < 16; ++length) {
    const byte_vector part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    bytes rest = part;
    EXPECT_FALSE(next_message(rest)) << length;
    EXPECT_EQ(rest.size(), length);
  }
}

TEST(message, several_in_a_datagram_begin_at_multiples_of_four) {
  byte_vector datagram;
  const char* texts[] = {"", "1", "22", "333", "4444", "55555"};
  for (const char* text : texts) {
    datagram.resize(align(datagram.size()));
    const byte_vector one = message_bytes(7, 0).raw(bytes_of(std::string_view(text))).done();
    datagram.insert(datagram.end(), one.begin(), one.end());
  }
  bytes rest = datagram;
  for (const char* text : texts) {
    const auto taken = next_message(rest);
    ASSERT_TRUE(taken);
    EXPECT_EQ(to_hex(taken->body), to_hex(bytes_of(std::string_view(text))));
  }
  EXPECT_TRUE(rest.empty());

  // libmnl agrees on where each begins.
  int length = static_cast<int>(datagram.size());
  const auto* header = reinterpret_cast<const nlmsghdr*>(datagram.data());
  for (const char* text : texts) {
    ASSERT_TRUE(mnl_nlmsg_ok(header, length));
    EXPECT_EQ(mnl_nlmsg_get_payload_len(header), std::string_view(text).size());
    header = mnl_nlmsg_next(header, &length);
  }
}

TEST(message, length_that_lies_is_no_message) {
  const message_bytes twenty = message_bytes(1, 0).raw(bytes_of("body"));
  for (const std::uint32_t length : {0u, 1u, 15u, 21u, 22u, 24u, 0xffffu, 0x10000u, 0x7fffffffu}) {
    const byte_vector datagram = twenty.done(length);
    bytes rest = datagram;
    EXPECT_FALSE(next_message(rest)) << length;
    EXPECT_EQ(rest.size(), 20u);
  }
}

// libmnl 1.0.4 compares lengths as int: one above 2^31 passes its check, and what trusts it reads far outside.
TEST(regress, libmnl_length_above_2_to_the_31_is_no_message) {
  for (const std::uint32_t length : {0x80000000u, 0x80000010u, 0xfffffff0u, 0xfffffffcu, 0xffffffffu}) {
    EXPECT_FALSE(first_message(message_bytes(1, 0).raw(bytes_of("body")).done(length))) << length;
  }
}

TEST(message, second_one_that_lies_does_not_spoil_the_first) {
  byte_vector datagram = message_bytes(1, 0).raw(bytes_of("body")).done();
  const byte_vector liar = message_bytes(2, 0).done(100);
  datagram.insert(datagram.end(), liar.begin(), liar.end());
  bytes rest = datagram;
  EXPECT_TRUE(next_message(rest));
  EXPECT_FALSE(next_message(rest));
  EXPECT_EQ(rest.size(), 16u);
}

TEST(message, may_lie_at_any_address) {
  for (std::size_t offset = 0; offset < 8; ++offset) {
    byte_vector memory(offset);
    const byte_vector datagram = recorded("packet_input");
    memory.insert(memory.end(), datagram.begin(), datagram.end());
    bytes rest = bytes(memory).subspan(offset);
    const auto taken = next_message(rest);
    ASSERT_TRUE(taken);
    EXPECT_EQ(taken->body.size(), datagram.size() - 16);
    bytes attributes = taken->body.subspan(4);
    int count = 0;
    while (next_attribute(attributes)) ++count;
    EXPECT_EQ(count, 5);
  }
}

// "Common with nfqueue": a message is as long as its payload makes it.
TEST(regress, mdlayher_netlink_message_length_that_is_no_multiple_of_4_is_legal) {
  for (const auto& [name, length] :
       {std::pair{"packet_tail_1", 73u}, {"packet_tail_2", 74u}, {"packet_tail_3", 75u}, {"packet_tail_4", 76u}}) {
    const byte_vector datagram = recorded(name);
    ASSERT_EQ(datagram.size(), length);
    bytes rest = datagram;
    const auto taken = next_message(rest);
    ASSERT_TRUE(taken) << name;
    EXPECT_EQ(taken->body.size(), length - 16);
    EXPECT_TRUE(rest.empty());
  }
}

TEST(attribute, type_and_value) {
  const byte_vector body = bytes_of({7, 0, 5, 0, 'a', 'b', 'c', 0, 4, 0, 6, 0});
  bytes rest = body;
  const auto first = next_attribute(rest);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->type, 5);
  EXPECT_EQ(to_hex(first->value), "61 62 63");
  EXPECT_EQ(first->value.data(), body.data() + 4);
  const auto second = next_attribute(rest);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->type, 6);
  EXPECT_TRUE(second->value.empty());
  EXPECT_FALSE(next_attribute(rest));
}

TEST(attribute, flags_are_no_part_of_the_type) {
  for (const unsigned flags : {0x80u, 0x40u, 0xc0u}) {
    const byte_vector body = bytes_of({4, 0, 0x13, flags});
    bytes rest = body;
    EXPECT_EQ(next_attribute(rest)->type, 0x13);
  }
  const byte_vector body = bytes_of({4, 0, 0xff, 0xff});
  bytes rest = body;
  EXPECT_EQ(next_attribute(rest)->type, 0x3fff);
}

TEST(regress, mdlayher_netlink_last_attribute_may_be_unpadded) {
  for (unsigned length = 4; length < 9; ++length) {
    byte_vector body = bytes_of({length, 0, 1, 0});
    body.resize(length, std::byte{0x77});
    bytes rest = body;
    const auto taken = next_attribute(rest);
    ASSERT_TRUE(taken) << length;
    EXPECT_EQ(taken->value.size(), length - 4);
    EXPECT_TRUE(rest.empty());
  }
}

TEST(attribute, length_that_lies_is_no_attribute) {
  for (const auto& body : {bytes_of({0, 0, 1, 0}), bytes_of({1, 0, 1, 0}), bytes_of({3, 0, 1, 0}),
                           bytes_of({5, 0, 1, 0}), bytes_of({9, 0, 1, 0, 0, 0, 0, 0}), bytes_of({0xff, 0xff, 1, 0})}) {
    bytes rest = body;
    EXPECT_FALSE(next_attribute(rest)) << to_hex(body);
    EXPECT_EQ(rest.size(), body.size());
  }
}

TEST(attribute, fewer_bytes_than_a_header_are_none) {
  const byte_vector body = bytes_of({4, 0, 1});
  for (std::size_t length = 0; length <= 3; ++length) {
    bytes rest = bytes(body).first(length);
    EXPECT_FALSE(next_attribute(rest));
  }
}

TEST(attribute, longest_has_65531_bytes) {
  byte_vector body = bytes_of({0xff, 0xff, 10, 0});
  body.resize(0xffff, std::byte{1});
  bytes rest = body;
  const auto taken = next_attribute(rest);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->value.size(), max_payload);
  EXPECT_TRUE(rest.empty());
}

struct recorded_error {
  const char* name;
  int code;
  std::uint16_t type, flags;
  std::uint32_t length, sequence, port_id = 0x01020304;
  std::string_view text = {};
  std::optional<std::uint32_t> offset = {};

  friend std::ostream& operator<<(std::ostream& out, const recorded_error& error) { return out << error.name; }
};

class error_reply_recorded : public testing::TestWithParam<recorded_error> {};

TEST_P(error_reply_recorded, is_understood) {
  const auto& expected = GetParam();
  const byte_vector datagram = recorded(expected.name);
  const auto taken = first_message(datagram);
  ASSERT_TRUE(taken);
  const auto reply = parse_error(*taken);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->code, expected.code);
  EXPECT_EQ(reply->request_type, expected.type);
  EXPECT_EQ(reply->request_flags, expected.flags);
  EXPECT_EQ(reply->request_length, expected.length);
  EXPECT_EQ(reply->sequence, expected.sequence);
  EXPECT_EQ(reply->port_id, expected.port_id);
  EXPECT_EQ(reply->text, expected.text);
  EXPECT_EQ(reply->offset, expected.offset);
}

INSTANTIATE_TEST_SUITE_P(all, error_reply_recorded,
                         testing::Values(recorded_error{"error_acknowledgement", 0, message_config, 5, 28, 0x15},
                                         recorded_error{"error_acknowledgement_plain", 0, message_config, 5, 28, 0x11},
                                         recorded_error{"error_busy_whole", EBUSY, message_config, 5, 28, 0x12},
                                         recorded_error{"error_foreign", EPERM, message_config, 5, 28, 0x14},
                                         recorded_error{"error_no_link", ENODEV, 18, 1, 32, 0x21, 0},
                                         recorded_error{"error_range_text", ERANGE, message_config, 5, 28, 0x66,
                                                        0x01020304, "Attribute failed policy validation", 20},
                                         recorded_error{"error_range_whole_text", ERANGE, message_config, 5, 28, 0x66,
                                                        0x01020304, "Attribute failed policy validation", 20},
                                         recorded_error{"error_type_whole", 524, message_packet, 5, 20, 0x13},
                                         recorded_error{"error_unknown_id", ENOENT, message_verdict, 1, 32, 0xabcd},
                                         recorded_error{"error_unknown_id_whole", ENOENT, message_verdict, 1, 32,
                                                        0xabcd}),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(error_reply, every_recording_is_among_the_tested) {
  EXPECT_EQ(test_data::recordings("error_").size(), 10u);
}

/// An error with a code, as the kernel sends it with NETLINK_CAP_ACK, and what follows.
message_bytes error_message(std::int32_t code, std::uint16_t flags = flag_capped, std::uint32_t request_length = 32) {
  message_bytes made(message_error, flags, 9, 10);
  made.host(code).host(request_length).host(std::uint16_t{0x301}).host(std::uint16_t{1});
  made.host(std::uint32_t{9}).host(std::uint32_t{11});
  return made;
}

/// A message that is kept with the reply in it.
struct kept_error {
  explicit kept_error(const message_bytes& made) : datagram(made.done()) {
    if (const auto taken = first_message(datagram)) reply = parse_error(*taken);
  }
  kept_error(const kept_error&) = delete;
  kept_error& operator=(const kept_error&) = delete;
  const error_reply* operator->() const { return &reply.value(); }
  explicit operator bool() const { return reply.has_value(); }
  byte_vector datagram;
  std::optional<error_reply> reply;
};

TEST(error_reply, codes_are_what_the_kernel_may_say) {
  EXPECT_EQ(kept_error(error_message(0))->code, 0);
  EXPECT_EQ(kept_error(error_message(-1))->code, 1);
  EXPECT_EQ(kept_error(error_message(-524))->code, 524);
  EXPECT_EQ(kept_error(error_message(-4095))->code, 4095);
  for (const std::int32_t code : {1, 2, 4095, INT32_MAX, -4096, -65536, INT32_MIN}) {
    EXPECT_FALSE(kept_error(error_message(code))) << code;
  }
}

TEST(error_reply, other_messages_are_none) {
  for (const auto type : std::initializer_list<std::uint16_t>{0, 1, 3, 0x300, 0x301, 0x302}) {
    EXPECT_FALSE(kept_error(message_bytes(type, 0).raw(byte_vector(20)))) << type;
  }
}

TEST(error_reply, short_ones_are_none) {
  for (std::size_t length = 0; length < 20; ++length) {
    EXPECT_FALSE(kept_error(message_bytes(message_error, flag_capped).raw(byte_vector(length)))) << length;
  }
  EXPECT_TRUE(kept_error(message_bytes(message_error, flag_capped).raw(byte_vector(20))));
}

constexpr std::uint16_t explained = flag_capped | flag_ack_tlvs;

TEST(error_reply, explanation_ends_at_its_nul_or_without_one) {
  EXPECT_EQ(kept_error(error_message(-22, explained).attribute(1, bytes_of(std::string_view("why\0ever", 8))))->text,
            "why");
  EXPECT_EQ(kept_error(error_message(-22, explained).attribute(1, bytes_of("whole")))->text, "whole");
  EXPECT_EQ(kept_error(error_message(-22, explained).attribute(1))->text, "");
}

TEST(error_reply, explanation_needs_its_flag) {
  const kept_error reply(error_message(-22).attribute(1, bytes_of("why")));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->text, "");
}

TEST(error_reply, explanation_of_a_success_follows_the_header) {
  // netlink_ack: what is not echoed is capped, and a success never is.
  EXPECT_EQ(kept_error(error_message(0, flag_ack_tlvs, 400).attribute(1, bytes_of("beware")))->text, "beware");
}

TEST(error_reply, offset_that_is_too_short_is_passed_over) {
  EXPECT_FALSE(kept_error(error_message(-22, explained).attribute(2, bytes_of({1, 2, 3})))->offset);
  EXPECT_EQ(kept_error(error_message(-22, explained).attribute(2, bytes_of({1, 2, 0, 0, 9})))->offset, 0x201u);
}

TEST(error_reply, unknown_explanations_are_passed_over) {
  const kept_error reply(error_message(-22, explained)
                             .attribute(3, bytes_of("cookie"))
                             .attribute(0x7fff, bytes_of("?"))
                             .attribute(1, bytes_of("text")));
  EXPECT_EQ(reply->text, "text");
}

TEST(error_reply, explanation_begins_behind_the_padding_of_the_echo) {
  // Requests need no padding, and a verdict with a payload has none.
  for (std::uint32_t length = 17; length <= 20; ++length) {
    message_bytes made = error_message(-22, flag_ack_tlvs, length);
    made.raw(test_data::byte_vector(length - 16, std::byte{0x77})).attribute(1, bytes_of("found"));
    EXPECT_EQ(kept_error(made)->text, "found") << length;
  }
}

TEST(error_reply, echo_whose_length_lies_hides_the_explanation) {
  for (const std::uint32_t length : {40u, 1000u, 0x7fffffffu, 0xfffffff0u, 0xfffffffcu, 0xffffffffu}) {
    const kept_error reply(error_message(-22, flag_ack_tlvs, length).attribute(1, bytes_of("hidden")));
    ASSERT_TRUE(reply) << length;
    EXPECT_EQ(reply->text, "") << length;
    EXPECT_EQ(reply->code, 22);
    EXPECT_EQ(reply->request_length, length);
  }
}

TEST(error_reply, echo_shorter_than_a_header_hurts_nobody) {
  for (std::uint32_t length = 0; length < 16; ++length) {
    EXPECT_EQ(kept_error(error_message(-22, flag_ack_tlvs, length))->code, 22);
  }
}

}  // namespace
}  // namespace ipq::wire
