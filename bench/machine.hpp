// SPDX-License-Identifier: MIT
// The CPUs, and threads on them.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
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
  companion(std::vector<int> cpus, std::function<void()> work);
  companion(const companion&) = delete;
  companion& operator=(const companion&) = delete;
  ~companion();
  void join();

 private:
  std::exception_ptr thrown_;
  std::thread thread_;
};

/// Raises a flag at the end of a scope, however that ends: a companion that waits for it would go on for ever.
class raised_at_end {
 public:
  explicit raised_at_end(std::atomic<bool>& flag) noexcept : flag_(flag) {}
  raised_at_end(const raised_at_end&) = delete;
  raised_at_end& operator=(const raised_at_end&) = delete;
  ~raised_at_end() { flag_ = true; }

 private:
  std::atomic<bool>& flag_;
};

}  // namespace bench
