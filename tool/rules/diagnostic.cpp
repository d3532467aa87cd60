// SPDX-License-Identifier: MIT
// Shows a fault with its line: what a hostile text holds does not reach the terminal.
#include "diagnostic.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace ipq::tool::rules {
namespace {

constexpr std::size_t most_before = 60;  // columns shown before the caret, and behind it
constexpr std::size_t most_behind = 40;

// The bytes of the character at the front: 1 for what is not UTF-8.
std::size_t character_size(std::string_view text) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const std::size_t size = byte(0) < 0xc2 ? 1 : byte(0) < 0xe0 ? 2 : byte(0) < 0xf0 ? 3 : byte(0) < 0xf5 ? 4 : 1;
  if (size > text.size()) return 1;
  for (std::size_t at = 1; at < size; ++at) {
    if ((byte(at) & 0xc0) != 0x80) return 1;
  }
  // Surrogates, overlong forms and what lies beyond Unicode.
  if (size == 3 && ((byte(0) == 0xe0 && byte(1) < 0xa0) || (byte(0) == 0xed && byte(1) > 0x9f))) return 1;
  if (size == 4 && ((byte(0) == 0xf0 && byte(1) < 0x90) || (byte(0) == 0xf4 && byte(1) > 0x8f))) return 1;
  return size;
}

bool is_printable(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return first >= 0x20 && first < 0x7f;
  // C1 control characters, and those that turn the direction of writing.
  if (first == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0) return false;
  return !(character >= "\u200b" && character <= "\u200f") && !(character >= "\u2028" && character <= "\u202e") &&
         !(character >= "\u2066" && character <= "\u2069");
}

struct shown {
  std::string text;
  std::size_t columns = 0;
};

shown show(std::string_view text) {
  shown made;
  while (!text.empty()) {
    const std::string_view character = text.substr(0, character_size(text));
    if (is_printable(character)) {
      made.text += character;
    } else {
      made.text += character == "\t" ? ' ' : '?';
    }
    ++made.columns;
    text.remove_prefix(character.size());
  }
  return made;
}

// Moves a cut so that it does not split a character.
std::size_t to_boundary(std::string_view text, std::size_t at) {
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) ++at;
  return at;
}

}  // namespace

std::string diagnostic::render() const {
  std::string out = show(file).text;
  if (line != 0) out += fmt::format(":{}", line);
  if (line != 0 && column != 0) out += fmt::format(":{}", column);
  out += fmt::format(": {}\n", show(message).text);
  if (line == 0 || column == 0) return out;

  const std::string_view whole = text;
  const std::size_t caret = std::min(column - 1, whole.size());
  const std::size_t begin = caret > most_before ? std::min(to_boundary(whole, caret - most_before), caret) : 0;
  const std::size_t end = whole.size() - caret > most_behind ? to_boundary(whole, caret + most_behind) : whole.size();
  const shown before = show(whole.substr(begin, caret - begin));
  const shown behind = show(whole.substr(caret, end - caret));
  out += fmt::format("  {}{}{}{}\n", begin > 0 ? "..." : "", before.text, behind.text, end < whole.size() ? "..." : "");
  out += fmt::format("  {:{}}^\n", "", before.columns + (begin > 0 ? 3 : 0));
  return out;
}

std::string render(const std::vector<diagnostic>& faults) {
  std::string out;
  for (const diagnostic& fault : faults) out += fault.render();
  return out;
}

}  // namespace ipq::tool::rules
