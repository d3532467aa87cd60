// SPDX-License-Identifier: MIT
// A request and its acknowledgement, on a socket to which packets keep coming.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ipq/error.hpp"
#include "netlink/socket.hpp"

namespace ipq::netlink {

/// Datagrams that came while something else was awaited, in the order of arrival.
using stash = std::vector<std::vector<std::byte>>;

/// Sends a request that asks for an acknowledgement and waits for the one with its type and sequence number. Every
/// other datagram goes to `others`, which the reader has to serve before it receives again. Errors: the kernel's
/// answer; ETIMEDOUT, since an overrun can swallow an acknowledgement; ECONNRESET if the socket ends; those of sending
/// and receiving. A signal does not end it.
result<void> execute(const socket& connection, std::span<const std::byte> request, std::uint32_t sequence,
                     const char* operation, std::chrono::steady_clock::time_point deadline, stash& others);

}  // namespace ipq::netlink
