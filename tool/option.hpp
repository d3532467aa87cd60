// SPDX-License-Identifier: MIT
// Options whose text a function reads, with what it says is wrong as the command line's complaint.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <utility>

namespace tool {

/// Adds an option whose text a function reads: it returns a parsed value, whose error becomes the command line's.
template <class Value, class Read>
CLI::Option* add_option(CLI::App& to, const std::string& name, Value& value, Read read, const std::string& help) {
  return to.add_option_function<std::string>(
      name,
      [&value, read, name](const std::string& text) {
        auto made = read(text);
        if (!made) throw CLI::ValidationError(name.substr(name.find(',') + 1), made.error());
        value = static_cast<Value>(*std::move(made));
      },
      help);
}

}  // namespace tool
