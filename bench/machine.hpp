// SPDX-License-Identifier: MIT
// The CPUs, and threads on them.
#pragma once

#include <exception>
#include <functional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace bench {

// Those that this process may use, lowest first.
std::vector<int> allowed_cpus();

// Keeps the calling thread there, and the threads that it starts from now on.
void run_on(const std::vector<int>& cpus);

std::string kernel_release();
std::string processor();
std::string load();

// A thread beside the reader's. What it throws comes out of join().
class companion {
 public:
  companion(std::vector<int> cpus, std::function<void(const std::stop_token&)> work);
  companion(const companion&) = delete;
  companion& operator=(const companion&) = delete;
  /// Asks for its end and waits for it. join() throws what the work has thrown.
  ~companion() = default;
  void join();

 private:
  std::exception_ptr thrown_;
  std::jthread thread_;
};

}  // namespace bench
