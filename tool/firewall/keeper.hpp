// SPDX-License-Identifier: MIT
// A process that waits for the end of another one and then tidies up.
#pragma once

#include <sys/types.h>

#include <functional>
#include <utility>

#include "failure.hpp"

namespace tool::firewall {

/// Started while there is something to tidy up. It ignores signals but SIGKILL, has no terminal, and no descriptor of
/// its parent.
class keeper {
 public:
  /// Forks. The child calls `tidy_up` once this object, or its process, is gone; it returns whether that went well.
  [[nodiscard]] static outcome<keeper> start(const std::function<bool()>& tidy_up);
  keeper(keeper&& other) noexcept : pid_(std::exchange(other.pid_, -1)), pipe_(std::exchange(other.pipe_, -1)) {}
  keeper& operator=(keeper&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(pipe_, other.pipe_);
    return *this;
  }
  /// As finish().
  ~keeper();

  /// Lets it tidy up now and waits for that. False: it did not go well.
  bool finish() noexcept;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

 private:
  keeper(pid_t pid, int pipe) noexcept : pid_(pid), pipe_(pipe) {}
  pid_t pid_ = -1;
  int pipe_ = -1;
};

}  // namespace tool::firewall
