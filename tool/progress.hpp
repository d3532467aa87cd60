// SPDX-License-Identifier: MIT
// How far a file is read, on standard error, where that is a terminal.
#pragma once

#include <chrono>
#include <cstdint>

#include "ipq/capture.hpp"

namespace tool {

class progress {
 public:
  /// `quiet`: nothing is shown, terminal or not.
  explicit progress(bool quiet);
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;
  ~progress() { clear(); }

  /// To be called with every batch; shows something every tenth of a second.
  void update(const ipq::capture_reader& from);
  /// Takes it off the terminal.
  void clear();

 private:
  bool shown_ = false;
  bool quiet_;
  std::chrono::steady_clock::time_point next_;
};

}  // namespace tool
