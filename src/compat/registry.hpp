// SPDX-License-Identifier: MIT
// The handles of this process: one of each family at most, which share a queue where they name the same.
#pragma once

#include <cstdint>

#include "compat/handle.hpp"
#include "netlink/socket.hpp"

namespace ipq::compat {

/// nullptr, with the thread's error and errno as ipq_create_handle(3) says. The environment is read here.
[[nodiscard]] handle* create_handle(std::uint32_t flags, std::uint32_t protocol, const netlink::socket_source& source,
                                    environment look_up) noexcept;

void destroy_handle(handle* destroyed) noexcept;

/// 0, or -1 with the error set.
int set_queue(handle& changed, unsigned int number);

}  // namespace ipq::compat
