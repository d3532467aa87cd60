// SPDX-License-Identifier: MIT
// How the parsers of this room give up on a line: by an exception that only crosses functions of one parser, since each
// of their steps can fail, and one fault a line is enough.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "diagnostic.hpp"

namespace ipq::tool::rules {

struct fault {
  std::size_t column;  ///< from 1; 0: the line as a whole
  std::string message;
  bool forbidden = false;  ///< as in a diagnostic
};

/// Faults up to a number that somebody may still want to read.
class fault_list {
 public:
  void add(diagnostic what) {
    if (!full()) found_.push_back(std::move(what));
  }
  /// Nobody wants to read what comes behind it.
  void add_last(diagnostic what) {
    add(std::move(what));
    ended_ = true;
  }
  [[nodiscard]] bool full() const noexcept { return ended_ || found_.size() >= 20; }
  [[nodiscard]] bool empty() const noexcept { return found_.empty(); }
  [[nodiscard]] std::vector<diagnostic> take() && noexcept { return std::move(found_); }

 private:
  std::vector<diagnostic> found_;
  bool ended_ = false;
};

}  // namespace ipq::tool::rules
