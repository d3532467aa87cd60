// SPDX-License-Identifier: MIT
// Who may use queues, and who uses one: what the kernel's EPERM leaves open.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ipq/error.hpp"
#include "netlink/socket.hpp"

namespace ipq::netlink {

/// Asks the kernel whether the caller may configure queues in this network namespace, by a request that changes
/// nothing (PF_BIND, a no-op since Linux 3.8, acknowledged). It follows the owner of the namespace, which a look at the
/// capability sets does not. Errors: EPERM the right is missing; ENOSYS the kernel has no nfnetlink_queue; others of
/// opening and using a socket.
[[nodiscard]] result<void> probe_queue_access(const socket_source& source);

struct queue_owner {
  std::uint32_t port_id = 0;
  int pid = 0;          ///< 0 where the process can't be told
  std::string command;  ///< the process's name, "?" for what is no printable ASCII; "" where it can't be told
};

/// The process whose socket owns the queue: /proc/net/netfilter/nfnetlink_queue gives the port id (readable by the
/// global root), /proc/net/netlink its socket, /proc/PID/fd the process. nullopt where the first can't be read or the
/// queue is free. Slow: for error messages.
[[nodiscard]] std::optional<queue_owner> find_queue_owner(std::uint16_t queue);

/// For each port id the link in /proc/PID/fd, as "socket:[4711]", of the netfilter socket that has it; "" where there
/// is none. `text` is that of /proc/net/netlink; lines of another form are passed over.
[[nodiscard]] std::vector<std::string> parse_socket_links(std::string_view text,
                                                          std::span<const std::uint32_t> port_ids);

/// The owners of these netfilter sockets, in the same order, by one walk through /proc.
[[nodiscard]] std::vector<queue_owner> find_socket_owners(std::span<const std::uint32_t> port_ids);

}  // namespace ipq::netlink
