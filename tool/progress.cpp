// SPDX-License-Identifier: MIT
#include "progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "say.hpp"

namespace tool {

using namespace std::chrono_literals;

progress::progress(bool quiet)
    : quiet_(quiet || ::isatty(STDERR_FILENO) != 1), next_(std::chrono::steady_clock::now() + 200ms) {}

void progress::update(const ipq::capture_reader& from) {
  if (quiet_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + 100ms;
  const auto counts = from.counts();
  std::string bar;
  if (counts.file_size != 0) {
    constexpr std::uint64_t width = 40;
    const std::uint64_t percent = std::min<std::uint64_t>(100, counts.bytes * 100 / counts.file_size);
    bar = fmt::format("[{:<40}] {:3} %  ", std::string(percent * width / 100, '#'), percent);
  }
  say("\r{}{} frames", bar, counts.frames);
  std::fflush(stderr);
  shown_ = true;
}

void progress::clear() {
  if (!shown_) return;
  say("\r\033[K");
  std::fflush(stderr);
  shown_ = false;
}

}  // namespace tool
