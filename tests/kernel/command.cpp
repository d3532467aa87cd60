// SPDX-License-Identifier: MIT
#include "command.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "child.hpp"

namespace kernel_tests {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string line;
  for (const auto& word : words) line += (line.empty() ? "" : " ") + word;
  return line;
}

std::chrono::milliseconds left(std::chrono::steady_clock::time_point end) {
  return std::max(std::chrono::milliseconds{0},
                  std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()));
}

}  // namespace

background_command::background_command(std::vector<std::string> words, std::string_view input)
    : words_(std::move(words)) {
  // A socket pair serves both directions; input is short and fits its buffer.
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    throw std::system_error(errno, std::generic_category(), "socketpair");
  output_ = pair[0];
  if (!input.empty() && write(pair[0], input.data(), input.size()) != static_cast<ssize_t>(input.size()))
    throw std::system_error(errno, std::generic_category(), "write input of " + words_[0]);
  shutdown(pair[0], SHUT_WR);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int target : {0, 1, 2}) posix_spawn_file_actions_adddup2(&actions, pair[1], target);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  std::vector<char*> argv;
  for (auto& word : words_) argv.push_back(word.data());
  argv.push_back(nullptr);
  int error = posix_spawnp(&pid_, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(pair[1]);
  if (error != 0) {
    close(output_);
    throw std::system_error(error, std::generic_category(), "start " + words_[0]);
  }
}

background_command::~background_command() {
  if (pid_ > 0) child::kill_and_reap(pid_);
  if (output_ >= 0) close(output_);
}

outcome background_command::wait() {
  outcome result;
  const auto end = std::chrono::steady_clock::now() + patience;
  for (;;) {
    pollfd readable{output_, POLLIN, 0};
    int ready = poll(&readable, 1, static_cast<int>(left(end).count()));
    if (ready == 0) throw std::runtime_error("no end in time: " + joined(words_) + "\n" + result.output);
    if (ready < 0) continue;
    char part[4096];
    ssize_t size = read(output_, part, sizeof part);
    if (size <= 0) break;
    result.output.append(part, static_cast<size_t>(size));
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

std::string background_command::wait_for_success() {
  outcome result = wait();
  if (result.status != 0)
    throw std::runtime_error("exit status " + std::to_string(result.status) + ": " + joined(words_) + "\n" +
                             result.output);
  return result.output;
}

std::vector<std::string> split(std::string_view line) {
  std::istringstream stream{std::string{line}};
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

outcome run(std::vector<std::string> words, std::string_view input) {
  return background_command(std::move(words), input).wait();
}

std::string must_run(std::string_view line, std::string_view input) {
  return background_command(split(line), input).wait_for_success();
}

}  // namespace kernel_tests
