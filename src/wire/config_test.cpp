// SPDX-License-Identifier: MIT
#include "wire/config.hpp"

#include <gtest/gtest.h>
#include <libmnl/libmnl.h>

#include <algorithm>
#include <string>
#include <vector>

#include "data/recorded.hpp"
#include "wire/bytes.hpp"

namespace ipq::wire {
namespace {

using test_data::from_hex;
using test_data::to_hex;

std::vector<std::byte> encoded(const config& wanted) {
  alignas(4) std::byte into[max_config_size];
  std::ranges::fill(into, std::byte{0xee});  // what is not written shows
  const std::size_t length = encode_config(wanted, into);
  return {into, into + length};
}

std::string normal(std::string_view hex) {
  return to_hex(from_hex(hex));
}

TEST(config, without_anything_is_two_headers) {
  EXPECT_EQ(to_hex(encoded({})), normal("14 00 00 00 02 03 01 00 00 00 00 00 00 00 00 00 00 00 00 00"));
}

TEST(config, headers_carry_queue_sequence_port_id_and_the_wish_for_an_answer) {
  EXPECT_EQ(to_hex(encoded({.queue = 0x1234, .acknowledge = true, .sequence = 0x01020304, .port_id = 0xa1b2c3d4})),
            normal(R"(14 00 00 00 02 03 05 00 04 03 02 01 d4 c3 b2 a1
                      00 00 12 34  # the queue is big-endian)"));
}

TEST(config, bind_takes_four_bytes) {
  EXPECT_EQ(to_hex(encoded({.queue = 3, .command = config_command::bind})),
            normal(R"(1c 00 00 00 02 03 01 00 00 00 00 00 00 00 00 00
                      00 00 00 03
                      08 00 01 00 01 00 00 00)"));
}

TEST(config, every_command_has_its_number) {
  const std::pair<config_command, unsigned> commands[] = {{config_command::none, 0},
                                                          {config_command::bind, 1},
                                                          {config_command::unbind, 2},
                                                          {config_command::pf_bind, 3},
                                                          {config_command::pf_unbind, 4}};
  for (const auto& [command, number] : commands) {
    EXPECT_EQ(std::to_integer<unsigned>(encoded({.command = command}).at(24)), number);
  }
}

TEST(config, copy_parameters_take_five_bytes_and_padding) {
  EXPECT_EQ(to_hex(encoded({.copy = {{copy_mode::packet, 0xfffb}}})),
            normal(R"(20 00 00 00 02 03 01 00 00 00 00 00 00 00 00 00
                      00 00 00 00
                      09 00 02 00 00 00 ff fb 02 00 00 00)"));
  EXPECT_EQ(std::to_integer<unsigned>(encoded({.copy = {{copy_mode::none, 0}}}).at(28)), 0u);
  EXPECT_EQ(std::to_integer<unsigned>(encoded({.copy = {{copy_mode::meta, 0}}}).at(28)), 1u);
}

TEST(config, max_length_is_big_endian) {
  EXPECT_EQ(to_hex(encoded({.max_length = 0x01020304})), normal(R"(1c 00 00 00 02 03 01 00 00 00 00 00 00 00 00 00
                      00 00 00 00
                      08 00 03 00 01 02 03 04)"));
}

TEST(config, flags_come_with_their_mask) {
  EXPECT_EQ(to_hex(encoded({.flags = {{queue_fail_open, queue_fail_open | queue_gso}}})),
            normal(R"(24 00 00 00 02 03 01 00 00 00 00 00 00 00 00 00
                      00 00 00 00
                      08 00 04 00 00 00 00 05
                      08 00 05 00 00 00 00 01)"));
}

TEST(config, everything_together_fills_the_room_and_no_more) {
  const auto message = encoded({.queue = 1,
                                .acknowledge = true,
                                .sequence = 2,
                                .port_id = 3,
                                .command = config_command::bind,
                                .copy = {{copy_mode::packet, 100}},
                                .max_length = 1024,
                                .flags = {{queue_uid_gid, 0x1f}}});
  EXPECT_EQ(message.size(), max_config_size);
  EXPECT_EQ(to_hex(message), normal(R"(40 00 00 00 02 03 05 00 02 00 00 00 03 00 00 00
                                       00 00 00 01
                                       08 00 01 00 01 00 00 00
                                       09 00 02 00 00 00 00 64 02 00 00 00
                                       08 00 03 00 00 00 04 00
                                       08 00 04 00 00 00 00 1f
                                       08 00 05 00 00 00 00 08)"));
}

/// What libmnl finds in a message: the number of each attribute, and the attributes.
struct found_attributes {
  int count[6] = {};
  const nlattr* last[6] = {};
};

int collect(const nlattr* attribute, void* into) {
  auto& found = *static_cast<found_attributes*>(into);
  if (mnl_attr_type_valid(attribute, 5) < 0) return MNL_CB_ERROR;
  ++found.count[mnl_attr_get_type(attribute)];
  found.last[mnl_attr_get_type(attribute)] = attribute;
  return MNL_CB_OK;
}

TEST(config, libmnl_reads_every_combination) {
  for (int combination = 0; combination < 16; ++combination) {
    config wanted{.queue = 9};
    if (combination & 1) wanted.command = config_command::unbind;
    if (combination & 2) wanted.copy = {copy_mode::meta, 0x10203};
    if (combination & 4) wanted.max_length = 77;
    if (combination & 8) wanted.flags = {queue_gso, queue_gso | queue_secctx};
    alignas(4) std::byte bytes[max_config_size];
    const std::size_t length = encode_config(wanted, bytes);
    const auto* header = reinterpret_cast<const nlmsghdr*>(bytes);
    ASSERT_TRUE(mnl_nlmsg_ok(header, static_cast<int>(length)));
    EXPECT_EQ(header->nlmsg_len, length);
    found_attributes found;
    ASSERT_EQ(mnl_attr_parse(header, nfgen_size, collect, &found), MNL_CB_OK) << combination;
    EXPECT_EQ(found.count[config_cmd], combination & 1 ? 1 : 0);
    EXPECT_EQ(found.count[config_params], combination & 2 ? 1 : 0);
    EXPECT_EQ(found.count[config_queue_maxlen], combination & 4 ? 1 : 0);
    EXPECT_EQ(found.count[config_mask], combination & 8 ? 1 : 0);
    EXPECT_EQ(found.count[config_flags], combination & 8 ? 1 : 0);
    if (combination & 1) {
      EXPECT_EQ(mnl_attr_get_u8(found.last[config_cmd]), 2);
    }
    if (combination & 2) {
      EXPECT_EQ(mnl_attr_get_payload_len(found.last[config_params]), 5);
      EXPECT_EQ(mnl_attr_get_u32(found.last[config_params]), big_endian(0x10203u));
    }
    if (combination & 4) {
      EXPECT_EQ(mnl_attr_get_u32(found.last[config_queue_maxlen]), big_endian(77u));
    }
    if (combination & 8) {
      EXPECT_EQ(mnl_attr_get_u32(found.last[config_flags]), big_endian(4u));
    }
  }
}

// libdaq set its flags one after the other, each in an attribute of its own, and the kernel heeds the second alone.
TEST(regress, libdaq_flags_travel_in_one_attribute) {
  const auto message = encoded({.flags = {{queue_fail_open | queue_gso, queue_fail_open | queue_gso}}});
  found_attributes found;
  ASSERT_EQ(mnl_attr_parse(reinterpret_cast<const nlmsghdr*>(message.data()), nfgen_size, collect, &found), MNL_CB_OK);
  EXPECT_EQ(found.count[config_flags], 1);
  EXPECT_EQ(found.count[config_mask], 1);
  EXPECT_EQ(mnl_attr_get_u32(found.last[config_flags]), big_endian(5u));
}

}  // namespace
}  // namespace ipq::wire
