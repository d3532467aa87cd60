// SPDX-License-Identifier: MIT
// What is wrong with rules, and where: for the person who wrote them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace ipq::tool::rules {

/// One fault. Nothing of a text with faults is used.
struct diagnostic {
  std::string file = {};     ///< as the source was named
  std::size_t line = 0;      ///< from 1; 0: it is about the file as a whole
  std::size_t column = 0;    ///< in bytes, from 1; 0: it is about the line as a whole
  std::string message = {};  ///< what is wrong and what was expected; one line
  std::string text = {};     ///< the line itself, without its end; may be long, and hold any bytes
  bool forbidden = false;    ///< it is that a file may not be read

  /// "file:3:8: what is wrong", and, where there is a column, the line and a caret below it. Of a long line only what
  /// stands around the caret is shown, and what a terminal would not print is shown as '?'. Ends with a newline.
  [[nodiscard]] std::string render() const;
};

/// All of them, one behind the other.
[[nodiscard]] std::string render(const std::vector<diagnostic>& faults);

}  // namespace ipq::tool::rules
