// SPDX-License-Identifier: MIT
#include "output.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "say.hpp"

namespace tool {

outcome<void> output::start(std::function<void()> failed) try {
  writer_ = std::thread([this, failed = std::move(failed)] { work(failed); });
  return {};
} catch (const std::system_error& refused) {
  return fail(tool::failed, fmt::format("start the thread that prints: {}: raise the limit of processes (ulimit -u)",
                                        refused.code().message()));
}

void output::write(fmt::memory_buffer& lines) {
  if (lines.size() == 0) return;
  {
    const std::lock_guard guard(lock_);
    if (error_ != 0) {
      // They have nowhere to go any more.
    } else if (waiting_.size() == 0) {
      std::swap(waiting_, lines);
    } else if (waiting_.size() + lines.size() <= room) {
      waiting_.append(lines.data(), lines.data() + lines.size());
    } else {
      left_out_ += static_cast<std::uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
    }
  }
  news_.notify_one();
  lines.clear();
}

void output::work(const std::function<void()>& failed) noexcept {
  fmt::memory_buffer lines;
  for (;;) {
    {
      std::unique_lock guard(lock_);
      news_.wait(guard, [this] { return waiting_.size() != 0 || ending_; });
      if (waiting_.size() == 0) return;
      std::swap(waiting_, lines);
    }
    if (!write_all(lines)) break;
    lines.clear();
  }
  failed();
}

bool output::write_all(const fmt::memory_buffer& lines) noexcept {
  const char* at = lines.data();
  std::size_t left = lines.size();
  while (left > 0) {
    const ssize_t written = ::write(fd_, at, left);
    if (written >= 0) {
      at += written;
      left -= static_cast<std::size_t>(written);
    } else if (errno == EAGAIN) {
      // A terminal or pipe that somebody has made non-blocking.
      pollfd ready{.fd = fd_, .events = POLLOUT, .revents = 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      error_ = errno;
      return false;
    }
  }
  return true;
}

void output::finish() noexcept {
  if (!writer_.joinable()) return;
  {
    const std::lock_guard guard(lock_);
    ending_ = true;
  }
  news_.notify_one();
  writer_.join();
}

void tell_left_out(const char* command, const output& of) {
  const std::uint64_t lines = of.left_out();
  if (lines == 0) return;
  say("ipq {}: {} line{} not printed: the reader was too slow\n", command, lines, lines == 1 ? "" : "s");
}

}  // namespace tool
