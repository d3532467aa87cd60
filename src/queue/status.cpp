// SPDX-License-Identifier: MIT
#include "ipq/status.hpp"

#include <algorithm>
#include <cerrno>

#include "netlink/counters.hpp"
#include "netlink/owner.hpp"
#include "netlink/socket.hpp"

namespace ipq {

result<std::vector<queue_status>> read_queue_status() {
  auto counted = netlink::read_queue_counters();
  if (!counted && counted.error().is(ENOENT)) {
    auto missing = failed("read queues", ENOSYS);
    missing.error().advice = "the kernel has no nfnetlink_queue, or not yet: modprobe nfnetlink_queue";
    return missing;
  }
  if (!counted && counted.error().is(EACCES)) {
    auto refused = failed("read queues", EACCES);
    refused.error().advice = "the kernel shows its counters to root outside of user namespaces alone";
    return refused;
  }
  if (!counted) return std::unexpected(counted.error());
  std::vector<std::uint32_t> port_ids;
  for (const auto& each : *counted) port_ids.push_back(each.port_id);
  const auto owners = netlink::find_socket_owners(port_ids);

  std::vector<queue_status> queues;
  for (std::size_t i = 0; i < counted->size(); ++i) {
    const auto& each = (*counted)[i];
    queues.push_back({.number = each.queue,
                      .port_id = each.port_id,
                      .pid = owners[i].pid,
                      .command = owners[i].command,
                      .mode = static_cast<queue_status::copy_mode>(each.copy_mode),
                      .copy_range = each.copy_range,
                      .waiting = each.waiting,
                      .lost_queue_full = each.dropped,
                      .lost_no_buffer = each.user_dropped,
                      .last_id = each.last_id});
  }
  std::ranges::sort(queues, {}, &queue_status::number);
  return queues;
}

result<void> check_queue_access() {
  auto access = netlink::probe_queue_access(netlink::kernel());
  if (access) return access;
  if (access.error().is(EPERM)) access.error().advice = "CAP_NET_ADMIN is missing in this network namespace";
  if (access.error().is(ENOSYS)) access.error().advice = "the kernel has no nfnetlink_queue: modprobe nfnetlink_queue";
  return access;
}

}  // namespace ipq
