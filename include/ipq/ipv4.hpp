// SPDX-License-Identifier: MIT
// A checked view of an IPv4 packet (RFC 791), and the options of IPv4 and TCP as a range.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ipq/address.hpp"
#include "ipq/bytes.hpp"
#include "ipq/ip.hpp"
#include "ipq/options.hpp"

namespace ipq {

/// An IPv4 packet whose header is whole. No accessor reads beyond the bytes that were parsed, whatever they hold; they
/// have to live as long as the view. Copying is cheap. Numbers are in host byte order.
class ipv4_view {
 public:
  /// From the first byte of the header on. Nothing unless the version is 4, the header length at least 20 bytes and
  /// there, and the total length at least as long. The packet may be cut (see truncated()) and bytes behind its end are
  /// left out. A total length of 0 stands for all bytes: the kernel writes it into segments above 64 KiB.
  [[nodiscard]] static std::optional<ipv4_view> parse(std::span<const std::byte> bytes) noexcept {
    if (bytes.size() < 20) return std::nullopt;
    const auto first = std::to_integer<std::size_t>(bytes[0]);
    const std::size_t header = (first & 15) * 4;
    if (first >> 4 != 4 || header < 20 || bytes.size() < header) return std::nullopt;
    const std::size_t total = read_be16(bytes, 2);
    if (total == 0) return ipv4_view(bytes, header, false);
    if (total < header) return std::nullopt;
    const bool cut = total > bytes.size();
    return ipv4_view(cut ? bytes : bytes.first(total), header, cut);
  }
  static std::optional<ipv4_view> parse(const std::vector<std::byte>&&) = delete;  // the view would outlive the bytes

  [[nodiscard]] std::size_t header_length() const noexcept { return header_; }  ///< bytes, 20 to 60
  [[nodiscard]] std::uint8_t dscp() const noexcept { return static_cast<std::uint8_t>(byte(1) >> 2); }
  [[nodiscard]] std::uint8_t ecn() const noexcept { return byte(1) & 3; }
  [[nodiscard]] std::uint16_t total_length() const noexcept { return read_be16(bytes_, 2); }
  [[nodiscard]] std::uint16_t identification() const noexcept { return read_be16(bytes_, 4); }
  [[nodiscard]] bool dont_fragment() const noexcept { return (byte(6) & 0x40) != 0; }
  [[nodiscard]] bool more_fragments() const noexcept { return (byte(6) & 0x20) != 0; }
  /// In bytes, a multiple of 8.
  [[nodiscard]] std::size_t fragment_offset() const noexcept {
    return (std::size_t{read_be16(bytes_, 6)} & 0x1fff) * 8;
  }
  [[nodiscard]] std::uint8_t time_to_live() const noexcept { return byte(8); }
  [[nodiscard]] ip_protocol protocol() const noexcept { return static_cast<ip_protocol>(byte(9)); }
  [[nodiscard]] std::uint16_t header_checksum() const noexcept { return read_be16(bytes_, 10); }
  [[nodiscard]] ipv4_address source() const noexcept { return address(12); }
  [[nodiscard]] ipv4_address destination() const noexcept { return address(16); }

  [[nodiscard]] bool is_fragment() const noexcept { return (read_be16(bytes_, 6) & 0x3fff) != 0; }
  [[nodiscard]] bool first_fragment() const noexcept { return more_fragments() && fragment_offset() == 0; }
  /// none, first or later; IPv4 has no atomic fragments.
  [[nodiscard]] fragment_state fragment() const noexcept {
    if (!is_fragment()) return fragment_state::none;
    return fragment_offset() == 0 ? fragment_state::first : fragment_state::later;
  }

  /// Whether bytes are missing that the total length promises.
  [[nodiscard]] bool truncated() const noexcept { return truncated_; }

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }  ///< header and payload
  [[nodiscard]] std::span<const std::byte> header() const noexcept { return bytes_.first(header_); }
  [[nodiscard]] option_range options() const noexcept { return option_range(header().subspan(20)); }
  [[nodiscard]] std::span<const std::byte> payload() const noexcept { return bytes_.subspan(header_); }

 private:
  ipv4_view(std::span<const std::byte> bytes, std::size_t header, bool truncated) noexcept
      : bytes_(bytes), header_(header), truncated_(truncated) {}

  [[nodiscard]] std::uint8_t byte(std::size_t at) const noexcept { return std::to_integer<std::uint8_t>(bytes_[at]); }
  [[nodiscard]] ipv4_address address(std::size_t at) const noexcept {
    ipv4_address value;
    std::memcpy(value.bytes.data(), bytes_.data() + at, value.bytes.size());
    return value;
  }

  std::span<const std::byte> bytes_;
  std::size_t header_;
  bool truncated_;
};

}  // namespace ipq
