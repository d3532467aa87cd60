// SPDX-License-Identifier: MIT
// What a compiled filter demands of a packet: every way through its code that accepts, as ranges of fields. Found by
// following the code with symbols in place of a packet.
#pragma once

#include <pcap/pcap.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ipq/bytes.hpp"

namespace ipq::tool::rules {

/// Bytes of a packet as a number, where filters look for them.
struct field {
  std::uint8_t size = 0;       ///< 1, 2 or 4
  bool behind_header = false;  ///< the offset counts from behind an IPv4 header
  std::uint32_t header = 0;    ///< where that header begins
  std::uint32_t offset = 0;
  std::uint32_t mask = 0xffffffff;  ///< bits that count

  /// Nothing where the packet does not reach: a filter that loads it does not match then.
  [[nodiscard]] std::optional<std::uint32_t> read(std::span<const std::byte> packet) const noexcept {
    std::uint64_t at = offset;
    if (behind_header) {
      if (header >= packet.size()) return std::nullopt;
      at += std::to_integer<std::uint64_t>(packet[header] & std::byte{15}) * 4;
    }
    if (at + size > packet.size()) return std::nullopt;
    const auto place = static_cast<std::size_t>(at);
    switch (size) {
      case 1:
        return std::to_integer<std::uint32_t>(packet[place]) & mask;
      case 2:
        return read_be16(packet, place) & mask;
      default:
        return read_be32(packet, place) & mask;
    }
  }
  friend auto operator<=>(const field&, const field&) = default;
};

/// A field that lies between two values, both included.
struct field_range {
  field of;
  std::uint32_t first = 0;
  std::uint32_t last = 0xffffffff;
};

/// All of these hold in a packet that is accepted this way. May be empty: nothing is known.
using path = std::vector<field_range>;

/// The ways of a program to accept. Nothing if there are too many, or it jumps back.
[[nodiscard]] std::optional<std::vector<path>> accepting_paths(std::span<const bpf_insn> code);

}  // namespace ipq::tool::rules
