// SPDX-License-Identifier: MIT
// How a demo is told: headings, commands as one types them, and what they say.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace tool {

class story {
 public:
  explicit story(bool colours)
      : bold_(colours ? "\x1b[1m" : ""), dim_(colours ? "\x1b[2m" : ""), plain_(colours ? "\x1b[0m" : "") {}

  void heading(std::string_view text) const { fmt::print("\n{}{}{}\n", bold_, text, plain_); }
  void shown(std::string_view text) const { fmt::print("  {}${} {}\n", dim_, plain_, text); }
  void indented(std::string_view text) const {
    while (!text.empty()) {
      const std::size_t end = text.find('\n');
      fmt::print("    {}\n", text.substr(0, end));
      text = end == std::string_view::npos ? "" : text.substr(end + 1);
    }
  }

  /// The command as one types it, each of the last `own_lines` words, and --select, on a line of its own.
  void command(const std::vector<std::string>& words, std::size_t own_lines, std::string_view behind = "") const {
    std::string line = "ipq";
    for (std::size_t i = 0; i < words.size(); ++i) {
      const bool own_line = words[i] == "--select" || i + own_lines >= words.size();
      line += (own_line ? " \\\n        " : " ") + quoted(words[i]);
    }
    shown(line + std::string(behind));
    std::fflush(stdout);
  }

 private:
  static std::string quoted(const std::string& word) {
    return word.find_first_of(" \"\\[]:") == std::string::npos ? word : "'" + word + "'";
  }

  const char *bold_, *dim_, *plain_;
};

}  // namespace tool
