// SPDX-License-Identifier: MIT
// Quantities with their units, read strictly and kept as integers, so that they are the same on every machine.
#pragma once

#include <chrono>
#include <cstdint>

#include "scanner.hpp"

namespace ipq::tool::rules {

/// A probability, in hundred millionths: 100% is 100'000'000.
struct chance {
  static constexpr std::uint32_t always = 100'000'000;
  std::uint32_t share = 0;
};

/// Packets, or bits, in 1000 seconds.
struct rate {
  std::uint64_t in_1000_seconds = 1;
  bool bits = false;
};

/// `50ms`, `1.5 s`: us, ms, s or min; at most an hour.
[[nodiscard]] std::chrono::nanoseconds read_time(scanner& from);
/// `10%`, `0.5%`: at most 100, with up to 6 decimals.
[[nodiscard]] chance read_chance(scanner& from);
/// `100/s`, `1.5 Mbit/s`: /s, bit/s, kbit/s, Mbit/s or Gbit/s; at least one in 1000 seconds, at most 10^12 in a second.
[[nodiscard]] rate read_rate(scanner& from);

}  // namespace ipq::tool::rules
