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

}  // namespace tool
