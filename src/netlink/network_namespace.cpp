// SPDX-License-Identifier: MIT
#include "netlink/network_namespace.hpp"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <system_error>
#include <thread>

namespace ipq::netlink {
namespace {

bool is_ours(const descriptor& network_namespace) noexcept {
  struct stat ours {
  }, theirs{};
  return ::stat("/proc/thread-self/ns/net", &ours) == 0 && ::fstat(network_namespace.fd(), &theirs) == 0 &&
         ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

}  // namespace

result<descriptor> open_network_namespace(const std::string& where) noexcept {
  if (where.find('\0') != std::string::npos) return failed("open network namespace", EINVAL);
  try {
    const std::string path = where.find('/') != std::string::npos ? where : "/run/netns/" + where;
    descriptor opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!opened) return failed("open network namespace", errno);
    return opened;
  } catch (const std::bad_alloc&) {
    return failed("open network namespace", ENOMEM);
  }
}

result<descriptor> duplicate_network_namespace(int fd) noexcept {
  descriptor copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) return failed("open network namespace", errno);
  return copy;
}

result<descriptor> network_namespace_of(const socket& which) noexcept {
  descriptor found(::ioctl(which.fd(), SIOCGSKNS));
  if (!found) return failed("find network namespace", errno);
  return found;
}

result<void> run_inside(const descriptor& network_namespace, const std::function<void()>& what) noexcept {
  if (is_ours(network_namespace)) {
    what();
    return {};
  }
  int refused = 0;
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  try {
    std::thread([&] {
      if (::setns(network_namespace.fd(), CLONE_NEWNET) != 0) {
        refused = errno;
      } else {
        what();
      }
    }).join();
  } catch (const std::system_error& error) {
    refused = error.code().value();
  } catch (const std::bad_alloc&) {
    refused = ENOMEM;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (refused != 0) return failed("enter network namespace", refused);
  return {};
}

result<socket> open_beside(const socket& neighbour, const socket_source& source, int protocol,
                           std::uint32_t groups) noexcept {
  auto opened = source.open(protocol, groups);
  if (!opened || opened->network_namespace() == neighbour.network_namespace()) return opened;
  const auto there = network_namespace_of(neighbour);
  if (!there || !run_inside(*there, [&] { opened = source.open(protocol, groups); })) {
    return failed("open netlink socket", EXDEV);
  }
  return opened;
}

}  // namespace ipq::netlink
