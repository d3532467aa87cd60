// SPDX-License-Identifier: MIT
// Opens without waiting, looks at what was opened, and only then reads.
#include "file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace ipq::tool::rules {
namespace {

std::unexpected<file_error> failed_to(const char* what) {
  const int error = errno;
  return std::unexpected(
      file_error{fmt::format("cannot {}: {}", what, std::generic_category().message(error)), error == EACCES});
}

}  // namespace

std::expected<input_file, file_error> input_file::open(const std::filesystem::path& name) {
  // O_NONBLOCK: a named pipe that nobody writes to would keep open() waiting.
  const int fd = ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return failed_to("open");
  input_file made(fd);
  struct stat what {};
  if (fstat(fd, &what) != 0) return failed_to("open");
  if (S_ISDIR(what.st_mode)) return std::unexpected(file_error{"is a directory; a file was expected"});
  if (!S_ISREG(what.st_mode))
    return std::unexpected(file_error{"is no regular file, and could not be read again for a reload"});
  return made;
}

input_file::input_file(input_file&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

input_file& input_file::operator=(input_file&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

input_file::~input_file() {
  if (fd_ >= 0) close(fd_);
}

// NOLINTNEXTLINE(readability-make-member-function-const): the next read goes on behind this one
std::expected<std::size_t, file_error> input_file::read(std::span<char> into) {
  for (;;) {
    const ssize_t got = ::read(fd_, into.data(), into.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) return failed_to("read");
  }
}

}  // namespace ipq::tool::rules
