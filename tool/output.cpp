// SPDX-License-Identifier: MIT
#include "output.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace tool {

bool output::write(fmt::memory_buffer& lines) noexcept {
  const std::lock_guard lock(one_at_a_time_);
  const char* at = lines.data();
  std::size_t left = lines.size();
  while (left > 0 && error_ == 0) {
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
    }
  }
  lines.clear();
  return error_ == 0;
}

}  // namespace tool
