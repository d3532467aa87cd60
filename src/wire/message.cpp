// SPDX-License-Identifier: MIT
#include "wire/message.hpp"

#include <algorithm>

#include "wire/bytes.hpp"

namespace ipq::wire {

std::optional<error_reply> parse_error(const message& reply) noexcept {
  constexpr std::size_t error_size = 4 + nlmsg_header_size;  // struct nlmsgerr
  if (reply.type != message_error || reply.body.size() < error_size) return std::nullopt;
  const std::byte* at = reply.body.data();
  error_reply parsed;
  const auto code = static_cast<std::int32_t>(load<std::uint32_t>(at));
  // MAX_ERRNO of the kernel; anything else is no errno, and must not become a large or negative one here.
  if (code > 0 || code < -4095) return std::nullopt;
  parsed.code = -code;
  parsed.request_length = load<std::uint32_t>(at + 4);
  parsed.request_type = load<std::uint16_t>(at + 8);
  parsed.request_flags = load<std::uint16_t>(at + 10);
  parsed.sequence = load<std::uint32_t>(at + 12);
  parsed.port_id = load<std::uint32_t>(at + 16);
  if (reply.flags & flag_ack_tlvs) {
    // netlink_ack: the attributes follow the header of a capped request, else the whole of it. A success echoes none.
    std::size_t echoed = error_size;
    if (!(reply.flags & flag_capped) && code != 0) echoed = 4 + align(parsed.request_length);
    bytes attributes = echoed <= reply.body.size() ? reply.body.subspan(echoed) : bytes{};
    while (const auto found = next_attribute(attributes)) {
      if (found->type == extended_ack_text) {
        const auto* text = reinterpret_cast<const char*>(found->value.data());
        parsed.text = std::string_view(text, std::find(text, text + found->value.size(), '\0'));
      } else if (found->type == extended_ack_offset && found->value.size() >= 4) {
        parsed.offset = load<std::uint32_t>(found->value.data());
      }
    }
  }
  return parsed;
}

}  // namespace ipq::wire
