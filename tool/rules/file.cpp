// SPDX-License-Identifier: MIT
// Opens without waiting, looks at what was opened, and only then reads.
#include "file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <system_error>
#include <utility>

namespace ipq::tool::rules {
namespace {

std::unexpected<file_error> failed_to(const char* what) {
  const int error = errno;
  return std::unexpected(file_error{fmt::format("cannot {}: {}", what, file_reason(error)), error == EACCES});
}

std::string_view remedy_of(int error) noexcept {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
      return "check the name";
    case EISDIR:
      return "name a file";
    case EACCES:
      return "give yourself access to it, or run as a user who has it";
    case ENOSPC:
    case EDQUOT:
      return "make room there, or write to another place";
    case EROFS:
      return "write to another place";
    case EFBIG:
      return "write to another place, or raise the limit of file sizes (ulimit -f)";
    case EMFILE:
      return "raise the limit of open files (ulimit -n)";
    default:
      return "";
  }
}

std::string with_remedy(std::string reason, int error) {
  const std::string_view remedy = remedy_of(error);
  if (!remedy.empty()) reason.append(": ").append(remedy);
  return reason;
}

}  // namespace

std::string file_reason(int error) {
  return with_remedy(std::generic_category().message(error), error);
}

std::string file_reason(const ipq::error& what) {
  return *what.advice == '\0' ? with_remedy(what.message(), what.code.value()) : what.message();
}

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
