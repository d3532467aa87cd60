// SPDX-License-Identifier: MIT
#include "netlink/proc.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace ipq::netlink {

result<std::string> read_proc_file(const char* path) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return failed(path, errno);
  std::string text;
  char part[4096];
  ssize_t length = 0;
  while ((length = ::read(fd, part, sizeof part)) > 0) text.append(part, static_cast<std::size_t>(length));
  const int read_error = errno;
  ::close(fd);
  if (length < 0) return failed(path, read_error);
  return text;
}

}  // namespace ipq::netlink
