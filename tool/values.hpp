// SPDX-License-Identifier: MIT
// Values of options, read strictly: nothing before or behind, nothing out of range.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "ipq/verdict.hpp"

namespace tool {

/// A value, or what is wrong with the text: "'5x' is no time: expected a number and us, ms, s, min or h, as 10s".
template <class T>
using parsed = std::expected<T, std::string>;

/// A decimal number from `least` to `most`.
[[nodiscard]] parsed<std::uint64_t> parse_number(std::string_view text, std::uint64_t least, std::uint64_t most);
/// The same for an option.
[[nodiscard]] inline auto number_between(std::uint64_t least, std::uint64_t most) {
  return [=](std::string_view text) { return parse_number(text, least, most); };
}

/// Reads decimal fractions too, as "0.5".
[[nodiscard]] parsed<double> parse_decimal(std::string_view text, double least, double most);
[[nodiscard]] inline auto decimal_between(double least, double most) {
  return [=](std::string_view text) { return parse_decimal(text, least, most); };
}

/// "250us", "1.5s", "10min", "2h": above 0, at most 1000 hours.
[[nodiscard]] parsed<std::chrono::nanoseconds> parse_duration(std::string_view text);

/// Bytes: "65536", "64k", "16M", "1G" (powers of 1024), from `least` to `most`.
[[nodiscard]] parsed<std::uint64_t> parse_size(std::string_view text, std::uint64_t least, std::uint64_t most);

/// "accept" or "drop".
[[nodiscard]] parsed<ipq::verdict> parse_verdict(std::string_view text);

}  // namespace tool
