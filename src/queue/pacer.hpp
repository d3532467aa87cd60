// SPDX-License-Identifier: MIT
// When a reader lets packets gather before it reads, so that they share its system calls and nobody has to wake it, and
// when it looks for them again and again before it sleeps.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>

#include "ipq/queue.hpp"

namespace ipq::queues {

/// Knows nothing but time and numbers of packets.
class pacer {
 public:
  using clock = std::chrono::steady_clock;

  /// The pause. Timers of ordinary threads may be late by as much again (prctl(2), PR_SET_TIMERSLACK).
  static constexpr std::chrono::microseconds pause{50};
  /// How long a reader that wants to be quick looks for packets before it sleeps; and at most one that is adaptive,
  /// where looking has found some: a quarter more than the CPU spends on a sleep and its end, which is 3 to 15 us.
  static constexpr std::chrono::microseconds long_look{50}, short_look{20};
  /// So many in a batch say that there are more: no pause is needed.
  static constexpr std::size_t full = 32;

  /// `capacity`: packets that may wait without any being lost.
  pacer(queue_options::waiting how, std::size_t capacity, clock::time_point (*now)() = clock::now) noexcept
      : how_(how), capacity_(capacity), now_(now), unmeasured_(between_measured) {}

  /// From any thread.
  void set_capacity(std::size_t packets) noexcept { capacity_.store(packets, std::memory_order_relaxed); }

  /// How long to look for packets before sleeping, often 0.
  [[nodiscard]] std::chrono::nanoseconds looks() noexcept;
  /// What came of it.
  void looked(bool found) noexcept;

  /// To be asked before a sleep: whether to tell what CPU time it takes.
  [[nodiscard]] bool measures_sleep() noexcept;
  void slept(std::chrono::nanoseconds cpu_time) noexcept;

  /// To be asked before every read, with the number of packets of the one before: whether to pause first.
  [[nodiscard]] bool pauses(std::size_t received) noexcept;

 private:
  static constexpr std::size_t between_measured = 16, most_found = 1024;

  [[nodiscard]] bool pauses_always(std::size_t received) noexcept;
  [[nodiscard]] bool pauses_in_a_flood(std::size_t received) noexcept;
  [[nodiscard]] std::chrono::nanoseconds next_window() noexcept;
  void give_up() noexcept;

  queue_options::waiting how_;
  std::atomic<std::size_t> capacity_;
  clock::time_point (*now_)();

  std::chrono::nanoseconds sleep_costs_{};  ///< 0: none was measured
  std::size_t unmeasured_;                  ///< sleeps since the last one that was measured
  std::size_t found_ = 0;          ///< looks since then that found something: who does not sleep measures nothing
  std::size_t unlooked_ = 0;       ///< waits that are still to be begun without a look
  std::size_t unlooked_next_ = 1;  ///< how many the next time

  bool paused_ = false;        ///< before the last read
  std::size_t skipped_ = 0;    ///< pauses, or windows, that are still to be left out
  std::size_t skip_next_ = 1;  ///< how many the next time

  // For a flood: packets that came since the window's begin, and how far apart they were before the first pause.
  bool flooded_ = false;
  std::size_t seen_ = 0;
  clock::time_point begin_{};
  std::chrono::nanoseconds apart_{};
  std::size_t good_windows_ = 0;
};

}  // namespace ipq::queues
