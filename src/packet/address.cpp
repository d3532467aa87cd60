// SPDX-License-Identifier: MIT
// Addresses from text and as text.
#include "ipq/address.hpp"

#include <algorithm>
#include <charconv>

namespace ipq {
namespace {

// A hexadecimal group of one to four digits at the beginning of the text, which is shortened by it.
std::optional<std::uint16_t> take_group(std::string_view& text) noexcept {
  std::uint16_t value = 0;
  const auto most = text.substr(0, 4);
  const auto [end, failure] = std::from_chars(most.data(), most.data() + most.size(), value, 16);
  if (failure != std::errc() || end == most.data()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - most.data()));
  return value;
}

bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

}  // namespace

std::optional<ipv4_address> ipv4_address::parse(std::string_view text) noexcept {
  ipv4_address address;
  for (std::size_t i = 0; i < 4; i++) {
    if (i > 0) {
      if (text.empty() || text[0] != '.') return std::nullopt;
      text.remove_prefix(1);
    }
    std::size_t digits = 0;
    unsigned value = 0;
    while (digits < text.size() && digits < 4 && is_digit(text[digits]))
      value = value * 10 + static_cast<unsigned>(text[digits++] - '0');
    if (digits == 0 || value > 255 || (digits > 1 && text[0] == '0')) return std::nullopt;
    address.bytes[i] = static_cast<std::uint8_t>(value);
    text.remove_prefix(digits);
  }
  if (!text.empty()) return std::nullopt;
  return address;
}

std::string ipv4_address::to_string() const {
  std::string text;
  for (const auto byte : bytes) {
    if (!text.empty()) text += '.';
    text += std::to_string(byte);
  }
  return text;
}

std::optional<ipv6_address> ipv6_address::parse(std::string_view text) noexcept {
  ipv6_address address;
  std::size_t filled = 0;
  std::optional<std::size_t> gap;  // where "::" stands
  if (text.starts_with("::")) {
    gap = 0;
    text.remove_prefix(2);
  }
  while (!text.empty()) {
    if (filled == 16) return std::nullopt;
    const auto group_end = std::min(text.find(':'), text.size());
    if (text.substr(0, group_end).find('.') != std::string_view::npos) {
      const auto tail = ipv4_address::parse(text);
      if (!tail || filled > 12) return std::nullopt;
      std::copy(tail->bytes.begin(), tail->bytes.end(), address.bytes.begin() + static_cast<std::ptrdiff_t>(filled));
      filled += 4;
      text = {};
      break;
    }
    const auto group = take_group(text);
    if (!group) return std::nullopt;
    address.bytes[filled++] = static_cast<std::uint8_t>(*group >> 8);
    address.bytes[filled++] = static_cast<std::uint8_t>(*group & 255);
    if (text.empty()) break;
    if (text[0] != ':') return std::nullopt;
    text.remove_prefix(1);
    if (text.starts_with(':')) {
      if (gap) return std::nullopt;
      gap = filled;
      text.remove_prefix(1);
    } else if (text.empty()) {
      return std::nullopt;
    }
  }
  if (!gap) return filled == 16 ? std::optional(address) : std::nullopt;
  if (filled == 16) return std::nullopt;
  const auto from = address.bytes.begin() + static_cast<std::ptrdiff_t>(*gap);
  const auto to = address.bytes.begin() + static_cast<std::ptrdiff_t>(filled);
  std::fill(std::move_backward(from, to, address.bytes.end()) - (16 - static_cast<std::ptrdiff_t>(filled)),
            address.bytes.end() - (to - from), std::uint8_t{0});
  return address;
}

std::string ipv6_address::to_string() const {
  std::array<unsigned, 8> groups;
  for (std::size_t i = 0; i < 8; i++) groups[i] = bytes[2 * i] * 256u + bytes[2 * i + 1];

  const bool mapped =
      std::all_of(groups.begin(), groups.begin() + 5, [](unsigned g) { return g == 0; }) && groups[5] == 0xffff;
  if (mapped) return "::ffff:" + ipv4_address{{bytes[12], bytes[13], bytes[14], bytes[15]}}.to_string();

  // The longest run of zeros, the first of equals, of at least two.
  std::size_t run_at = 8, run_size = 1;
  for (std::size_t i = 0; i < 8;) {
    std::size_t end = i;
    while (end < 8 && groups[end] == 0) end++;
    if (end - i > run_size) {
      run_at = i;
      run_size = end - i;
    }
    i = std::max(end, i + 1);
  }
  std::string text;
  for (std::size_t i = 0; i < 8;) {
    if (i == run_at) {
      text += "::";
      i += run_size;
      continue;
    }
    if (!text.empty() && text.back() != ':') text += ':';
    char digits[4];
    const auto end = std::to_chars(digits, digits + 4, groups[i], 16).ptr;
    text.append(digits, end);
    i++;
  }
  return text;
}

}  // namespace ipq
