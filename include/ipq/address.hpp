// SPDX-License-Identifier: MIT
// IPv4 and IPv6 addresses as values: compared, hashed, read from text and written as text.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace ipq {

/// An IPv4 address; bytes in network order. 0.0.0.0 unless set.
struct ipv4_address {
  std::array<std::uint8_t, 4> bytes{};

  /// Four decimal numbers, as "192.0.2.1": no leading zeros, nothing before or behind. As inet_pton reads it.
  [[nodiscard]] static std::optional<ipv4_address> parse(std::string_view text) noexcept;
  /// "192.0.2.1"
  [[nodiscard]] std::string to_string() const;

  friend auto operator<=>(const ipv4_address&, const ipv4_address&) = default;
};

/// An IPv6 address without a scope; bytes in network order. :: unless set.
struct ipv6_address {
  std::array<std::uint8_t, 16> bytes{};

  /// Every form of RFC 4291 section 2.2, as "2001:db8::1" and "::ffff:192.0.2.1"; no zone, no brackets, no prefix
  /// length.
  [[nodiscard]] static std::optional<ipv6_address> parse(std::string_view text) noexcept;
  /// As RFC 5952 asks: lower case, the longest run of zeros as "::", an IPv4-mapped address with dots.
  [[nodiscard]] std::string to_string() const;

  friend auto operator<=>(const ipv6_address&, const ipv6_address&) = default;
};

}  // namespace ipq

template <>
struct std::hash<ipq::ipv4_address> {
  [[nodiscard]] std::size_t operator()(const ipq::ipv4_address& address) const noexcept {
    return std::hash<std::string_view>{}({reinterpret_cast<const char*>(address.bytes.data()), address.bytes.size()});
  }
};

template <>
struct std::hash<ipq::ipv6_address> {
  [[nodiscard]] std::size_t operator()(const ipq::ipv6_address& address) const noexcept {
    return std::hash<std::string_view>{}({reinterpret_cast<const char*>(address.bytes.data()), address.bytes.size()});
  }
};
