// SPDX-License-Identifier: MIT
// How long verdicts have waited to be sent, by a clock that costs some nanoseconds and moves in ticks of 1 to 10 ms.
#pragma once

#include <algorithm>
#include <chrono>
#include <ctime>

namespace ipq::queues {

class delay {
 public:
  explicit delay(std::chrono::milliseconds most) noexcept : most_(std::min<std::chrono::milliseconds>(most, longest)) {}

  /// A verdict waits from now on: whether it, or one before, has waited for long enough.
  [[nodiscard]] bool is_over() noexcept {
    if (most_.count() == 0) return true;
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
    const auto now = std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
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
