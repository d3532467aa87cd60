// SPDX-License-Identifier: MIT
// Processes that serve queue 0 by themselves, and what they cost, seen from outside.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <functional>
#include <string>
#include <vector>

#include "traffic.hpp"

namespace bench {

class process {
 public:
  // Calls `work` in a child; it has to write a line to the descriptor when it is ready.
  process(std::string name, int cpu, const std::function<void(int)>& work);
  // Starts a program that says on standard error when it is ready.
  process(std::string name, int cpu, const std::vector<std::string>& words);
  process(const process&) = delete;
  process& operator=(const process&) = delete;
  ~process();

  // It does not run until it may again.
  void stop() const;
  void go_on() const;
  // Of all its threads, in the kernel and out of it.
  double cpu_seconds() const;
  // Ends it as Ctrl-C does. Throws failure if it was not well.
  void end();

 private:
  void wait_until_ready() const;
  std::string rest() const;
  [[noreturn]] void fail(const std::string& why) const;

  std::string name_;
  pid_t pid_ = -1;
  file_descriptor said_;
  clockid_t clock_ = 0;
};

}  // namespace bench
