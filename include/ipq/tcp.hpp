// SPDX-License-Identifier: MIT
// A checked view of a TCP segment (RFC 9293).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ipq/bytes.hpp"
#include "ipq/options.hpp"

namespace ipq {

/// Bits of tcp_view::flags().
enum tcp_flag : std::uint8_t {
  tcp_fin = 1,
  tcp_syn = 2,
  tcp_rst = 4,
  tcp_psh = 8,
  tcp_ack = 16,
  tcp_urg = 32,
  tcp_ece = 64,
  tcp_cwr = 128,
};

/// A TCP segment whose header is whole. No accessor reads beyond the bytes that were parsed; they have to live as long
/// as the view. Numbers are in host byte order.
class tcp_view {
 public:
  /// From the first byte of the header on; all bytes belong to the segment. Nothing unless the data offset is at least
  /// 5 and the header there.
  [[nodiscard]] static std::optional<tcp_view> parse(std::span<const std::byte> bytes) noexcept {
    if (bytes.size() < 20) return std::nullopt;
    const std::size_t header = (std::to_integer<std::size_t>(bytes[12]) >> 4) * 4;
    if (header < 20 || header > bytes.size()) return std::nullopt;
    return tcp_view(bytes, header);
  }
  static std::optional<tcp_view> parse(const std::vector<std::byte>&&) = delete;  // the view would outlive the bytes

  [[nodiscard]] std::uint16_t source_port() const noexcept { return read_be16(bytes_, 0); }
  [[nodiscard]] std::uint16_t destination_port() const noexcept { return read_be16(bytes_, 2); }
  [[nodiscard]] std::uint32_t sequence_number() const noexcept { return read_be32(bytes_, 4); }
  [[nodiscard]] std::uint32_t acknowledgment_number() const noexcept { return read_be32(bytes_, 8); }
  [[nodiscard]] std::size_t header_length() const noexcept { return header_; }  ///< bytes, 20 to 60
  [[nodiscard]] std::uint8_t flags() const noexcept { return std::to_integer<std::uint8_t>(bytes_[13]); }
  [[nodiscard]] bool syn() const noexcept { return (flags() & tcp_syn) != 0; }
  [[nodiscard]] bool ack() const noexcept { return (flags() & tcp_ack) != 0; }
  [[nodiscard]] bool fin() const noexcept { return (flags() & tcp_fin) != 0; }
  [[nodiscard]] bool rst() const noexcept { return (flags() & tcp_rst) != 0; }
  [[nodiscard]] std::uint16_t window() const noexcept { return read_be16(bytes_, 14); }
  [[nodiscard]] std::uint16_t checksum() const noexcept { return read_be16(bytes_, 16); }
  [[nodiscard]] std::uint16_t urgent_pointer() const noexcept { return read_be16(bytes_, 18); }

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::span<const std::byte> header() const noexcept { return bytes_.first(header_); }
  [[nodiscard]] option_range options() const noexcept { return option_range(header().subspan(20)); }
  [[nodiscard]] std::span<const std::byte> payload() const noexcept { return bytes_.subspan(header_); }

 private:
  tcp_view(std::span<const std::byte> bytes, std::size_t header) noexcept : bytes_(bytes), header_(header) {}

  std::span<const std::byte> bytes_;
  std::size_t header_;
};

}  // namespace ipq
