// SPDX-License-Identifier: MIT
// How a queue comes to its socket: bound in this network namespace or another, or taken over together with its queue.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "ipq/error.hpp"
#include "ipq/queue.hpp"
#include "netlink/capability.hpp"
#include "netlink/counters.hpp"
#include "netlink/request.hpp"
#include "netlink/socket.hpp"

namespace ipq::queues {

struct binding {
  netlink::socket socket;
  std::optional<netlink::counters_file> counters = {};  ///< of the socket's namespace; nullopt where they are not shown
  bool had_owner = false;                               ///< packets may wait that somebody else has received
  netlink::stash unread = {};                           ///< what came before the answer to adopt_queue
};

/// Bytes of the largest message that a queue with these options can send.
[[nodiscard]] std::size_t largest_message(const queue_options& options) noexcept;

/// Lets `packets` wait instead of options.max_length, in the queue that the socket has. Errors: EPERM; those of
/// send(2).
[[nodiscard]] result<void> change_max_length(const netlink::socket& connection, const netlink::net_admin_right& right,
                                             const queue_options& options, std::uint32_t packets);

/// From now on every packet passes the queue that the socket has, as if that were full and failed open. Errors: those
/// of send(2); the kernel's refusals are not waited for.
[[nodiscard]] result<void> let_all_pass(const netlink::socket& connection, std::uint16_t queue);

/// How queues are made, of live sockets and in tests of scripted ones.
struct maker {
  /// Errors: those of setsockopt(2), ENOMEM.
  [[nodiscard]] static result<queue> make(binding&& of, const queue_options& options);
};

/// Errors: as queue::open.
[[nodiscard]] result<binding> bind_queue(const queue_options& options);

/// Errors: as queue::adopt. `fd` stays the caller's; the binding has a duplicate.
[[nodiscard]] result<binding> adopt_queue(int fd, const queue_options& options);

}  // namespace ipq::queues
