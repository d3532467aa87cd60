// SPDX-License-Identifier: MIT
// Standard output as the live commands use it: whole lines, written together, by any thread.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdio>
#include <mutex>

namespace tool {

/// Writes lines to a descriptor. An error ends the writing: the reader of a pipe is gone, the disk is full.
class output {
 public:
  explicit output(int fd) noexcept : fd_(fd) {}

  /// Writes all of `lines` and empties it. False: it could not, see error().
  bool write(fmt::memory_buffer& lines) noexcept;

  /// The errno of the first write that failed; 0: none did.
  [[nodiscard]] int error() const noexcept { return error_; }

 private:
  int fd_;
  std::mutex one_at_a_time_;
  std::atomic<int> error_ = 0;
};

}  // namespace tool
