// SPDX-License-Identifier: MIT
// A checked view of a UDP datagram (RFC 768).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ipq/bytes.hpp"

namespace ipq {

/// A UDP datagram whose header is whole. No accessor reads beyond the bytes that were parsed; they have to live as long
/// as the view. Numbers are in host byte order.
class udp_view {
 public:
  static constexpr std::size_t header_length = 8;

  /// From the first byte of the header on. Nothing unless 8 bytes are there and the length is at least 8, or 0, which
  /// stands for all bytes (RFC 2675). Bytes behind the length are left out; fewer than the length are accepted, since a
  /// packet may be cut or a fragment.
  [[nodiscard]] static std::optional<udp_view> parse(std::span<const std::byte> bytes) noexcept {
    if (bytes.size() < header_length) return std::nullopt;
    const std::size_t length = read_be16(bytes, 4);
    if (length != 0 && length < header_length) return std::nullopt;
    return udp_view(length != 0 && length < bytes.size() ? bytes.first(length) : bytes);
  }
  static std::optional<udp_view> parse(const std::vector<std::byte>&&) = delete;  // the view would outlive the bytes

  [[nodiscard]] std::uint16_t source_port() const noexcept { return read_be16(bytes_, 0); }
  [[nodiscard]] std::uint16_t destination_port() const noexcept { return read_be16(bytes_, 2); }
  [[nodiscard]] std::uint16_t length() const noexcept { return read_be16(bytes_, 4); }    ///< header and payload, bytes
  [[nodiscard]] std::uint16_t checksum() const noexcept { return read_be16(bytes_, 6); }  ///< 0: none

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::span<const std::byte> header() const noexcept { return bytes_.first(header_length); }
  [[nodiscard]] std::span<const std::byte> payload() const noexcept { return bytes_.subspan(header_length); }

 private:
  explicit udp_view(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}

  std::span<const std::byte> bytes_;
};

}  // namespace ipq
