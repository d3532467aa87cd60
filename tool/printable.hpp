// SPDX-License-Identifier: MIT
// Text that somebody else made up, made fit to be shown.
#pragma once

#include <string>
#include <string_view>

namespace tool {

/// The first bytes of it, with a "?" for what is not printable ASCII and might steer a terminal.
[[nodiscard]] inline std::string printable(std::string_view text, std::size_t most = std::string_view::npos) {
  std::string made(text.substr(0, most));
  for (char& each : made) {
    if (each < ' ' || each > '~') each = '?';
  }
  return made;
}

/// The same without a loss: other bytes become "\xe9", and a backslash two, so that different texts stay different.
[[nodiscard]] inline std::string escaped(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string made;
  for (const char each : text) {
    const auto byte = static_cast<unsigned char>(each);
    if (each == '\\') {
      made += "\\\\";
    } else if (each < ' ' || each > '~') {
      made += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    } else {
      made += each;
    }
  }
  return made;
}

}  // namespace tool
