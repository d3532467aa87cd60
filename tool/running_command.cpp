// SPDX-License-Identifier: MIT
#include "running_command.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "exit_code.hpp"

namespace tool {

using steady = std::chrono::steady_clock;

bool wait_readable(int fd, steady::time_point until) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - steady::now()).count();
  pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&ready, 1, static_cast<int>(std::max<std::int64_t>(left, 0))) == 1;
}

running_command::running_command(const std::vector<std::string>& words, int input) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error(std::strerror(errno));
  output_ = ends[0];
  std::vector<char*> arguments{const_cast<char*>("ipq")};
  for (const std::string& each : words) arguments.push_back(const_cast<char*>(each.c_str()));
  arguments.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (input >= 0) ::dup2(input, STDIN_FILENO);
    ::dup2(ends[1], STDOUT_FILENO);
    ::dup2(ends[1], STDERR_FILENO);
    ::unsetenv("NOTIFY_SOCKET");
    ::execv("/proc/self/exe", arguments.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  if (pid_ < 0) throw std::runtime_error(std::strerror(errno));
}

running_command::~running_command() {
  if (pid_ > 0) end();
  ::close(output_);
}

bool running_command::says(std::string_view text) {
  const auto until = steady::now() + std::chrono::seconds(5);
  while (text_.find(text) == std::string::npos)
    if (!wait_readable(output_, until) || !read_more()) return false;
  return true;
}

int running_command::end() {
  ::kill(pid_, SIGINT);
  return wait();
}

int running_command::wait() {
  while (read_more()) continue;
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : failed;
}

bool running_command::read_more() {
  char part[4096];
  const auto length = ::read(output_, part, sizeof part);
  if (length > 0) text_.append(part, static_cast<std::size_t>(length));
  return length > 0;
}

}  // namespace tool
