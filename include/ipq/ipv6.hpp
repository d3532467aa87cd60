// SPDX-License-Identifier: MIT
// A checked view of an IPv6 packet (RFC 8200) and the bounded walk over its extension headers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ipq/address.hpp"
#include "ipq/bytes.hpp"
#include "ipq/ip.hpp"

namespace ipq {

/// Where the extension headers of a packet lead.
struct ipv6_chain {
  ip_protocol transport = ip_protocol::no_next_header;  ///< what the walk ended at; of a later fragment, what the
                                                        ///< fragment header names, which may be another extension
  std::size_t transport_offset = 40;                    ///< from the IPv6 header's first byte
  fragment_state fragment = fragment_state::none;
  std::size_t fragment_offset = 0;  ///< bytes, a multiple of 8
  bool more_fragments = false;
  std::uint32_t identification = 0;  ///< of the fragment header
  std::uint8_t headers = 0;          ///< extension headers passed, 0 to 16
  bool complete = false;  ///< false: a header runs beyond the bytes, or there are more than 16; transport is the one
                          ///< that could not be passed, transport_offset where it begins
  /// The transport checksum was made with another destination than the header's: a routing header has segments left.
  bool routed = false;
  /// The transport checksum was made with another source: a home address option (RFC 6275) is there.
  bool home_address = false;
};

/// An IPv6 packet whose fixed header is whole. No accessor reads beyond the bytes that were parsed; they have to live
/// as long as the view. Copying is cheap. Numbers are in host byte order.
class ipv6_view {
 public:
  static constexpr std::size_t header_length = 40;
  static constexpr unsigned most_extension_headers = 16;

  /// From the first byte of the header on. Nothing unless the version is 6 and 40 bytes are there. The packet may be
  /// cut (see truncated()) and bytes behind its end are left out. A payload length of 0 before a hop-by-hop header
  /// stands for all bytes, as for a jumbogram (RFC 2675) and the kernel's segments above 64 KiB.
  [[nodiscard]] static std::optional<ipv6_view> parse(std::span<const std::byte> bytes) noexcept {
    if (bytes.size() < header_length || std::to_integer<unsigned>(bytes[0]) >> 4 != 6) return std::nullopt;
    const std::size_t total = header_length + read_be16(bytes, 4);
    if (total == header_length && bytes[6] == std::byte{0}) return ipv6_view(bytes, false);
    const bool cut = total > bytes.size();
    return ipv6_view(cut ? bytes : bytes.first(total), cut);
  }
  static std::optional<ipv6_view> parse(const std::vector<std::byte>&&) = delete;  // the view would outlive the bytes

  [[nodiscard]] std::uint8_t dscp() const noexcept {
    return static_cast<std::uint8_t>((read_be16(bytes_, 0) >> 6) & 63);
  }
  [[nodiscard]] std::uint8_t ecn() const noexcept { return (read_be16(bytes_, 0) >> 4) & 3; }
  [[nodiscard]] std::uint32_t flow_label() const noexcept { return read_be32(bytes_, 0) & 0xfffff; }
  [[nodiscard]] std::uint16_t payload_length() const noexcept { return read_be16(bytes_, 4); }
  [[nodiscard]] ip_protocol next_header() const noexcept { return static_cast<ip_protocol>(bytes_[6]); }
  [[nodiscard]] std::uint8_t hop_limit() const noexcept { return std::to_integer<std::uint8_t>(bytes_[7]); }
  [[nodiscard]] ipv6_address source() const noexcept { return address(8); }
  [[nodiscard]] ipv6_address destination() const noexcept { return address(24); }

  /// Follows hop-by-hop, routing, fragment, destination options, AH, mobility, HIP and shim6 headers, at most 16.
  [[nodiscard]] ipv6_chain walk() const noexcept;

  /// Whether bytes are missing that the payload length promises.
  [[nodiscard]] bool truncated() const noexcept { return truncated_; }

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }  ///< header and payload
  [[nodiscard]] std::span<const std::byte> header() const noexcept { return bytes_.first(header_length); }
  /// Behind the fixed header: extension headers and what they lead to.
  [[nodiscard]] std::span<const std::byte> payload() const noexcept { return bytes_.subspan(header_length); }

 private:
  ipv6_view(std::span<const std::byte> bytes, bool truncated) noexcept : bytes_(bytes), truncated_(truncated) {}

  [[nodiscard]] ipv6_address address(std::size_t at) const noexcept {
    ipv6_address value;
    std::memcpy(value.bytes.data(), bytes_.data() + at, value.bytes.size());
    return value;
  }

  std::span<const std::byte> bytes_;
  bool truncated_;
};

}  // namespace ipq
