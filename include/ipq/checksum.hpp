// SPDX-License-Identifier: MIT
// The Internet checksum (RFC 1071), whole and incrementally (RFC 1624).
//
// A "sum" here is the ones'-complement sum of 16-bit big-endian words, folded to 16 bits; a "checksum" is what stands
// in a header: the complement of a sum. A sum is 0 only if every word is 0; otherwise zero is written 0xffff.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ipq/address.hpp"
#include "ipq/ip.hpp"

namespace ipq {

/// Adds the carries of a long sum into its low 16 bits.
[[nodiscard]] constexpr std::uint16_t fold(std::uint64_t sum) noexcept {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>((sum & 0xffff) + (sum >> 16));
}

/// The sum of two sums.
[[nodiscard]] constexpr std::uint16_t add_sums(std::uint16_t a, std::uint16_t b) noexcept {
  return fold(std::uint64_t{a} + b);
}

/// What a sum counts for when its bytes stand at an odd offset of the whole (RFC 1071, 2 (B)).
[[nodiscard]] constexpr std::uint16_t at_odd_offset(std::uint16_t sum) noexcept {
  return static_cast<std::uint16_t>(sum << 8 | sum >> 8);
}

/// The sum of `first_size` bytes with the sum `first`, followed by bytes with the sum `second`.
[[nodiscard]] constexpr std::uint16_t combine_sums(std::uint16_t first, std::size_t first_size,
                                                   std::uint16_t second) noexcept {
  return add_sums(first, first_size % 2 == 0 ? second : at_odd_offset(second));
}

/// The sum of bytes at any alignment; an odd last byte counts as if a zero byte followed. At most 2^32 bytes.
[[nodiscard]] std::uint16_t sum_bytes(std::span<const std::byte> bytes) noexcept;

/// The checksum of bytes whose checksum field holds zero. 0 says that bytes with their checksum in place are right.
[[nodiscard]] inline std::uint16_t checksum_of(std::span<const std::byte> bytes) noexcept {
  return static_cast<std::uint16_t>(~sum_bytes(bytes));
}

/// The checksum after words that summed to `before` were replaced by words that sum to `after`: equation 3 of RFC 1624.
/// One that was wrong stays wrong by the same difference. For UDP, 0 as a result has to be written as 0xffff.
[[nodiscard]] constexpr std::uint16_t update_checksum(std::uint16_t checksum, std::uint16_t before,
                                                      std::uint16_t after) noexcept {
  return static_cast<std::uint16_t>(
      ~fold(std::uint64_t{static_cast<std::uint16_t>(~checksum)} + static_cast<std::uint16_t>(~before) + after));
}

/// The sum of the pseudo-header of TCP and UDP over IPv4 (RFC 9293, RFC 768); `length` of transport header and payload.
[[nodiscard]] std::uint16_t pseudo_header_sum(const ipv4_address& source, const ipv4_address& destination,
                                              ip_protocol protocol, std::uint32_t length) noexcept;

/// The same over IPv6, where ICMPv6 has it too (RFC 8200 section 8.1).
[[nodiscard]] std::uint16_t pseudo_header_sum(const ipv6_address& source, const ipv6_address& destination,
                                              ip_protocol protocol, std::uint32_t length) noexcept;

}  // namespace ipq
