// SPDX-License-Identifier: MIT
#include "queue/pacer.hpp"

#include <algorithm>

namespace ipq::queues {
namespace {

using namespace std::chrono_literals;

/// With pauses and the lateness of timers this is how long packets gather.
constexpr auto longest = 2 * pacer::pause;
/// Closer than this is a flood. One asker after the other does not get there: what waits for an answer, and that for
/// the next question, takes more than a wake-up.
constexpr std::chrono::nanoseconds flood = 5us;
constexpr std::size_t window = 128, flooded_window = 256;
/// What a pause has to bring: in a flood, and at all.
constexpr std::size_t least_in_a_flood = 4, least = 2;
constexpr std::size_t most_skipped = 64, most_windows_skipped = 1024, most_unlooked = 64;

}  // namespace

std::chrono::nanoseconds pacer::looks() noexcept {
  if (how_ == queue_options::waiting::latency) return long_look;
  if (how_ == queue_options::waiting::throughput) return {};
  if (found_ >= most_found) return {};
  if (unlooked_ == 0) return std::min<std::chrono::nanoseconds>(5 * sleep_costs_ / 4, short_look);
  --unlooked_;
  return {};
}

void pacer::looked(bool found) noexcept {
  if (found) ++found_;
  unlooked_ = found ? 0 : unlooked_next_;
  unlooked_next_ = found ? 1 : std::min(2 * unlooked_next_, most_unlooked);
}

bool pacer::measures_sleep() noexcept {
  if (how_ != queue_options::waiting::adaptive) return false;
  if (found_ < most_found && ++unmeasured_ < between_measured) return false;
  unmeasured_ = found_ = 0;
  return true;
}

void pacer::slept(std::chrono::nanoseconds cpu_time) noexcept {
  const auto costs = std::clamp<std::chrono::nanoseconds>(cpu_time, 1us, short_look);
  sleep_costs_ = sleep_costs_.count() == 0 ? costs : (3 * sleep_costs_ + costs) / 4;
}

bool pacer::pauses(std::size_t received) noexcept {
  switch (how_) {
    case queue_options::waiting::adaptive:
      return paused_ = pauses_in_a_flood(received);
    case queue_options::waiting::throughput:
      return paused_ = pauses_always(received);
    case queue_options::waiting::latency:
      break;
  }
  return false;
}

bool pacer::pauses_always(std::size_t received) noexcept {
  if (capacity_ < 2 * full) return false;
  if (paused_) {
    skipped_ = received < least ? skip_next_ : 0;
    skip_next_ = received < least ? std::min(2 * skip_next_, most_skipped) : 1;
  }
  if (received >= full) return false;
  if (skipped_ == 0) return true;
  --skipped_;
  return false;
}

bool pacer::pauses_in_a_flood(std::size_t received) noexcept {
  seen_ += received;
  if (flooded_) {
    if (paused_ && received < least_in_a_flood) {
      give_up();
      return false;
    }
    if (seen_ >= flooded_window) {
      // Who waits for verdicts comes more slowly when they do: then the pauses are what slows it down.
      if (next_window() > apart_ + apart_ / 4) {
        give_up();
        return false;
      }
      ++good_windows_;
    }
    return received < full;
  }
  if (seen_ < window) return false;
  apart_ = next_window();
  if (skipped_ > 0) {
    --skipped_;
    return false;
  }
  if (apart_ > flood || longest > apart_ * static_cast<std::int64_t>(capacity_ / 2)) return false;
  flooded_ = true;
  good_windows_ = 0;
  return received < full;
}

std::chrono::nanoseconds pacer::next_window() noexcept {
  const auto now = now_();
  const auto each = (now - begin_) / static_cast<std::int64_t>(seen_);
  begin_ = now;
  seen_ = 0;
  return each;
}

void pacer::give_up() noexcept {
  constexpr std::size_t enough = 4, few = 8;
  flooded_ = false;
  seen_ = 0;
  begin_ = now_();
  skip_next_ = good_windows_ >= enough ? few : std::min(2 * skip_next_, most_windows_skipped);
  skipped_ = skip_next_;
}

}  // namespace ipq::queues
