// SPDX-License-Identifier: MIT
// A clock that costs some nanoseconds and moves in ticks of 1 to 10 ms, and by it how long verdicts may have waited.
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

  /// Whether it is so long since nothing waited: who comes that late is busy, and may not come again for as long.
  [[nodiscard]] bool is_over() const noexcept { return most_.count() == 0 || coarse_now() - since_ >= most_; }
  /// Nothing waits.
  void restart() noexcept { since_ = coarse_now(); }

 private:
  static constexpr std::chrono::hours longest{24 * 365};  // nanoseconds hold it

  std::chrono::milliseconds most_;
  std::chrono::nanoseconds since_ = coarse_now();
};

}  // namespace ipq::queues
