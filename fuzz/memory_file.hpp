// SPDX-License-Identifier: MIT
// A file that is in memory alone, for targets whose code opens one.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "input.hpp"

namespace fuzz {

class memory_file {
 public:
  explicit memory_file(bytes content) : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    require(fd_ >= 0 && ::write(fd_, content.data(), content.size()) == static_cast<ssize_t>(content.size()));
  }
  memory_file(const memory_file&) = delete;
  memory_file& operator=(const memory_file&) = delete;
  ~memory_file() { ::close(fd_); }
  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }
  [[nodiscard]] std::vector<std::byte> content() const {
    std::vector<std::byte> all(static_cast<std::size_t>(::lseek(fd_, 0, SEEK_END)));
    require(::pread(fd_, all.data(), all.size(), 0) == static_cast<ssize_t>(all.size()));
    return all;
  }

 private:
  int fd_;
};

}  // namespace fuzz
