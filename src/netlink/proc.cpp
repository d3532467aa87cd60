// SPDX-License-Identifier: MIT
#include "netlink/proc.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "netlink/descriptor.hpp"

namespace ipq::netlink {

result<std::string> read_proc_file(const char* path) {
  const descriptor file(::open(path, O_RDONLY | O_CLOEXEC));
  if (!file) return failed(path, errno);
  std::string text;
  char part[4096];
  ssize_t length = 0;
  while ((length = ::read(file.fd(), part, sizeof part)) > 0) text.append(part, static_cast<std::size_t>(length));
  if (length < 0) return failed(path, errno);
  return text;
}

}  // namespace ipq::netlink
