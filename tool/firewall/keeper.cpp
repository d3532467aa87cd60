// SPDX-License-Identifier: MIT
#include "firewall/keeper.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tool::firewall {
namespace {

constexpr unsigned most_tries = 150, longest_pause = 30;  // seconds: more than an hour

/// From here on neither it nor a program that it starts has more rights than iptables needs. An ordinary user who was
/// given capabilities needs those for files, too.
void keep_few_rights() {
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct rights[2]{};
  if (::syscall(SYS_capget, &header, rights) != 0) return;
  std::uint32_t kept = 1u << CAP_NET_ADMIN | 1u << CAP_NET_RAW;
  if (::geteuid() != 0) kept |= 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH;
  for (auto* each : {&rights[0].effective, &rights[0].permitted, &rights[0].inheritable}) *each &= kept;
  for (auto* each : {&rights[1].effective, &rights[1].permitted, &rights[1].inheritable}) *each = 0;
  ::syscall(SYS_capset, &header, rights);
}

/// All signals are blocked: none of a terminal, and no SIGTERM that a service manager sends to all, ends it early.
[[noreturn]] void keep(int line, const std::function<bool()>& tidy_up) {
  ::setsid();
  ::prctl(PR_SET_NAME, "ipq keeper");
  if (::dup2(line, 3) < 0) ::_exit(1);
  ::close_range(4, ~0u, 0);
  if (const int nothing = ::open("/dev/null", O_RDWR); nothing >= 0) {
    for (const int fd : {0, 1, 2}) ::dup2(nothing, fd);
    if (nothing > 3) ::close(nothing);
  }
  ::fcntl(3, F_SETFD, FD_CLOEXEC);
  keep_few_rights();
  char none = 0;
  while (::read(3, &none, 1) < 0 && errno == EINTR) continue;
  bool tidy = tidy_up();
  ::send(3, tidy ? "y" : "n", 1, MSG_NOSIGNAL);
  // What is in the way, as a lock or a lack of memory, passes.
  for (unsigned i = 1; !tidy && i < most_tries; ++i) {
    ::sleep(std::min(i, longest_pause));
    tidy = tidy_up();
  }
  ::_exit(tidy ? 0 : 1);
}

}  // namespace

outcome<keeper> keeper::start(const std::function<bool()>& tidy_up) {
  int line[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) != 0) {
    return fail(failed, fmt::format("start the keeper: {}", std::strerror(errno)));
  }
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(line[1]);
    keep(line[0], tidy_up);
  }
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::close(line[0]);
  if (child < 0) {
    ::close(line[1]);
    return fail(failed, fmt::format("start the keeper: {}", std::strerror(error)));
  }
  return keeper(child, line[1]);
}

keeper::~keeper() {
  finish();
}

keeper::end keeper::finish() noexcept {
  if (pid_ < 0) return end::tidy;
  ::shutdown(line_, SHUT_WR);
  char said = 0;
  while (::recv(line_, &said, 1, 0) < 0 && errno == EINTR) continue;
  ::close(std::exchange(line_, -1));
  const pid_t child = std::exchange(pid_, -1);
  if (said == 'n') return end::goes_on;
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) continue;
  return said == 'y' ? end::tidy : end::lost;
}

}  // namespace tool::firewall
