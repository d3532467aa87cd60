// SPDX-License-Identifier: MIT
// Numbers, times and sizes on the command line, read strictly: nothing before or behind, nothing out of range.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace tool {

/// A value, or what is wrong with the text: "'5x' is no time: expected a number and us, ms, s, min or h, as 10s".
template <class T>
using parsed = std::expected<T, std::string>;

/// A decimal number from `least` to `most`.
[[nodiscard]] parsed<std::uint64_t> parse_number(std::string_view text, std::uint64_t least, std::uint64_t most);

/// "250us", "1.5s", "10min", "2h": above 0, at most 1000 hours.
[[nodiscard]] parsed<std::chrono::nanoseconds> parse_duration(std::string_view text);

/// Bytes: "65536", "64k", "16M", "1G" (powers of 1024), from `least` to `most`.
[[nodiscard]] parsed<std::uint64_t> parse_size(std::string_view text, std::uint64_t least, std::uint64_t most);

}  // namespace tool
