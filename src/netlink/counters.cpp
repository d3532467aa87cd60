// SPDX-License-Identifier: MIT
#include "netlink/counters.hpp"

#include <array>
#include <charconv>
#include <cstddef>
#include <optional>

#include "netlink/proc.hpp"

namespace ipq::netlink {
namespace {

template <std::size_t Count>
std::optional<std::array<std::uint32_t, Count>> parse_numbers(std::string_view line) {
  std::array<std::uint32_t, Count> numbers{};
  const char* at = line.data();
  const char* const end = at + line.size();
  for (auto& number : numbers) {
    while (at != end && *at == ' ') ++at;
    const auto [next, error] = std::from_chars(at, end, number);
    if (error != std::errc{}) return std::nullopt;
    at = next;
  }
  if (at != end && *at != ' ') return std::nullopt;
  return numbers;
}

}  // namespace

std::vector<queue_counters> parse_queue_counters(std::string_view text) {
  std::vector<queue_counters> queues;
  for_each_line(text, [&](std::string_view line) {
    const auto numbers = parse_numbers<8>(line);
    if (!numbers) return;
    const auto [queue, port_id, waiting, mode, range, dropped, user_dropped, last_id] = *numbers;
    if (queue > 0xffff || mode > 0xff) return;
    queues.push_back({static_cast<std::uint16_t>(queue), port_id, waiting, static_cast<std::uint8_t>(mode), range,
                      dropped, user_dropped, last_id});
  });
  return queues;
}

result<std::vector<queue_counters>> read_queue_counters() {
  const auto text = read_proc_file("/proc/thread-self/net/netfilter/nfnetlink_queue");
  if (!text) return std::unexpected(text.error());
  return parse_queue_counters(*text);
}

}  // namespace ipq::netlink
