// SPDX-License-Identifier: MIT
// Other network namespaces than the caller's: found by name or socket, and entered without moving the caller.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "ipq/error.hpp"
#include "netlink/descriptor.hpp"
#include "netlink/socket.hpp"

namespace ipq::netlink {

/// `where` is a name of ip-netns(8), which is a file in /run/netns, or if it has a slash a path as /proc/PID/ns/net.
/// Whether it is one shows when it is entered. Errors: those of open(2); EINVAL `where` has a NUL.
[[nodiscard]] result<descriptor> open_network_namespace(const std::string& where) noexcept;

/// A duplicate of the descriptor. Errors: EBADF.
[[nodiscard]] result<descriptor> duplicate_network_namespace(int fd) noexcept;

/// The namespace that a socket is in. Errors: EPERM without CAP_NET_ADMIN there.
[[nodiscard]] result<descriptor> network_namespace_of(const socket& which) noexcept;

/// Runs `what`, which must not throw, in a namespace and returns when it has ended: at once if the caller is there, or
/// else on a thread of its own with all signals blocked, so that the caller is nowhere else if something fails. Errors:
/// EINVAL it is no network namespace; EPERM without CAP_SYS_ADMIN; those of pthread_create(3).
result<void> run_inside(const descriptor& network_namespace, const std::function<void()>& what) noexcept;

/// Opens a socket where another one is, also when the calling thread has gone to another namespace since. Before Linux
/// 5.14, which does not tell where a socket is, where the thread is. Errors: those of `source`; EXDEV the thread is
/// elsewhere and may not go there.
[[nodiscard]] result<socket> open_beside(const socket& neighbour, const socket_source& source, int protocol,
                                         std::uint32_t groups) noexcept;

}  // namespace ipq::netlink
