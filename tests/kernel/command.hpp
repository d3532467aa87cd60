// SPDX-License-Identifier: MIT
// Commands such as ip, iptables and ping, run in the network namespace of the calling thread.
// No command outlives its object, and none may take longer than `patience`.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace kernel_tests {

// How long anything that must happen may take before the test gives up. Slow machines set it, in seconds.
inline const std::chrono::seconds patience{
    std::getenv("IPQ_TEST_PATIENCE") != nullptr ? std::atoi(std::getenv("IPQ_TEST_PATIENCE")) : 15};

struct outcome {
  int status = 0;      // exit status, or 128 + signal
  std::string output;  // standard output and standard error
};

// A command that runs while the test goes on; killed and reaped with its object.
class background_command {
 public:
  explicit background_command(std::vector<std::string> words, std::string_view input = {});
  background_command(const background_command&) = delete;
  background_command& operator=(const background_command&) = delete;
  ~background_command();

  pid_t pid() const { return pid_; }

  // Waits for the end of the command. Throws when it takes longer than `patience`.
  outcome wait();

  // As wait(), and throws, with the command's output, when the exit status is not 0.
  std::string wait_for_success();

 private:
  std::vector<std::string> words_;
  pid_t pid_ = -1;
  int output_ = -1;
};

// "-A OUTPUT -p udp" as three words.
std::vector<std::string> split(std::string_view line);

// Runs a command to its end.
outcome run(std::vector<std::string> words, std::string_view input = {});

// Runs a command that must succeed and returns its output; throws with that output otherwise.
std::string must_run(std::string_view line, std::string_view input = {});

}  // namespace kernel_tests
