// SPDX-License-Identifier: MIT
// Time in the processor's own units, for a question that is asked of every packet: was that only just now?
#pragma once

#include <chrono>
#include <cstdint>

namespace ipq::netlink {

/// A nanosecond or less each: no counter of today runs slower than 1 GHz, and where none is known these are
/// nanoseconds. Processors need not agree; a difference that makes no sense is a large one. An exact clock costs four
/// times as much.
inline std::uint64_t count_cycles() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_ia32_rdtsc();
#else
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

}  // namespace ipq::netlink
