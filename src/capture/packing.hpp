// SPDX-License-Identifier: MIT
// How a file is packed, by its first bytes.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

namespace ipq::capture {

enum class packing { none, gzip, zstandard };

[[nodiscard]] inline packing find_packing(std::span<const std::byte> beginning) noexcept {
  const auto begins_with = [](std::span<const std::byte> bytes, const auto& magic) {
    return bytes.size() >= magic.size() && std::ranges::equal(bytes.first(magic.size()), magic);
  };
  constexpr std::array gzip{std::byte{0x1f}, std::byte{0x8b}};
  constexpr std::array zstandard{std::byte{0x28}, std::byte{0xb5}, std::byte{0x2f}, std::byte{0xfd}};
  // A frame of something else, as pzstd writes first: 0x50 to 0x5f, and this.
  constexpr std::array skipped{std::byte{0x2a}, std::byte{0x4d}, std::byte{0x18}};
  if (begins_with(beginning, gzip)) return packing::gzip;
  const bool is_skipped = !beginning.empty() && (beginning[0] & std::byte{0xf0}) == std::byte{0x50} &&
                          begins_with(beginning.subspan(1), skipped);
  return is_skipped || begins_with(beginning, zstandard) ? packing::zstandard : packing::none;
}

}  // namespace ipq::capture
