// SPDX-License-Identifier: MIT
// What the kernel tells of the queues of a network namespace, whoever owns them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ipq/error.hpp"

namespace ipq {

/// A queue that somebody listens to.
struct queue_status {
  enum class copy_mode : std::uint8_t { none = 0, metadata = 1, packet = 2 };

  std::uint16_t number = 0;
  std::uint32_t port_id = 0;  ///< netlink address of the socket that owns the queue
  int pid = 0;                ///< the process that has this socket; 0 where it can't be told
  std::string command =
      {};  ///< its name, at most 15 characters, "?" for what is no printable ASCII; "" where it can't be told
  copy_mode mode = copy_mode::none;   ///< what the owner gets of a packet; with none, all packets are dropped
  std::uint32_t copy_range = 0;       ///< bytes of each packet, in copy mode packet
  std::uint32_t waiting = 0;          ///< packets that wait for a verdict
  std::uint32_t lost_queue_full = 0;  ///< dropped, since too many were waiting (32 bits, wraps, as all of these)
  std::uint32_t lost_no_buffer = 0;   ///< dropped, since the owner's receive buffer was full
  std::uint32_t last_id = 0;          ///< of the packet queued last: how many came so far
};

/// All queues of the calling thread's network namespace that have an owner, by number. A process is told where the
/// caller may look at its descriptors and both are in one pid namespace; looking goes through all of /proc once.
/// Errors: EACCES, the counters are shown to root outside of user namespaces alone; ENOSYS, the kernel has no
/// nfnetlink_queue, or its module is not loaded; others of open(2) and read(2).
[[nodiscard]] result<std::vector<queue_status>> read_queue_status();

/// Whether the caller may open queues in the network namespace of its thread. Changes nothing; may make the kernel
/// load nfnetlink_queue. Errors: EPERM, CAP_NET_ADMIN is missing; ENOSYS, the kernel has no nfnetlink_queue; those of
/// socket(2).
[[nodiscard]] result<void> check_queue_access();

}  // namespace ipq
