// SPDX-License-Identifier: MIT
// What waits for its time: a heap of timers, bounded in number and bytes.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "ipq/verdict.hpp"

namespace ipq::tool::rules {

/// How much may wait, and what becomes of what exceeds it.
struct delayed_limits {
  std::size_t packets = 100'000;
  std::size_t bytes = std::size_t{256} << 20;
  ipq::verdict::action beyond = ipq::verdict::action::drop;  ///< for the driver to carry out, at once
};

/// Holds things of type Held until they are due. Those due at the same moment come out as they went in. A push and a
/// pop cost O(log n), and no allocation once as many have waited. For one thread at a time.
template <class Held>
class delayed {
 public:
  using time = std::chrono::nanoseconds;

  explicit delayed(delayed_limits limits = {}) noexcept : limits_(limits) {}

  /// Whether so many bytes more would exceed no limit. If not they are counted in refused(), and get limits().beyond.
  [[nodiscard]] bool admit(std::size_t bytes) noexcept {
    if (heap_.size() < limits_.packets && bytes <= limits_.bytes - bytes_) return true;
    ++refused_;
    return false;
  }

  /// Keeps `what`, which counts for so many bytes. False, and `what` untouched, if it is not admitted.
  [[nodiscard]] bool push(Held&& what, time due, std::size_t bytes) {
    if (!admit(bytes)) return false;
    std::uint32_t slot;
    if (free_.empty()) {
      slot = static_cast<std::uint32_t>(slots_.size());
      slots_.emplace_back();
      free_.reserve(slots_.capacity());  // so that pop never allocates
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    heap_.push_back({due, next_++, slot});
    slots_[slot].what.emplace(std::move(what));
    slots_[slot].bytes = bytes;
    std::push_heap(heap_.begin(), heap_.end(), later);
    bytes_ += bytes;
    return true;
  }

  /// The next that is due at `now`, or nothing. time::max() empties the heap in order.
  [[nodiscard]] std::optional<Held> pop(time now) {
    if (heap_.empty() || heap_.front().due > now) return std::nullopt;
    std::pop_heap(heap_.begin(), heap_.end(), later);
    const std::uint32_t slot = heap_.back().slot;
    heap_.pop_back();
    bytes_ -= slots_[slot].bytes;
    std::optional<Held> what = std::move(slots_[slot].what);
    slots_[slot].what.reset();
    free_.push_back(slot);
    return what;
  }

  /// When the next is due; nothing if none waits.
  [[nodiscard]] std::optional<time> next_due() const noexcept {
    if (heap_.empty()) return std::nullopt;
    return heap_.front().due;
  }

  [[nodiscard]] std::size_t size() const noexcept { return heap_.size(); }
  [[nodiscard]] bool empty() const noexcept { return heap_.empty(); }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }
  [[nodiscard]] const delayed_limits& limits() const noexcept { return limits_; }

 private:
  struct timer {
    time due;
    std::uint64_t order;
    std::uint32_t slot;
  };
  struct held {
    std::optional<Held> what;
    std::size_t bytes = 0;
  };
  static bool later(const timer& a, const timer& b) noexcept {
    return a.due != b.due ? a.due > b.due : a.order > b.order;
  }

  delayed_limits limits_;
  std::vector<timer> heap_;  // small entries move about, what they stand for stays in its slot
  std::vector<held> slots_;
  std::vector<std::uint32_t> free_;
  std::size_t bytes_ = 0;
  std::uint64_t next_ = 0;
  std::uint64_t refused_ = 0;
};

}  // namespace ipq::tool::rules
