// SPDX-License-Identifier: MIT
#include "netlink/counters.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <optional>
#include <string>

#include "netlink/proc.hpp"

namespace ipq::netlink {
namespace {

constexpr const char* path = "/proc/thread-self/net/netfilter/nfnetlink_queue";

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
  const auto text = read_proc_file(path);
  if (!text) return std::unexpected(text.error());
  return parse_queue_counters(*text);
}

result<counters_file> counters_file::open() {
  descriptor opened(::open(path, O_RDONLY | O_CLOEXEC));
  if (!opened) return failed(path, errno);
  return counters_file(std::move(opened));
}

result<std::vector<queue_counters>> counters_file::read() const {
  std::string text;
  char part[4096];
  ssize_t length = 0;
  while ((length = ::pread(file_.fd(), part, sizeof part, static_cast<off_t>(text.size()))) > 0) {
    text.append(part, static_cast<std::size_t>(length));
  }
  if (length < 0) return failed(path, errno);
  return parse_queue_counters(text);
}

}  // namespace ipq::netlink
