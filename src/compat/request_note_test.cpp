// SPDX-License-Identifier: MIT
#include "compat/request_note.hpp"

#include <gtest/gtest.h>

namespace ipq::compat {
namespace {

/// What the kernel returns of a request that carried the note.
wire::error_reply echo(const request_note& note) {
  const note_fields fields = write_note(note);
  wire::error_reply reply;
  reply.request_type = wire::message_config;
  if (note.verdict) {
    reply.request_type = is_invalid_verdict(note.verdict->value) ? wire::message_verdict_batch : wire::message_verdict;
    const auto length = static_cast<std::uint32_t>(note.verdict->data_len);
    reply.request_length = length == 0 ? 32 : 36 + length;
  }
  reply.request_flags = static_cast<std::uint16_t>(wire::flag_request | (fields.acknowledge ? wire::flag_ack : 0));
  reply.sequence = fields.sequence;
  reply.port_id = fields.port_id;
  return reply;
}

TEST(request_note, verdicts_come_back_whole) {
  for (const bool ipv6 : {false, true}) {
    for (const bool internal : {false, true}) {
      for (std::uint32_t value = 0; value <= 5; ++value) {
        for (const std::uint32_t id : {0U, 1U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
          for (const std::size_t length : {std::size_t{0}, std::size_t{20}, std::size_t{65531}, std::size_t{65535}}) {
            const auto read =
                read_note(echo({.ipv6 = ipv6, .internal = internal, .verdict = verdict_note{id, value, length}}));
            ASSERT_TRUE(read && read->verdict);
            EXPECT_FALSE(read->mode);
            EXPECT_EQ(read->ipv6, ipv6);
            EXPECT_EQ(read->internal, internal);
            EXPECT_EQ(read->verdict->id, id);
            EXPECT_EQ(read->verdict->value, value);
            EXPECT_EQ(read->verdict->data_len, length);
          }
        }
      }
    }
  }
}

TEST(request_note, an_invalid_verdict_keeps_all_bits_of_its_value_its_length_and_its_family) {
  for (const bool ipv6 : {false, true}) {
    for (const std::uint32_t value : {6U, 255U, 256U, 0x10001U, 0x80000000U, 0xffffffffU}) {
      for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{1000}, std::size_t{65531}}) {
        const auto read = read_note(echo({.ipv6 = ipv6, .verdict = verdict_note{0xfffffffe, value, length}}));
        ASSERT_TRUE(read && read->verdict);
        EXPECT_EQ(read->ipv6, ipv6);
        EXPECT_FALSE(read->internal);
        EXPECT_EQ(read->verdict->id, 0xfffffffeU);
        EXPECT_EQ(read->verdict->value, value);
        EXPECT_EQ(read->verdict->data_len, length);
      }
    }
  }
}

TEST(request_note, a_drop_of_many_is_our_own) {
  wire::error_reply reply;
  reply.request_type = wire::message_verdict_batch;
  reply.port_id = 0;
  const auto read = read_note(reply);
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->internal);
}

TEST(request_note, a_length_beyond_its_field_is_the_largest) {
  const auto read = read_note(echo({.verdict = verdict_note{1, 1, 1 << 20}}));
  ASSERT_TRUE(read && read->verdict);
  EXPECT_EQ(read->verdict->data_len, 65535U);
  EXPECT_EQ(read->verdict->value, 1U);
}

TEST(request_note, modes_come_back_whole) {
  for (const bool ipv6 : {false, true}) {
    for (const int mode : {0, 1, 2, 3, 255}) {
      for (const std::uint32_t range : {0U, 1500U, 65535U}) {
        for (const auto& [attempt, binds] :
             {std::pair{0U, false}, {0U, true}, {bind_attempt_mask, false}, {bind_attempt_mask, true}}) {
          const auto read = read_note(
              echo({.ipv6 = ipv6, .mode = mode_note{static_cast<std::uint8_t>(mode), range, attempt, binds}}));
          ASSERT_TRUE(read && read->mode);
          EXPECT_FALSE(read->verdict);
          EXPECT_EQ(read->ipv6, ipv6);
          EXPECT_FALSE(read->internal);
          EXPECT_EQ(read->mode->mode, mode);
          EXPECT_EQ(read->mode->range, range);
          EXPECT_EQ(read->mode->attempt, attempt);
          EXPECT_EQ(read->mode->binds, binds);
        }
      }
    }
  }
}

TEST(request_note, an_error_about_anything_else_is_not_ours) {
  wire::error_reply reply;
  for (const int type : {0, 1, 2, 0x100, 0x300, 0x304, 0xffff}) {
    reply.request_type = static_cast<std::uint16_t>(type);
    EXPECT_FALSE(read_note(reply)) << type;
  }
}

}  // namespace
}  // namespace ipq::compat
