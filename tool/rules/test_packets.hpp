// SPDX-License-Identifier: MIT
// Packets for the tests of this room, with right checksums, and a check of those.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ipq/ip.hpp"
#include "ipq/packet.hpp"

namespace ipq::tool::rules {

/// What a test wants of a packet; the rest is as usual.
struct packet_plan {
  std::string_view source = "192.0.2.1";  ///< the family of both is that of the packet
  std::string_view destination = "192.0.2.2";
  ip_protocol protocol = ip_protocol::udp;  ///< tcp, udp, icmp or icmpv6; others have no transport header
  std::uint16_t source_port = 5000;
  std::uint16_t destination_port = 53;
  std::uint8_t ttl = 64;
  std::string_view payload = "hello";
  std::uint16_t fragment = 0;  ///< IPv4: flags and offset as they stand in the header
};

[[nodiscard]] std::vector<std::byte> make_bytes(const packet_plan& plan);

/// A queued packet of these bytes, which must outlive it.
[[nodiscard]] packet make_packet(std::span<const std::byte> bytes);
packet make_packet(const std::vector<std::byte>&&) = delete;

/// Whether the checksums of the IPv4 header and of TCP, UDP, ICMP or ICMPv6 are right.
[[nodiscard]] bool has_right_checksums(std::span<const std::byte> bytes);

}  // namespace ipq::tool::rules
