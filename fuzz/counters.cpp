// SPDX-License-Identifier: MIT
// The text of /proc/net/netfilter/nfnetlink_queue, in any form: what is understood is written again and read again. And
// as that of /proc/net/netlink: a link is a whole one, or none.
#include "netlink/counters.hpp"

#include <string>

#include "input.hpp"
#include "netlink/owner.hpp"

namespace {

using namespace ipq;
using fuzz::require;

std::string line_of(const netlink::queue_counters& of) {
  std::string text;
  for (const std::uint64_t number :
       {std::uint64_t{of.queue}, std::uint64_t{of.port_id}, std::uint64_t{of.waiting}, std::uint64_t{of.copy_mode},
        std::uint64_t{of.copy_range}, std::uint64_t{of.dropped}, std::uint64_t{of.user_dropped},
        std::uint64_t{of.last_id}}) {
    text.append(std::to_string(number)).append(" ");
  }
  return text.append("1\n");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto queues = netlink::parse_queue_counters(text);
  require(queues.size() <= static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1);
  std::string again;
  for (const auto& queue : queues) again += line_of(queue);
  const auto read = netlink::parse_queue_counters(again);
  require(read.size() == queues.size());
  for (std::size_t i = 0; i < read.size(); ++i) require(line_of(read[i]) == line_of(queues[i]));
  constexpr std::uint32_t port_ids[]{812, 0};
  const auto links = netlink::parse_socket_links(text, port_ids);
  require(links.size() == 2);
  for (const std::string& link : links) {
    require(link.empty() || (link.starts_with("socket:[") && link.ends_with("]") && link.size() <= text.size() + 9));
    require(link.find_first_of(" \n") == std::string::npos);
  }
  return 0;
}
