// SPDX-License-Identifier: MIT
// What is told to whoever started the command.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <utility>

namespace tool {

/// Prints to standard error. That nobody can read it there, as on a full disk, changes nothing.
template <class... T>
void say(fmt::format_string<T...> text, T&&... values) {
  const std::string made = fmt::format(text, std::forward<T>(values)...);
  static_cast<void>(std::fwrite(made.data(), 1, made.size(), stderr));
}

}  // namespace tool
