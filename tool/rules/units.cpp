// SPDX-License-Identifier: MIT
// Each unit is one line of a table; what is not in it is a fault that says what is.
#include "units.hpp"

#include <fmt/format.h>

#include <limits>
#include <span>
#include <string_view>

namespace ipq::tool::rules {
namespace {

using wide = unsigned __int128;

wide power_of_ten(unsigned exponent) noexcept {
  wide made = 1;
  while (exponent-- > 0) made *= 10;
  return made;
}

// The number times `factor`, rounded down; the largest value if that is too much.
std::uint64_t scaled(const decimal& number, std::uint64_t factor) noexcept {
  const wide made = wide{number.digits} * factor / power_of_ten(number.decimals);
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  return made > most ? most : static_cast<std::uint64_t>(made);
}

struct unit {
  std::string_view name;
  std::uint64_t factor;
};

// The factor of the unit that stands here. `column` is where the number begins.
const unit& read_unit(scanner& from, std::span<const unit> known, const char* expected) {
  from.skip_space();
  const auto column = from.column();
  const std::string_view found = from.unit();
  for (const unit& each : known) {
    if (each.name == found) return each;
  }
  from.fail(column, found.empty() ? fmt::format("expected {}", expected)
                                  : fmt::format("expected {}, not '{}'", expected, found.substr(0, 40)));
}

}  // namespace

std::chrono::nanoseconds read_time(scanner& from) {
  static constexpr unit known[] = {{"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}, {"min", 60'000'000'000}};
  constexpr std::uint64_t hour = 3'600'000'000'000;
  from.skip_space();
  const auto column = from.column();
  const decimal number = from.decimal_number("a time, as 50ms or 1.5s");
  const std::uint64_t made = scaled(number, read_unit(from, known, "a unit of time: us, ms, s or min").factor);
  if (made > hour) from.fail(column, "a time may be at most 60min");
  return std::chrono::nanoseconds(made);
}

chance read_chance(scanner& from) {
  from.skip_space();
  const auto column = from.column();
  const decimal number = from.decimal_number("a percentage, as 10% or 0.5%");
  if (!from.take('%')) from.fail(from.column(), "expected '%' behind the percentage");
  if (number.decimals > 6) from.fail(column, "a percentage may have at most 6 decimals");
  const std::uint64_t share = scaled(number, chance::always / 100);
  if (share > chance::always) from.fail(column, "a percentage may be at most 100%");
  return {static_cast<std::uint32_t>(share)};
}

rate read_rate(scanner& from) {
  static constexpr unit known[] = {
      {"/s", 1'000}, {"bit/s", 1'000}, {"kbit/s", 1'000'000}, {"Mbit/s", 1'000'000'000}, {"Gbit/s", 1'000'000'000'000}};
  from.skip_space();
  const auto column = from.column();
  const decimal number = from.decimal_number("a rate, as 100/s or 1.5 Mbit/s");
  const unit& of = read_unit(from, known, "a unit of rate: /s, bit/s, kbit/s, Mbit/s or Gbit/s");
  const rate made{scaled(number, of.factor), of.name != "/s"};
  if (made.in_1000_seconds == 0) from.fail(column, "a rate must be above 0");
  if (made.in_1000_seconds > 1'000'000'000'000'000) from.fail(column, "a rate may be at most 1000 Gbit/s");
  return made;
}

}  // namespace ipq::tool::rules
