// SPDX-License-Identifier: MIT
// What a test can see of its own process: descriptors, threads, errno and what is written to standard error.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <concepts>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace kernel_tests {

// A value that no call of libipq sets.
constexpr int untouched_errno = EXDEV;

// errno after f(), which started with errno at `untouched_errno`.
int errno_after(std::invocable auto f) {
  errno = untouched_errno;
  f();
  return errno;
}

// Descriptors of this process, or of a child.
std::set<int> open_descriptors(pid_t process = 0);

std::vector<pid_t> threads();

// Signals that a thread of this process blocks: bit 0 is signal 1.
uint64_t blocked_signals(pid_t thread);

// Waits until a thread of this process sleeps in the kernel. Throws when that takes longer than `patience`.
void wait_until_asleep(pid_t thread);

// What is written to standard error, by anyone in the process, while f() runs.
std::string standard_error_of(const std::function<void()>& f);

// Of the calling thread, for good.
void drop_all_capabilities();

// Waits until condition() holds; throws, naming it, when that takes longer than `patience`. For what the kernel does
// by itself in a moment and reports to nobody.
void wait_until(const char* what, const std::function<bool()>& condition);

}  // namespace kernel_tests
