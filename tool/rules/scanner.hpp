// SPDX-License-Identifier: MIT
// Reads a line from left to right: words, numbers with units, strings. What it can't read it throws as a fault.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "fault.hpp"

namespace ipq::tool::rules {

/// A number without a sign and exact: `digits` * 10^-`decimals`.
struct decimal {
  std::uint64_t digits;
  unsigned decimals;
};

class scanner {
 public:
  explicit scanner(std::string_view line) noexcept : line_(line) {}

  [[nodiscard]] std::size_t column() const noexcept { return at_ + 1; }
  [[nodiscard]] std::string_view line() const noexcept { return line_; }

  void move_to(std::size_t column) noexcept { at_ = column - 1; }
  void skip_space() noexcept;
  /// After white space: whether nothing but a comment is left.
  [[nodiscard]] bool at_end() noexcept;
  /// The next character, NUL at the end of the line.
  [[nodiscard]] char peek() const noexcept { return at_ < line_.size() ? line_[at_] : '\0'; }
  /// After white space: passes over `what`, if it is there.
  bool take(char what) noexcept;
  /// The same with a whole word.
  bool take_word(std::string_view what) noexcept;
  /// From here to the end of the line or a comment, without white space around it; the scanner is at the end then.
  [[nodiscard]] std::string_view rest() noexcept;

  /// The name of an action or an option: letters, digits, '_' and '-'. Empty if there is none.
  [[nodiscard]] std::string_view name() noexcept;
  /// Up to white space, ',', ':', '/', '#', ']' or '"'. Empty if there is none.
  [[nodiscard]] std::string_view word() noexcept;
  /// Hexadecimal digits, '.' and ':': an address of either family.
  [[nodiscard]] std::string_view address() noexcept;
  /// "text" with the escapes \\ \" \n \r \t \xNN. May hold any byte.
  [[nodiscard]] std::string string();
  /// A string, or a word of which ':' ends nothing unless white space follows.
  [[nodiscard]] std::string file_name();

  /// Decimal, or hexadecimal behind 0x; at most `most`.
  [[nodiscard]] std::uint32_t number(std::uint32_t most);
  /// `0x1/0xff`: a number and a mask, all ones if none is given.
  [[nodiscard]] std::pair<std::uint32_t, std::uint32_t> masked_number();
  [[nodiscard]] decimal decimal_number(const char* expected);
  /// Letters and '/', behind white space or not.
  [[nodiscard]] std::string_view unit() noexcept;

  [[noreturn]] void fail(std::size_t column, std::string message) const { throw fault{column, std::move(message)}; }
  /// "expected X, not 'what is here'", or "expected X" at the end of the line.
  [[noreturn]] void fail_expecting(std::string_view what);

 private:
  std::string_view line_;
  std::size_t at_ = 0;
};

}  // namespace ipq::tool::rules
