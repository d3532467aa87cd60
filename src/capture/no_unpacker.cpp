// SPDX-License-Identifier: MIT
// In the place of unpacker.cpp, for libipq: a library of 2001 must not depend on zlib and libzstd.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

#include "capture/input.hpp"

namespace ipq::capture {

result<std::unique_ptr<unpacker>> find_unpacker(std::span<const std::byte> beginning) {
  constexpr std::array gzip{std::byte{0x1f}, std::byte{0x8b}};
  constexpr std::array zstandard{std::byte{0x28}, std::byte{0xb5}, std::byte{0x2f}, std::byte{0xfd}};
  const auto begins_with = [&](const auto& magic) {
    return beginning.size() >= magic.size() && std::ranges::equal(beginning.first(magic.size()), magic);
  };
  // A frame that is skipped, as pzstd writes first: 0x50 to 0x5f, and this.
  constexpr std::array skipped{std::byte{0x2a}, std::byte{0x4d}, std::byte{0x18}};
  const bool is_skipped = beginning.size() > skipped.size() && (beginning[0] & std::byte{0xf0}) == std::byte{0x50} &&
                          std::ranges::equal(beginning.subspan(1, skipped.size()), skipped);
  if (!is_skipped && !begins_with(gzip) && !begins_with(zstandard)) return nullptr;
  auto refused = failed("read capture", EOPNOTSUPP);
  refused.error().advice = "it is packed: unpack it into a file or a pipe, with zcat or zstdcat";
  return refused;
}

}  // namespace ipq::capture
