// SPDX-License-Identifier: MIT
// A file descriptor that closes itself, unless it is only lent.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace ipq::capture {

class descriptor {
 public:
  descriptor() = default;
  explicit descriptor(int fd, bool owned = true) noexcept : fd_(fd), owned_(owned) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)), owned_(other.owned_) {}
  descriptor& operator=(descriptor&& other) noexcept {
    const descriptor closed_at_the_end(std::move(*this));
    fd_ = std::exchange(other.fd_, -1);
    owned_ = other.owned_;
    return *this;
  }
  ~descriptor() {
    if (fd_ < 0 || !owned_) return;
    const int kept = errno;
    ::close(fd_);
    errno = kept;
  }

  [[nodiscard]] int fd() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
  bool owned_ = true;
};

}  // namespace ipq::capture
