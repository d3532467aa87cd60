// SPDX-License-Identifier: MIT
// A clock that costs some nanoseconds and moves in ticks of 1 to 10 ms, and how long verdicts have waited by it.
#pragma once

#include <algorithm>
#include <chrono>
#include <ctime>

namespace ipq::queues {

/// Since some fixed time.
inline std::chrono::nanoseconds coarse_now() noexcept {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

class delay {
 public:
  explicit delay(std::chrono::milliseconds most) noexcept : most_(std::min<std::chrono::milliseconds>(most, longest)) {}

  /// A verdict waits from now on: whether it, or one before, has waited for long enough.
  [[nodiscard]] bool is_over() noexcept {
    if (most_.count() == 0) return true;
    const auto now = coarse_now();
    if (since_ == none) since_ = now;
    return now - since_ >= most_;
  }
  /// Nothing waits.
  void reset() noexcept { since_ = none; }

 private:
  static constexpr std::chrono::hours longest{24 * 365};  // nanoseconds hold it
  static constexpr auto none = std::chrono::nanoseconds::min();

  std::chrono::milliseconds most_;
  std::chrono::nanoseconds since_ = none;
};

}  // namespace ipq::queues
