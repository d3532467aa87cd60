// SPDX-License-Identifier: MIT
// What happened per second, from counters that are looked at again and again; and a line of it drawn.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>

#include "ipq/status.hpp"

namespace tool {

/// What one queue did between two looks.
struct queue_rates {
  double packets = 0, lost = 0;  ///< per second
  std::deque<double> history;    ///< packets per second, the last at the end
};

class rate_meter {
 public:
  static constexpr std::size_t longest_history = 240;

  /// Takes a look. Counters are of 32 bits and wrap; a queue with another owner begins anew.
  void look(std::span<const ipq::queue_status> queues, std::chrono::steady_clock::time_point now);

  /// Of the queue of this number: nullptr before its second look.
  [[nodiscard]] const queue_rates* of(std::uint16_t number) const;

 private:
  struct counted {
    ipq::queue_status last;
    std::chrono::steady_clock::time_point at;
    queue_rates rates;
    bool twice = false;
  };
  std::map<std::uint16_t, counted> queues_;
};

/// The last `width` values, as blocks of eight heights; the largest is the highest.
[[nodiscard]] std::string sparkline(const std::deque<double>& values, std::size_t width);

/// A rate in at most six characters: "0", "12.3", "999", "1.2k", "34k", "5.6M".
[[nodiscard]] std::string short_number(double value);

}  // namespace tool
