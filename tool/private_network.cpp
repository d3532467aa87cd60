// SPDX-License-Identifier: MIT
#include "private_network.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace tool {
namespace {

bool write_file(const char* path, const std::string& text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return written;
}

// An error number, or 0.
int set_up_loopback() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  ifreq loopback{};
  std::memcpy(loopback.ifr_name, "lo", sizeof "lo");
  loopback.ifr_flags = IFF_UP;
  const int error = ::ioctl(fd, SIOCSIFFLAGS, &loopback) == 0 ? 0 : errno;
  ::close(fd);
  return error;
}

}  // namespace

outcome<void> enter_private_network() {
  if (::unshare(CLONE_NEWNET) != 0) {
    const std::string uid = std::to_string(::geteuid()), gid = std::to_string(::getegid());
    if (::unshare(CLONE_NEWUSER) != 0) {
      return fail(no_rights, fmt::format("private network namespace: {}: run it as root, or let ordinary users have "
                                         "namespaces: sysctl user.max_user_namespaces=15000 "
                                         "kernel.unprivileged_userns_clone=1",
                                         std::strerror(errno)));
    }
    // The network comes after the ids: files of /proc/net belong to whom root is mapped to when it is made.
    if (!write_file("/proc/self/setgroups", "deny") || !write_file("/proc/self/uid_map", "0 " + uid + " 1") ||
        !write_file("/proc/self/gid_map", "0 " + gid + " 1") || ::unshare(CLONE_NEWNET) != 0) {
      return fail(no_rights,
                  "private network namespace: this machine restricts user namespaces: run it as root, or "
                  "sysctl kernel.apparmor_restrict_unprivileged_userns=0");
    }
  }
  if (const int error = set_up_loopback(); error != 0) {
    return fail(error == EPERM ? no_rights : failed,
                fmt::format("private network namespace: set up lo: {}: run it as root", std::strerror(error)));
  }
  return {};
}

}  // namespace tool
