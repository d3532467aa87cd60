// SPDX-License-Identifier: MIT
// Where rules are written: a file, an argument of the command, a text.
#pragma once

#include <cstddef>
#include <expected>
#include <filesystem>
#include <string>

#include "diagnostic.hpp"

namespace ipq::tool::rules {

/// A text with rules, and how diagnostics call it.
struct source {
  std::string name;                   ///< "rules.ipq", "argument 1"
  std::string text;                   ///< any bytes
  std::filesystem::path folder = {};  ///< what a relative @FILE starts from; empty: the current one
};

/// Reads a rule file, whose folder becomes the source's. Only regular files, and at most 64 MiB: the diagnostic says
/// why it can't be read.
[[nodiscard]] std::expected<source, diagnostic> read_source(const std::filesystem::path& file);

}  // namespace ipq::tool::rules
