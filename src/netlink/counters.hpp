// SPDX-License-Identifier: MIT
// What the kernel counts per queue.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "ipq/error.hpp"
#include "netlink/descriptor.hpp"

namespace ipq::netlink {

/// A line of /proc/net/netfilter/nfnetlink_queue (nfnetlink_queue.c, seq_show).
struct queue_counters {
  std::uint16_t queue = 0;
  std::uint32_t port_id = 0;  ///< of the socket that owns the queue
  std::uint32_t waiting = 0;  ///< packets that wait for a verdict, read or not
  std::uint8_t copy_mode = 0;
  std::uint32_t copy_range = 0;    ///< bytes
  std::uint32_t dropped = 0;       ///< the queue was full
  std::uint32_t user_dropped = 0;  ///< the receive buffer was full
  std::uint32_t last_id = 0;       ///< of the packet queued last
};

/// All queues of the calling thread's network namespace. Errors: EACCES for everybody but the global root and its
/// group, ENOENT where the kernel has no nfnetlink_queue.
[[nodiscard]] result<std::vector<queue_counters>> read_queue_counters();

/// The same file kept open: it goes on to show the network namespace of the thread that opened it, also after the
/// process has given up the right to open it.
class counters_file {
 public:
  [[nodiscard]] static result<counters_file> open();
  /// Errors: those of pread(2).
  [[nodiscard]] result<std::vector<queue_counters>> read() const;

 private:
  explicit counters_file(descriptor&& opened) noexcept : file_(std::move(opened)) {}
  descriptor file_;
};

/// The lines of that file; one that is not understood is passed over.
[[nodiscard]] std::vector<queue_counters> parse_queue_counters(std::string_view text);

}  // namespace ipq::netlink
