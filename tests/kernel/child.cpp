// SPDX-License-Identifier: MIT
#include "child.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#include <sys/resource.h>
#endif

#include <cerrno>
#include <exception>
#include <stdexcept>
#include <system_error>

#include "command.hpp"

#ifdef __SANITIZE_ADDRESS__
// A cancelled thread does not clean the shadow of its stack, which AddressSanitizer then uses for a signal stack's
// sake.
extern "C" __attribute__((visibility("default"))) const char* __asan_default_options() {
  return "use_sigaltstack=0";
}

// UndefinedBehaviorSanitizer looks at objects through a pipe, also where a test has left no descriptor for one.
extern "C" __attribute__((visibility("default"))) int pipe(int ends[2]) noexcept {
  rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit all{before.rlim_max, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &all);
  const int result = pipe2(ends, 0);
  setrlimit(RLIMIT_NOFILE, &before);
  return result;
}
#endif

// Writes down which lines were run; there only in a build that counts them (gcc, gcov-tool).
extern "C" [[gnu::weak]] void __gcov_dump();

namespace kernel_tests {
namespace {

constexpr char failure_mark = '\1';
constexpr int leak_status = 23;  // as LeakSanitizer's own

// Whether a process that is about to end has lost sight of memory. A sanitizer looks when exit() is called, which a
// child does not.
bool leaks() {
#ifdef __SANITIZE_ADDRESS__
  // The looker is a process of its own, which may outlive one that is killed now, and must not keep a queue.
  close_range(3, ~0u, 0);
  prctl(PR_SET_DUMPABLE, 1);  // of one that has changed its user nobody may look at the memory
  return __lsan_do_recoverable_leak_check() != 0;
#else
  return false;
#endif
}

// Sequenced packets keep what is said apart, and tell the end of the other side.
void send_words(int fd, const std::string& words) {
  if (send(fd, words.data(), words.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(words.size()))
    throw std::system_error(errno, std::generic_category(), "send between test processes");
}

bool readable_in_time(int fd) {
  pollfd wanted{fd, POLLIN, 0};
  return poll(&wanted, 1, static_cast<int>(std::chrono::milliseconds{patience}.count())) == 1;
}

}  // namespace

void child::line::say(const std::string& words) const {
  send_words(fd_, words);
}

void child::line::wait_for_go() const {
  char byte;
  if (!readable_in_time(fd_) || recv(fd_, &byte, 1, 0) != 1) throw std::runtime_error("the test never said go");
}

child::child(const std::function<void(const line&)>& what) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    throw std::system_error(errno, std::generic_category(), "socketpair");
  pid_ = fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(pair[0]);
    int status = 0;
    try {
      what(line{pair[1]});
      if (leaks()) status = leak_status;
    } catch (const std::exception& error) {
      status = 1;
      const std::string words = failure_mark + std::string{error.what()};
      send(pair[1], words.data(), words.size(), MSG_NOSIGNAL);
    }
    end(status);
  }
  close(pair[1]);
  fd_ = pair[0];
}

bool child::counts_lines() {
  return __gcov_dump != nullptr;
}

void child::end(int status) {
  if (counts_lines()) __gcov_dump();
  _exit(status);
}

void child::kill_and_reap(pid_t pid) {
  // One that is writing down its lines would leave a file that is cut, to which nobody's counts are added any more.
  for (int i = 0; counts_lines() && i < 100; ++i) {
    if (waitpid(pid, nullptr, WNOHANG) != 0) return;
    usleep(10'000);
  }
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

child::~child() {
  if (pid_ > 0) kill_and_reap(pid_);
  close(fd_);
}

std::string child::hear() const {
  char words[4096];
  if (!readable_in_time(fd_)) throw std::runtime_error("the child process says nothing");
  ssize_t size = recv(fd_, words, sizeof words, 0);
  if (size <= 0) throw std::runtime_error("the child process ended without a word");
  if (words[0] == failure_mark)
    throw std::runtime_error("in the child process: " + std::string{words + 1, words + size});
  return {words, words + size};
}

void child::go() const {
  send_words(fd_, "g");
}

void child::end_by(int signal) {
  kill(pid_, signal);
  wait();
}

int child::wait() {
  char rest[4096];
  while (readable_in_time(fd_)) {
    if (recv(fd_, rest, sizeof rest, 0) > 0) continue;
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == leak_status) throw std::runtime_error("the child process leaks");
    return status;
  }
  throw std::runtime_error("the child process does not end");
}

}  // namespace kernel_tests
