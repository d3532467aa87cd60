// SPDX-License-Identifier: MIT
#include "values.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <span>

namespace tool {
namespace {

// Digits, all of them; nothing if there are none, others too, or too many.
std::expected<std::uint64_t, bool> read_digits(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error == std::errc::invalid_argument || end != text.data() + text.size()) {
    return std::unexpected(false);
  }
  if (error == std::errc::result_out_of_range) return std::unexpected(true);
  return value;
}

struct unit {
  std::string_view name;
  std::uint64_t factor;
};

// The longest unit that the text ends with, "" being one of them.
const unit* find_unit(std::string_view text, std::span<const unit> units) {
  const unit* best = nullptr;
  for (const unit& each : units)
    if (text.ends_with(each.name) && (best == nullptr || each.name.size() > best->name.size())) best = &each;
  return best;
}

}  // namespace

parsed<std::uint64_t> parse_number(std::string_view text, std::uint64_t least, std::uint64_t most) {
  const auto value = read_digits(text);
  if (!value && !value.error()) return std::unexpected(fmt::format("'{}' is no number", text));
  if (!value || *value < least || *value > most) {
    return std::unexpected(fmt::format("{} is out of range: expected {} to {}", text, least, most));
  }
  return *value;
}

parsed<double> parse_decimal(std::string_view text, double least, double most) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  const bool is_all = !text.empty() && end == text.data() + text.size() && error != std::errc::invalid_argument;
  if (!is_all || std::isnan(value)) return std::unexpected(fmt::format("'{}' is no number", text));
  if (error != std::errc() || value < least || value > most) {
    return std::unexpected(fmt::format("{} is out of range: expected {} to {}", text, least, most));
  }
  return value;
}

parsed<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  static constexpr unit units[] = {
      {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}, {"min", 60'000'000'000}, {"h", 3'600'000'000'000}};
  constexpr std::uint64_t most = 1000 * 3'600'000'000'000;
  const auto wrong = [&] {
    return std::unexpected(fmt::format("'{}' is no time: expected a number and us, ms, s, min or h, as 10s", text));
  };
  const unit* of = find_unit(text, units);
  if (of == nullptr) return wrong();
  const std::string_view number = text.substr(0, text.size() - of->name.size());
  const std::size_t point = number.find('.');
  const auto whole = read_digits(number.substr(0, point));
  if (!whole && !whole.error()) return wrong();
  if (!whole || *whole > most / of->factor)
    return std::unexpected(fmt::format("{} is out of range: at most 1000h", text));
  std::uint64_t nanoseconds = *whole * of->factor;
  if (point != std::string_view::npos) {
    const std::string_view decimals = number.substr(point + 1);
    if (decimals.size() > 6) return std::unexpected(fmt::format("{}: at most 6 decimals", text));
    const auto part = read_digits(decimals);
    if (!part) return wrong();
    std::uint64_t scale = 1;
    for (std::size_t i = 0; i < decimals.size(); ++i) scale *= 10;
    nanoseconds += *part * (of->factor / 1000) * 1000 / scale;
  }
  if (nanoseconds == 0 || nanoseconds > most) {
    return std::unexpected(fmt::format("{} is out of range: expected more than 0 and at most 1000h", text));
  }
  return std::chrono::nanoseconds(nanoseconds);
}

parsed<std::uint64_t> parse_size(std::string_view text, std::uint64_t least, std::uint64_t most) {
  static constexpr unit units[] = {{"", 1}, {"k", 1u << 10}, {"M", 1u << 20}, {"G", 1u << 30}};
  const unit& of = *find_unit(text, units);
  const auto value = read_digits(text.substr(0, text.size() - of.name.size()));
  if (!value && !value.error()) {
    return std::unexpected(fmt::format("'{}' is no size: expected bytes, with k, M or G, as 64k", text));
  }
  if (!value || *value > most / of.factor || *value * of.factor < least) {
    return std::unexpected(fmt::format("{} is out of range: expected {} to {} bytes", text, least, most));
  }
  return *value * of.factor;
}

parsed<ipq::verdict> parse_verdict(std::string_view text) {
  if (text == "accept") return ipq::verdict::accept();
  if (text == "drop") return ipq::verdict::drop();
  return std::unexpected(fmt::format("'{}': expected accept or drop", text));
}

}  // namespace tool
