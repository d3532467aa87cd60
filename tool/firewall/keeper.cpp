// SPDX-License-Identifier: MIT
#include "firewall/keeper.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace tool::firewall {
namespace {

/// All signals are blocked: none of a terminal, and no SIGTERM that a service manager sends to all, ends it early.
[[noreturn]] void keep(int pipe, const std::function<bool()>& tidy_up) {
  ::setsid();
  ::prctl(PR_SET_NAME, "ipq keeper");
  if (::dup2(pipe, 3) < 0) ::_exit(1);
  ::close_range(4, ~0u, 0);
  if (const int nothing = ::open("/dev/null", O_RDWR); nothing >= 0) {
    for (const int fd : {0, 1, 2}) ::dup2(nothing, fd);
    if (nothing > 3) ::close(nothing);
  }
  ::fcntl(3, F_SETFD, FD_CLOEXEC);
  char none = 0;
  while (::read(3, &none, 1) < 0 && errno == EINTR) continue;
  ::_exit(tidy_up() ? 0 : 1);
}

}  // namespace

outcome<keeper> keeper::start(const std::function<bool()>& tidy_up) {
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) return fail(failed, fmt::format("start the keeper: {}", std::strerror(errno)));
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(pipe[1]);
    keep(pipe[0], tidy_up);
  }
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::close(pipe[0]);
  if (child < 0) {
    ::close(pipe[1]);
    return fail(failed, fmt::format("start the keeper: {}", std::strerror(error)));
  }
  return keeper(child, pipe[1]);
}

keeper::~keeper() {
  finish();
}

bool keeper::finish() noexcept {
  if (pipe_ >= 0) ::close(std::exchange(pipe_, -1));
  if (pid_ < 0) return true;
  int status = 0;
  const pid_t child = std::exchange(pid_, -1);
  pid_t ended = -1;
  while ((ended = ::waitpid(child, &status, 0)) < 0 && errno == EINTR) continue;
  return ended == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace tool::firewall
