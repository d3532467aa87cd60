// SPDX-License-Identifier: MIT
// Bytes are compared as bytes: no locale has a say in what a letter is.
#include "scanner.hpp"

#include <fmt/format.h>

#include <charconv>
#include <limits>

namespace ipq::tool::rules {
namespace {

constexpr std::string_view space = " \t\r\v\f";
constexpr std::string_view digits = "0123456789";
constexpr std::string_view hex_digits = "0123456789abcdefABCDEF";
constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
constexpr std::string_view name_characters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

bool is_one_of(std::string_view set, char c) noexcept {
  return set.find(c) != std::string_view::npos;
}

int hex_value(char c) noexcept {
  const auto at = hex_digits.find(c);
  return at == std::string_view::npos ? -1 : static_cast<int>(at < 16 ? at : at - 6);
}

}  // namespace

void scanner::skip_space() noexcept {
  while (at_ < line_.size() && is_one_of(space, line_[at_])) ++at_;
}

bool scanner::at_end() noexcept {
  skip_space();
  return at_ == line_.size() || line_[at_] == '#';
}

bool scanner::take(char what) noexcept {
  skip_space();
  if (peek() != what || at_ == line_.size()) return false;
  ++at_;
  return true;
}

bool scanner::take_word(std::string_view what) noexcept {
  skip_space();
  const auto begin = at_;
  if (name() == what) return true;
  at_ = begin;
  return false;
}

std::string_view scanner::rest() noexcept {
  skip_space();
  const auto begin = at_;
  auto end = begin;
  for (bool quoted = false; at_ < line_.size() && (quoted || line_[at_] != '#'); ++at_) {
    if (quoted && line_[at_] == '\\' && at_ + 1 < line_.size())
      ++at_;
    else if (line_[at_] == '"')
      quoted = !quoted;
    if (!is_one_of(space, line_[at_])) end = at_ + 1;
  }
  return line_.substr(begin, end - begin);
}

std::string_view scanner::name() noexcept {
  skip_space();
  const auto begin = at_;
  while (at_ < line_.size() && is_one_of(name_characters, line_[at_])) ++at_;
  return line_.substr(begin, at_ - begin);
}

std::string_view scanner::word() noexcept {
  skip_space();
  const auto begin = at_;
  while (at_ < line_.size() && !is_one_of(space, line_[at_]) && !is_one_of(",:/#]\"", line_[at_])) ++at_;
  return line_.substr(begin, at_ - begin);
}

std::string_view scanner::address() noexcept {
  skip_space();
  const auto begin = at_;
  while (at_ < line_.size() && (is_one_of(hex_digits, line_[at_]) || line_[at_] == '.' || line_[at_] == ':')) ++at_;
  return line_.substr(begin, at_ - begin);
}

std::string scanner::string() {
  skip_space();
  const auto begin = column();
  if (peek() != '"') fail_expecting("a string in double quotes");
  ++at_;
  std::string text;
  while (at_ < line_.size()) {
    const char c = line_[at_++];
    if (c == '"') return text;
    if (c != '\\') {
      text += c;
      continue;
    }
    const auto escape = column() - 1;
    const char kind = peek();
    if (at_ < line_.size()) ++at_;
    switch (kind) {
      case '\\':
      case '"':
        text += kind;
        break;
      case 'n':
        text += '\n';
        break;
      case 'r':
        text += '\r';
        break;
      case 't':
        text += '\t';
        break;
      case 'x': {
        const int high = hex_value(peek());
        const int low = at_ + 1 < line_.size() ? hex_value(line_[at_ + 1]) : -1;
        if (high < 0 || low < 0) fail(escape, "expected two hexadecimal digits behind \\x, as in \\x0a");
        text += static_cast<char>(high * 16 + low);
        at_ += 2;
        break;
      }
      default:
        fail(escape, "expected one of the escapes \\\\ \\\" \\n \\r \\t \\xNN");
    }
  }
  fail(begin, "this string is not closed: expected a '\"' before the end of the line");
}

std::string scanner::file_name() {
  skip_space();
  const auto begin = column();
  std::string made;
  if (peek() == '"') {
    made = string();
  } else {
    while (at_ < line_.size() && !is_one_of(space, line_[at_]) && !is_one_of(",#\"", line_[at_])) {
      const bool separates = line_[at_] == ':' && (at_ + 1 == line_.size() || is_one_of(space, line_[at_ + 1]));
      if (separates) break;
      made += line_[at_++];
    }
  }
  if (made.empty()) fail_expecting("the name of a file");
  if (made.find('\0') != std::string::npos) fail(begin, "the name of a file can't hold a NUL byte");
  return made;
}

std::uint32_t scanner::number(std::uint32_t most) {
  skip_space();
  const auto begin = at_;
  const std::string_view all = word();
  const bool hex = all.starts_with("0x") || all.starts_with("0X");
  const std::string_view text = hex ? all.substr(2) : all;
  std::uint32_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
  if (text.empty() || status != std::errc() || end != text.data() + text.size() || value > most) {
    at_ = begin;
    fail_expecting(
        fmt::format("a number of 0 to {}{}", most, hex || most > 0xffff ? fmt::format(" (0x{:x})", most) : ""));
  }
  return value;
}

std::pair<std::uint32_t, std::uint32_t> scanner::masked_number() {
  const std::uint32_t value = number(0xffffffff);
  return {value, peek() == '/' && take('/') ? number(0xffffffff) : 0xffffffff};
}

decimal scanner::decimal_number(const char* expected) {
  skip_space();
  const auto begin = at_;
  decimal made{0, 0};
  bool any = false, point = false;
  for (; at_ < line_.size(); ++at_) {
    const char c = line_[at_];
    if (c == '.' && any && !point) {
      point = true;
      any = false;
      continue;
    }
    if (!is_one_of(digits, c)) break;
    any = true;
    if (point && made.decimals == 9) fail(begin + 1, "at most 9 digits may stand behind the point");
    if (made.digits > 1'000'000'000'000'000) fail(begin + 1, "the number is too large");
    made.digits = made.digits * 10 + static_cast<unsigned>(c - '0');
    if (point) ++made.decimals;
  }
  if (!any) {
    at_ = begin;
    fail_expecting(expected);
  }
  return made;
}

std::string_view scanner::unit() noexcept {
  skip_space();
  const auto begin = at_;
  while (at_ < line_.size() && (is_one_of(letters, line_[at_]) || line_[at_] == '/')) ++at_;
  return line_.substr(begin, at_ - begin);
}

void scanner::fail_expecting(std::string_view what) {
  if (at_end()) fail(column(), fmt::format("expected {}", what));
  const auto begin = at_;
  std::string_view found = word();
  if (found.empty()) found = line_.substr(begin, 1);
  const bool is_long = found.size() > 40;
  fail(begin + 1, fmt::format("expected {}, not '{}{}'", what, found.substr(0, 40), is_long ? "..." : ""));
}

}  // namespace ipq::tool::rules
