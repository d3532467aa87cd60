// SPDX-License-Identifier: MIT
// The capture's own time, also faster or slower: the first packet is due at once, and each other one as much later as
// it was captured.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace ipq::capture {

class pace {
 public:
  using clock = std::chrono::steady_clock;

  /// How often as fast as captured; 0: everything is due at once.
  explicit pace(double factor) noexcept : factor_(factor) {}

  /// `time`: nanoseconds. What has none is not asked about: it is due at once.
  [[nodiscard]] bool is_due(std::int64_t time) {
    if (factor_ == 0) [[likely]]
      return true;
    const auto now = clock::now();
    if (!begun_) {
      begun_ = true;
      first_time_ = time;
      started_ = now;
    }
    // A century is as good as for ever, and can be added to a time.
    constexpr double most = 100.0 * 365 * 24 * 3600 * 1e9;
    const double since = (static_cast<double>(time) - static_cast<double>(first_time_)) / factor_;
    due_ = started_ + std::chrono::nanoseconds(static_cast<std::int64_t>(std::clamp(since, 0.0, most)));
    return due_ <= now;
  }
  /// When the packet that was asked about last is due.
  [[nodiscard]] clock::time_point due() const noexcept { return due_; }

 private:
  double factor_;
  bool begun_ = false;
  std::int64_t first_time_ = 0;
  clock::time_point started_{};
  clock::time_point due_{};
};

}  // namespace ipq::capture
