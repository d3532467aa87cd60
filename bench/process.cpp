// SPDX-License-Identifier: MIT
#include "process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <exception>
#include <iostream>

#include "failure.hpp"
#include "machine.hpp"
#include "measurement.hpp"

namespace bench {
namespace {

// The child's end is its standard error.
file_descriptor fork_with_pipe(int cpu, pid_t& pid, const std::function<void()>& child) {
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw failure(with_errno("pipe"));
  file_descriptor ours(ends[0]);
  const file_descriptor theirs(ends[1]);
  const pid_t parent = getpid();
  pid = fork();
  if (pid < 0) throw failure(with_errno("fork"));
  if (pid > 0) return ours;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(theirs.get(), STDERR_FILENO);
  try {
    run_on({cpu});
    if (getppid() == parent) child();
  } catch (const std::exception& wrong) {
    std::cerr << wrong.what() << std::endl;
  }
  _exit(127);
}

}  // namespace

process::process(std::string name, int cpu, const std::function<void(int)>& work)
    : name_(std::move(name)), said_(fork_with_pipe(cpu, pid_, [&] {
        work(STDERR_FILENO);
        _exit(0);
      })) {
  wait_until_ready();
}

process::process(std::string name, int cpu, const std::vector<std::string>& words)
    : name_(std::move(name)), said_(fork_with_pipe(cpu, pid_, [&] {
        std::vector<char*> arguments;
        for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
        arguments.push_back(nullptr);
        if (const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC); nowhere >= 0) dup2(nowhere, STDOUT_FILENO);
        execv(arguments[0], arguments.data());
        throw failure(with_errno("cannot start " + words[0]));
      })) {
  wait_until_ready();
}

process::~process() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void process::fail(const std::string& why) const {
  kill(pid_, SIGKILL);
  throw failure(name_ + ": " + why + ": " + rest());
}

void process::wait_until_ready() const {
  pollfd said{said_.get(), POLLIN, 0};
  char first = 0;
  if (poll(&said, 1, patience_seconds * 1000) != 1) fail("is not ready");
  if (read(said_.get(), &first, 1) != 1) fail("ended");
  if (clock_getcpuclockid(pid_, const_cast<clockid_t*>(&clock_)) != 0) fail("has no clock");
}

void process::stop() const {
  int status = 0;
  if (kill(pid_, SIGSTOP) != 0 || waitpid(pid_, &status, WUNTRACED) != pid_ || !WIFSTOPPED(status)) {
    fail("does not stop");
  }
}

void process::go_on() const {
  kill(pid_, SIGCONT);
}

double process::cpu_seconds() const {
  return now(clock_);
}

std::string process::rest() const {
  std::string text;
  std::array<char, 4096> part;
  for (ssize_t length; (length = read(said_.get(), part.data(), part.size())) > 0;) {
    text.append(part.data(), static_cast<std::size_t>(length));
  }
  return text;
}

void process::end() {
  kill(pid_, SIGINT);
  const auto said = rest();
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw failure(name_ + " did not end well: " + said);
}

}  // namespace bench
