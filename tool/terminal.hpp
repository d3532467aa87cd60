// SPDX-License-Identifier: MIT
// A terminal that a live view has for itself, and gives back as it was however the view ends.
#pragma once

#include <chrono>
#include <string>

#include "failure.hpp"

namespace tool {

/// The one in use: its alternate screen, without cursor, keys read one by one and not shown. Given back by the
/// destructor, at exit(), and by every signal that ends the process and can be caught; while it is stopped by Ctrl-Z
/// the shell has its terminal.
class terminal {
 public:
  /// Failures: wrong_usage, standard output or input is no terminal.
  [[nodiscard]] static outcome<terminal> take(const char* command);
  terminal(terminal&& other) noexcept;
  terminal& operator=(terminal&&) = delete;
  ~terminal();

  struct size {
    int columns = 80, rows = 24;
  };
  [[nodiscard]] size measure() const noexcept;

  /// Shows a screen of lines, in place of the one before.
  void show(const std::string& lines) const;

  /// Waits for a key. 0: none came until then, or something else happened: a signal, another size. -1: there are no
  /// more keys, as the terminal is gone.
  [[nodiscard]] int wait_key(std::chrono::steady_clock::time_point deadline) const;

 private:
  terminal() = default;
  bool mine_ = true;
};

}  // namespace tool
