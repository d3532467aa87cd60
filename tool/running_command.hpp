// SPDX-License-Identifier: MIT
// This program once more, as another command, with its output in our hands. It ends with us.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace tool {

/// Whether something can be read before that time.
[[nodiscard]] bool wait_readable(int fd, std::chrono::steady_clock::time_point until);

class running_command {
 public:
  /// `input`: its standard input; -1: ours. Throws std::runtime_error.
  explicit running_command(const std::vector<std::string>& words, int input = -1);
  running_command(const running_command&) = delete;
  running_command& operator=(const running_command&) = delete;
  ~running_command();

  /// Whether it says this before it ends, or 5 seconds have passed.
  bool says(std::string_view text);
  /// Ends it as Ctrl-C does; its exit status.
  int end();
  /// Until it ends by itself; its exit status.
  int wait();
  [[nodiscard]] const std::string& output() const { return text_; }

 private:
  bool read_more();

  pid_t pid_ = -1;
  int output_ = -1;
  std::string text_;
};

}  // namespace tool
