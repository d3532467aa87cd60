// SPDX-License-Identifier: MIT
// The frame: netlink messages in a datagram, attributes in a message, and the kernel's error replies.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "wire/bytes.hpp"
#include "wire/constants.hpp"

namespace ipq::wire {

using bytes = std::span<const std::byte>;

/// struct nlmsghdr and what follows it.
struct message {
  std::uint16_t type = 0;
  std::uint16_t flags = 0;
  std::uint32_t sequence = 0;
  std::uint32_t port_id = 0;
  bytes body;  ///< behind the header, without padding
};

/// Takes the first message off `datagram`. nullopt at the end and where a header lies about its length: what is
/// left in `datagram` then is no message. A length that is no multiple of 4 is legal, and the last one needs no
/// padding.
[[nodiscard]] inline std::optional<message> next_message(bytes& datagram) noexcept {
  if (datagram.size() < nlmsg_header_size) return std::nullopt;
  // Not mnl_nlmsg_ok: up to libmnl 1.0.4 it takes a length above 2^31 for a negative one, and passes it.
  const std::byte* const at = datagram.data();
  const std::size_t length = load<std::uint32_t>(at);
  if (length < nlmsg_header_size || length > datagram.size()) return std::nullopt;
  const std::size_t step = std::min(datagram.size(), align(length));
  datagram = datagram.subspan(step);
  return message{load<std::uint16_t>(at + 4), load<std::uint16_t>(at + 6), load<std::uint32_t>(at + 8),
                 load<std::uint32_t>(at + 12), bytes(at + nlmsg_header_size, length - nlmsg_header_size)};
}

/// struct nlattr and its value.
struct attribute {
  std::uint16_t type = 0;  ///< without the flags for nesting and byte order
  bytes value;
};

/// Takes the first attribute off `attributes`, under the same terms as next_message: false where that one is nullopt.
[[nodiscard]] inline bool next_attribute(bytes& attributes, attribute& into) noexcept {
  const std::byte* const at = attributes.data();
  const std::size_t left = attributes.size();
  if (left < attribute_header_size) return false;
  const std::size_t length = load<std::uint16_t>(at);
  if (length < attribute_header_size || length > left) return false;
  constexpr std::uint16_t type_mask = 0x3fff;  // NLA_TYPE_MASK
  into.type = static_cast<std::uint16_t>(load<std::uint16_t>(at + 2) & type_mask);
  into.value = {at + attribute_header_size, length - attribute_header_size};
  const std::size_t step = align(length);
  attributes = step < left ? bytes(at + step, left - step) : bytes(at + left, 0u);
  return true;
}
[[nodiscard]] inline std::optional<attribute> next_attribute(bytes& attributes) noexcept {
  attribute taken;
  return next_attribute(attributes, taken) ? std::optional(taken) : std::nullopt;
}

/// NLMSG_ERROR: the answer to one request.
struct error_reply {
  int code = 0;                    ///< positive errno, 0 for an acknowledgement; up to 4095
  std::uint16_t request_type = 0;  ///< header of the request, as it was sent
  std::uint16_t request_flags = 0;
  std::uint32_t request_length = 0;
  std::uint32_t sequence = 0;
  std::uint32_t port_id = 0;            ///< nlmsg_pid of the request: the sender may use it as a cookie
  std::string_view text;                ///< extended ack: what the kernel says about it, often empty
  std::optional<std::uint32_t> offset;  ///< extended ack: where in the request
};

/// nullopt if `reply` is no NLMSG_ERROR, too short for one, or has a code that is no errno.
[[nodiscard]] std::optional<error_reply> parse_error(const message& reply) noexcept;

}  // namespace ipq::wire
