// SPDX-License-Identifier: MIT
// What a command prints beside the files that it writes.
#pragma once

#include <stdio_ext.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string_view>

#include "failure.hpp"
#include "rules/file.hpp"

namespace tool {

/// That it can't be written, as its reader is gone or the disk is full, ends nothing by itself: what comes then is left
/// out, and finish() says so. One at a time, as signals belong to the process.
class printer {
 public:
  /// To standard output, or error, where what fails changes nothing.
  explicit printer(std::FILE* to) noexcept : to_(to) {
    for (const int each : {SIGPIPE, SIGXFSZ}) std::signal(each, SIG_IGN);
  }

  void print(std::string_view text) noexcept {
    if (error_ == 0 && std::fwrite(text.data(), 1, text.size(), to_) != text.size()) error_ = errno;
  }
  [[nodiscard]] bool has_failed() const noexcept { return error_ != 0 && to_ == stdout; }

  /// Failure: failed, what kept standard output from being written, now or before.
  [[nodiscard]] outcome<void> finish() {
    if (error_ == 0 && std::fflush(to_) != 0) error_ = errno;
    if (!has_failed()) return {};
    ::__fpurge(to_);  // it is told once
    return fail(failed, "write to standard output: " + ipq::tool::rules::file_reason(error_));
  }

 private:
  std::FILE* to_;
  int error_ = 0;
};

}  // namespace tool
