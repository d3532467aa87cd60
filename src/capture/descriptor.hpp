// SPDX-License-Identifier: MIT
// A file descriptor that closes itself, unless it is only lent.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <expected>
#include <utility>

#include "ipq/error.hpp"

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
  /// It is not closed any more.
  void let_go() noexcept { fd_ = -1; }

 private:
  int fd_ = -1;
  bool owned_ = true;
};

/// One that a program may have closed unseen, as daemons close what they did not open: its number may be that of
/// another file by now, which is neither read nor written nor closed.
class unseen_descriptor {
 public:
  explicit unseen_descriptor(descriptor&& opened) noexcept : file_(std::move(opened)) {
    static_cast<void>(::fstat(file_.fd(), &about_));
  }
  unseen_descriptor(unseen_descriptor&&) noexcept = default;
  unseen_descriptor& operator=(unseen_descriptor&& other) noexcept {
    const unseen_descriptor closed_at_the_end(std::move(*this));
    file_ = std::move(other.file_);
    about_ = other.about_;
    return *this;
  }
  ~unseen_descriptor() {
    if (file_ && !is_there()) file_.let_go();
  }

  /// A system call. Afterwards it can be used.
  [[nodiscard]] bool is_there() const noexcept {
    const int kept = errno;
    struct stat now {};
    const bool same = ::fstat(file_.fd(), &now) == 0 && now.st_dev == about_.st_dev && now.st_ino == about_.st_ino;
    errno = kept;
    return same;
  }
  [[nodiscard]] int fd() const noexcept { return file_.fd(); }

 private:
  descriptor file_;
  struct stat about_ {};
};
/// What is to be said where it is not there.
[[nodiscard]] inline std::unexpected<error> closed_unseen(const char* operation) noexcept {
  auto gone = failed(operation, EBADF);
  gone.error().advice = "the program closed this descriptor of the library";
  return gone;
}

}  // namespace ipq::capture
