// SPDX-License-Identifier: MIT
// Counts what the process, its libraries included, takes from the heap.
#pragma once

#include <cstdint>
#include <optional>

namespace bench {

// Calls that asked for memory so far, in any thread; nullopt in a build whose sanitizer owns malloc.
std::optional<std::uint64_t> allocations();

}  // namespace bench
