// SPDX-License-Identifier: MIT
// Link headers: from the bytes of a frame to what a queue would say beside its packet. Pure.
#pragma once

#include <cstddef>
#include <cstdint>

#include "capture/format.hpp"
#include "ipq/packet.hpp"

namespace ipq::capture {

/// Whether a VLAN tag follows.
[[nodiscard]] constexpr bool is_vlan(std::uint16_t ethertype) noexcept {
  return ethertype == 0x8100 || ethertype == 0x88a8 || ethertype == 0x9100;
}
/// Whether frames of this link type are understood.
[[nodiscard]] bool is_known(std::uint32_t link_type) noexcept;
/// A literal that says what the frames are and which link types are understood.
[[nodiscard]] const char* describe_unknown(std::uint32_t link_type) noexcept;

enum class frame_kind : std::uint8_t {
  ip,
  not_ip,
  malformed,  ///< announced as IP, but its header is not whole, or of another version: the kernel would not queue it
};

struct link_result {
  frame_kind kind;
  bool whole = false;                 ///< the link header is; true of IP
  std::uint32_t header = 0;           ///< bytes before the packet, if it is whole
  std::uint32_t interface_index = 0;  ///< as the capturing machine knew it; 0 where the frame does not say
};

/// Fills in family, hw_protocol, hw_addr, vlan, l2_header, payload, original_length and truncated. Of what is no IP
/// there is no family, and the payload is all behind the link header. `data` is the frame, `original_length` its length
/// on the wire. `swapped`: the file was written in the other byte order.
[[nodiscard]] link_result parse_link(std::uint32_t link_type, bytes data, std::uint32_t original_length, bool swapped,
                                     packet& found) noexcept;

}  // namespace ipq::capture
