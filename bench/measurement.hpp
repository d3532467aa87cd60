// SPDX-License-Identifier: MIT
// The clocks, and what one run of one loop comes to.
#pragma once

#include <time.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "allocations.hpp"

namespace bench {

constexpr unsigned header_bytes = 20 + 8;  // IPv4 and UDP, in front of the payload
constexpr unsigned patience_seconds = 120;

inline double now(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// What the calling thread, and the process, used.
struct expense {
  double cpu_seconds = 0;      // of the thread, in the kernel and out of it
  double process_seconds = 0;  // of all threads
  double wall_seconds = 0;
  std::optional<std::uint64_t> allocations;  // of the process; nullopt where they can't be counted

  expense& operator+=(const expense& other) {
    cpu_seconds += other.cpu_seconds;
    process_seconds += other.process_seconds;
    wall_seconds += other.wall_seconds;
    if (other.allocations) allocations = allocations.value_or(0) + *other.allocations;
    return *this;
  }
};

// Starts when it is made.
class stopwatch {
 public:
  stopwatch()
      : allocations_(bench::allocations()),
        wall_(now(CLOCK_MONOTONIC)),
        process_(now(CLOCK_PROCESS_CPUTIME_ID)),
        cpu_(now(CLOCK_THREAD_CPUTIME_ID)) {}

  expense stop() const {
    expense result;
    result.cpu_seconds = now(CLOCK_THREAD_CPUTIME_ID) - cpu_;
    result.process_seconds = now(CLOCK_PROCESS_CPUTIME_ID) - process_;
    result.wall_seconds = now(CLOCK_MONOTONIC) - wall_;
    if (allocations_) result.allocations = *bench::allocations() - *allocations_;
    return result;
  }

 private:
  std::optional<std::uint64_t> allocations_;
  double wall_, process_, cpu_;
};

// Ends the process, with a message, after two minutes: a loop that waits for what never comes can't be told to stop.
class watchdog {
 public:
  watchdog();
  watchdog(const watchdog&) = delete;
  watchdog& operator=(const watchdog&) = delete;
  ~watchdog();
};

// The same memory for all loops that read one packet at a time.
std::span<unsigned char> message_buffer();

// What one run came to.
struct sample {
  std::uint64_t packets = 0;  // read and answered
  std::uint64_t arrived = 0;  // of them, at the receiver, where that is counted
  std::uint64_t lost = 0;     // never read
  std::vector<double> figures = {};
  std::optional<std::uint64_t> allocations = {};
  double other_threads = 0;  // CPU time of threads that the loop has besides the reader, as a part of the reader's
};

}  // namespace bench
