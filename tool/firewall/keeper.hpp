// SPDX-License-Identifier: MIT
// A process that waits for the end of another one and then tidies up.
#pragma once

#include <sys/types.h>

#include <functional>
#include <utility>

#include "failure.hpp"

namespace tool::firewall {

/// Started while there is something to tidy up. It ignores signals but SIGKILL, has no terminal, no descriptor of
/// its parent, no new privileges, and no capability but CAP_NET_ADMIN and CAP_NET_RAW.
class keeper {
 public:
  /// Forks. The child calls `tidy_up` once this object, or its process, is gone, and again after a pause, for an hour
  /// or more, until it returns true: it went well.
  [[nodiscard]] static outcome<keeper> start(const std::function<bool()>& tidy_up);
  keeper(keeper&& other) noexcept : pid_(std::exchange(other.pid_, -1)), line_(std::exchange(other.line_, -1)) {}
  keeper& operator=(keeper&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(line_, other.line_);
    return *this;
  }
  /// As finish().
  ~keeper();

  /// What came of it: all is tidy; the first try went wrong, and it goes on trying; it was not there any more.
  enum class end { tidy, goes_on, lost };
  /// Lets it tidy up now and waits for its first try.
  end finish() noexcept;

  /// Its end of what the keeper waits on, closed on exec. Readable once the keeper is gone before its time. A program
  /// that inherits it is waited for, too, once this process is gone: what a program is about to make can't be tidied up
  /// before that program has ended.
  [[nodiscard]] int line() const noexcept { return line_; }

 private:
  keeper(pid_t pid, int line) noexcept : pid_(pid), line_(line) {}
  pid_t pid_ = -1;
  int line_ = -1;
};

}  // namespace tool::firewall
