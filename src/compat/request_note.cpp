// SPDX-License-Identifier: MIT
#include "compat/request_note.hpp"

#include <algorithm>

#include "wire/verdict.hpp"

namespace ipq::compat {
namespace {

constexpr std::uint32_t bind_bit = 1U << 28;

/// What stands before the replacement of a verdict that has no mark.
constexpr std::uint32_t head_of_replacement = wire::plain_verdict_size + wire::attribute_header_size;

}  // namespace

note_fields write_note(const request_note& note) noexcept {
  const std::uint32_t whose = (note.internal ? note_internal_bit : 0) | (note.ipv6 ? note_ipv6_bit : 0);
  if (note.verdict && is_invalid_verdict(note.verdict->value)) {
    // The value needs all 32 bits of its field: the family moves to the flag.
    return {note.verdict->id, note.verdict->value, note.ipv6};
  }
  if (note.verdict) {
    note_fields fields = write_verdict_note(note.ipv6, *note.verdict);
    fields.port_id |= whose;
    return fields;
  }
  const mode_note mode = note.mode.value_or(mode_note{});
  const std::uint32_t bind = (mode.binds ? bind_bit : 0) | (mode.attempt & bind_attempt_mask) << 8;
  return {mode.range, whose | bind | mode.mode, false};
}

std::optional<request_note> read_note(const wire::error_reply& reply) noexcept {
  request_note note;
  note.internal = reply.port_id & note_internal_bit;
  note.ipv6 = reply.port_id & note_ipv6_bit;
  switch (reply.request_type) {
    case wire::message_verdict:
      note.verdict = verdict_note{reply.sequence, reply.port_id >> 16 & 0xff, reply.port_id & 0xffff};
      return note;
    case wire::message_verdict_batch:  // kernel_queue sends invalid values as this, and drops of its own, which are
                                       // valid
      note.internal = !is_invalid_verdict(reply.port_id);
      note.ipv6 = reply.request_flags & wire::flag_ack;
      note.verdict = verdict_note{reply.sequence, reply.port_id, 0};
      if (reply.request_length > head_of_replacement) {
        note.verdict->data_len = reply.request_length - head_of_replacement;
      }
      return note;
    case wire::message_config:
      note.mode = mode_note{static_cast<std::uint8_t>(reply.port_id & 0xff), reply.sequence,
                            reply.port_id >> 8 & bind_attempt_mask, (reply.port_id & bind_bit) != 0};
      return note;
    default:
      return std::nullopt;
  }
}

}  // namespace ipq::compat
