// SPDX-License-Identifier: MIT
// In the place of unpacker.cpp, for libipq: a library of 2001 must not depend on zlib and libzstd.
#include <cerrno>
#include <cstddef>

#include "capture/input.hpp"
#include "capture/packing.hpp"

namespace ipq::capture {

result<std::unique_ptr<unpacker>> find_unpacker(std::span<const std::byte> beginning) {
  if (find_packing(beginning) == packing::none) return nullptr;
  auto refused = failed("read capture", EOPNOTSUPP);
  refused.error().advice = "it is packed: unpack it into a file or a pipe, with zcat or zstdcat";
  return refused;
}

}  // namespace ipq::capture
