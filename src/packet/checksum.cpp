// SPDX-License-Identifier: MIT
// Sums over bytes, eight at a time, and of pseudo-headers.
#include "ipq/checksum.hpp"

#include <bit>
#include <cstring>

#include "ipq/bytes.hpp"

namespace ipq {
namespace {

// A sum does not depend on byte order except for the order of its own two bytes (RFC 1071, 2 (B)).
std::uint16_t from_native(std::uint16_t sum) noexcept {
  return std::endian::native == std::endian::little ? at_odd_offset(sum) : sum;
}

template <class Address>
std::uint16_t pseudo_sum(const Address& source, const Address& destination, ip_protocol protocol,
                         std::uint32_t length) noexcept {
  std::uint64_t sum = static_cast<std::uint8_t>(protocol);
  sum += (length >> 16) + (length & 0xffff);
  sum += sum_bytes(std::as_bytes(std::span(source.bytes)));
  sum += sum_bytes(std::as_bytes(std::span(destination.bytes)));
  return fold(sum);
}

}  // namespace

std::uint16_t sum_bytes(std::span<const std::byte> bytes) noexcept {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  // 32-bit halves in 64-bit sums: 2^32 of them fit without a carry. Independent sums, so that additions overlap.
  std::uint64_t low[4] = {}, high[4] = {};
  for (; left >= 32; at += 32, left -= 32) {
    for (std::size_t i = 0; i < 4; i++) {
      std::uint64_t word;
      std::memcpy(&word, at + 8 * i, sizeof word);
      low[i] += word & 0xffffffff;
      high[i] += word >> 32;
    }
  }
  for (; left >= 4; at += 4, left -= 4) {
    std::uint32_t word;
    std::memcpy(&word, at, sizeof word);
    low[0] += word;
  }
  if (left > 0) {
    std::uint32_t word = 0;
    std::memcpy(&word, at, left);
    low[1] += word;
  }
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < 4; i++) sum += std::uint64_t{fold(low[i])} + fold(high[i]);
  return from_native(fold(sum));
}

std::uint16_t pseudo_header_sum(const ipv4_address& source, const ipv4_address& destination, ip_protocol protocol,
                                std::uint32_t length) noexcept {
  return pseudo_sum(source, destination, protocol, length);
}

std::uint16_t pseudo_header_sum(const ipv6_address& source, const ipv6_address& destination, ip_protocol protocol,
                                std::uint32_t length) noexcept {
  return pseudo_sum(source, destination, protocol, length);
}

}  // namespace ipq
