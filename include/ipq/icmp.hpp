// SPDX-License-Identifier: MIT
// Checked views of ICMP (RFC 792) and ICMPv6 (RFC 4443) messages, which are built alike and numbered differently.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ipq/bytes.hpp"
#include "ipq/ip.hpp"

namespace ipq {

/// A message whose first 8 bytes are there; `Protocol` says whose numbers count. No accessor reads beyond the bytes
/// that were parsed; they have to live as long as the view. Numbers are in host byte order.
template <ip_protocol Protocol>
class basic_icmp_view {
  static_assert(Protocol == ip_protocol::icmp || Protocol == ip_protocol::icmpv6);

 public:
  static constexpr std::size_t header_length = 8;
  static constexpr std::uint8_t echo_request = Protocol == ip_protocol::icmp ? 8 : 128;
  static constexpr std::uint8_t echo_reply = Protocol == ip_protocol::icmp ? 0 : 129;

  /// From the type on; all bytes belong to the message. Nothing unless there are 8.
  [[nodiscard]] static std::optional<basic_icmp_view> parse(std::span<const std::byte> bytes) noexcept {
    if (bytes.size() < header_length) return std::nullopt;
    return basic_icmp_view(bytes);
  }
  static std::optional<basic_icmp_view> parse(const std::vector<std::byte>&&) = delete;

  [[nodiscard]] std::uint8_t type() const noexcept { return std::to_integer<std::uint8_t>(bytes_[0]); }
  [[nodiscard]] std::uint8_t code() const noexcept { return std::to_integer<std::uint8_t>(bytes_[1]); }
  [[nodiscard]] std::uint16_t checksum() const noexcept { return read_be16(bytes_, 2); }
  [[nodiscard]] bool is_echo() const noexcept { return type() == echo_request || type() == echo_reply; }
  /// Whether the payload begins with the packet that caused the message.
  [[nodiscard]] bool is_error() const noexcept {
    if constexpr (Protocol == ip_protocol::icmpv6) return type() < 128;
    return type() == 3 || type() == 4 || type() == 5 || type() == 11 || type() == 12;
  }
  [[nodiscard]] std::uint16_t identifier() const noexcept { return read_be16(bytes_, 4); }  ///< of an echo
  [[nodiscard]] std::uint16_t sequence() const noexcept { return read_be16(bytes_, 6); }    ///< of an echo

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::span<const std::byte> header() const noexcept { return bytes_.first(header_length); }
  [[nodiscard]] std::span<const std::byte> payload() const noexcept { return bytes_.subspan(header_length); }

 private:
  explicit basic_icmp_view(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}

  std::span<const std::byte> bytes_;
};

using icmp_view = basic_icmp_view<ip_protocol::icmp>;
using icmpv6_view = basic_icmp_view<ip_protocol::icmpv6>;

}  // namespace ipq
