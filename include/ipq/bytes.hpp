// SPDX-License-Identifier: MIT
// Numbers in network byte order, at any alignment. The caller vouches for the bounds.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace ipq {

/// Two bytes at `at` as a number. Undefined unless at + 2 <= bytes.size(), as below for the width in question.
[[nodiscard]] inline std::uint16_t read_be16(std::span<const std::byte> bytes, std::size_t at) noexcept {
  std::uint16_t value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return std::endian::native == std::endian::little ? __builtin_bswap16(value) : value;
}

/// Four bytes at `at` as a number.
[[nodiscard]] inline std::uint32_t read_be32(std::span<const std::byte> bytes, std::size_t at) noexcept {
  std::uint32_t value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return std::endian::native == std::endian::little ? __builtin_bswap32(value) : value;
}

/// Writes two bytes at `at`.
inline void write_be16(std::span<std::byte> bytes, std::size_t at, std::uint16_t value) noexcept {
  if constexpr (std::endian::native == std::endian::little) value = __builtin_bswap16(value);
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

/// Writes four bytes at `at`.
inline void write_be32(std::span<std::byte> bytes, std::size_t at, std::uint32_t value) noexcept {
  if constexpr (std::endian::native == std::endian::little) value = __builtin_bswap32(value);
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

}  // namespace ipq
