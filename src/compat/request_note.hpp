// SPDX-License-Identifier: MIT
// What a request to the kernel was about, written into the request itself: the kernel sends sequence number and port id
// back with an error (NETLINK_CAP_ACK), so nothing has to be remembered, locked or matched here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "wire/message.hpp"

namespace ipq::compat {

/// A verdict as the program gave it.
struct verdict_note {
  std::uint32_t id = 0;
  std::uint32_t value = 0;
  std::size_t data_len = 0;  ///< above 65535 it comes back as 65535; see is_invalid_verdict
};

/// A mode as the program set it.
struct mode_note {
  std::uint8_t mode = 0;
  std::uint32_t range = 0;
  std::uint32_t attempt = 0;  ///< the number of the last attempt to bind, modulo 2^20
  bool binds = false;         ///< that attempt went along
};

inline constexpr std::uint32_t bind_attempt_mask = (1U << 20) - 1;

struct request_note {
  bool ipv6 = false;      ///< whose request: queues can be shared by two handles
  bool internal = false;  ///< our own doing, the program is not to hear of it
  std::optional<verdict_note> verdict = {};
  std::optional<mode_note> mode = {};
};

/// Values that no kernel takes, and values that our contract refuses though the kernel would look at their low byte.
/// They are sent as what the kernel must refuse, so that the refusal reaches the program the way all others do. The
/// replacement goes along, as its length is to come back, which it does up to 65531.
[[nodiscard]] constexpr bool is_invalid_verdict(std::uint32_t value) noexcept {
  return value > 5;
}

/// They, too, are sent as what the kernel must refuse.
[[nodiscard]] constexpr bool is_invalid_mode(std::uint8_t mode) noexcept {
  return mode > 2;
}

/// port_id, from its high end: internal, IPv6, and 30 bits of what does not fit into the sequence number.
inline constexpr std::uint32_t note_internal_bit = 1U << 31;
inline constexpr std::uint32_t note_ipv6_bit = 1U << 30;

/// nlmsghdr fields that carry a note.
struct note_fields {
  std::uint32_t sequence = 0;
  std::uint32_t port_id = 0;
  bool acknowledge = false;  ///< on a request that is refused anyway it asks for nothing more, but comes back
};

[[nodiscard]] note_fields write_note(const request_note& note) noexcept;

/// The same for a verdict of the program's with a valid value; inline, since every packet has one.
[[nodiscard]] constexpr note_fields write_verdict_note(bool ipv6, const verdict_note& note) noexcept {
  const std::uint32_t length = note.data_len < 0xffff ? static_cast<std::uint32_t>(note.data_len) : 0xffff;
  return {note.id, (ipv6 ? note_ipv6_bit : 0) | note.value << 16 | length, false};
}

/// nullopt for an error that answers none of our requests.
[[nodiscard]] std::optional<request_note> read_note(const wire::error_reply& reply) noexcept;

}  // namespace ipq::compat
