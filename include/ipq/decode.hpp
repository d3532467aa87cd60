// SPDX-License-Identifier: MIT
// Where the layers of a packet begin, found in one pass: what a filter asks of every packet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ipq/ip.hpp"

namespace ipq {

/// The layers of a packet. Offsets count from its first byte and are never beyond `end`.
struct layers {
  std::uint8_t version = 0;                             ///< 4 or 6
  ip_protocol transport = ip_protocol::no_next_header;  ///< behind IPv6's extension headers; see ipv6_chain::transport
  fragment_state fragment = fragment_state::none;
  bool truncated = false;  ///< the packet is longer than the bytes that were given
  /// Whether a whole header of TCP, UDP, ICMP or ICMPv6 stands at transport_offset: its view's parse will succeed.
  bool has_transport = false;
  std::uint32_t transport_offset = 0;
  std::uint32_t payload_offset = 0;  ///< behind the transport header; transport_offset if there is none
  std::uint32_t end = 0;             ///< where the packet ends: bytes behind that are padding
};

/// Finds the layers of the IPv4 or IPv6 packet in `bytes`. Nothing if its IP header is not whole or not valid. An IPv6
/// packet whose extension headers can't be followed has no transport.
[[nodiscard]] std::optional<layers> decode(std::span<const std::byte> bytes) noexcept;

}  // namespace ipq
