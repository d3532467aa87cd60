// SPDX-License-Identifier: MIT
// A file descriptor that closes itself.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "netlink/cancellation.hpp"

namespace ipq::netlink {

class descriptor {
 public:
  descriptor() = default;
  explicit descriptor(int fd) noexcept : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    const descriptor closed_at_the_end(std::move(*this));
    fd_ = std::exchange(other.fd_, -1);
    return *this;
  }
  ~descriptor() {
    if (fd_ < 0) return;
    const int kept = errno;
    const cancellation_off uninterrupted;
    ::close(fd_);
    errno = kept;
  }

  [[nodiscard]] int fd() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  /// Gives the descriptor up; the caller closes it.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

}  // namespace ipq::netlink
