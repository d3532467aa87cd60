// SPDX-License-Identifier: MIT
#include "rates.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace tool {

void rate_meter::look(std::span<const ipq::queue_status> queues, std::chrono::steady_clock::time_point now) {
  std::map<std::uint16_t, counted> next;
  for (const auto& queue : queues) {
    const auto before = queues_.find(queue.number);
    if (before == queues_.end() || before->second.last.port_id != queue.port_id) {
      next.emplace(queue.number, counted{queue, now, {}});
      continue;
    }
    auto known = std::move(before->second);
    const std::chrono::duration<double> passed = now - known.at;
    if (passed.count() > 0) {
      const auto per_second = [&](std::uint32_t from, std::uint32_t to) { return (to - from) / passed.count(); };
      known.rates.packets = per_second(known.last.last_id, queue.last_id);
      known.rates.lost = per_second(known.last.lost_queue_full + known.last.lost_no_buffer,
                                    queue.lost_queue_full + queue.lost_no_buffer);
      known.rates.history.push_back(known.rates.packets);
      if (known.rates.history.size() > longest_history) known.rates.history.pop_front();
      known.last = queue;
      known.at = now;
      known.twice = true;
    }
    next.emplace(queue.number, std::move(known));
  }
  queues_ = std::move(next);
}

const queue_rates* rate_meter::of(std::uint16_t number) const {
  const auto found = queues_.find(number);
  return found == queues_.end() || !found->second.twice ? nullptr : &found->second.rates;
}

std::string sparkline(const std::deque<double>& values, std::size_t width) {
  constexpr std::array<std::string_view, 9> blocks{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const auto first = values.size() > width ? values.end() - static_cast<std::ptrdiff_t>(width) : values.begin();
  const double most = first == values.end() ? 0 : *std::max_element(first, values.end());
  std::string line;
  for (auto each = first; each != values.end(); ++each) {
    // Something is never drawn as nothing.
    const double height = most > 0 ? std::ceil(*each / most * 8) : 0;
    line += blocks[static_cast<std::size_t>(std::clamp(height, 0.0, 8.0))];
  }
  return line;
}

std::string short_number(double value) {
  for (const auto* unit : {"", "k", "M", "G"}) {
    if (value < 9.95 && *unit != '\0') return fmt::format("{:.1f}{}", value, unit);
    if (value < 99.95 && *unit == '\0') {
      return value == std::floor(value) ? fmt::format("{:.0f}", value) : fmt::format("{:.1f}", value);
    }
    if (value < 999.5) return fmt::format("{:.0f}{}", value, unit);
    value /= 1000;
  }
  return fmt::format("{:.0f}T", value);
}

}  // namespace tool
