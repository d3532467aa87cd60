// SPDX-License-Identifier: MIT
// The messages of ip_queue, written into the program's buffer. Pure: no system calls, no state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "compat/request_note.hpp"
#include "ipq/packet.hpp"
#include "netlink/interfaces.hpp"

namespace ipq::compat {

/// Smallest buffer that ipq_read takes, and the least that `into` below holds: struct nlmsgerr.
inline constexpr std::size_t min_read_buffer = 20;

/// Writes IPQM_PACKET: struct nlmsghdr, ipq_packet_msg_t and the payload, padded to 4. Returns its length. Of a message
/// that is longer than `into` the beginning is written.
[[gnu::hot]] std::size_t write_packet(const packet& queued, const netlink::interface& indev,
                                      const netlink::interface& outdev, std::span<unsigned char> into) noexcept;

/// Writes NLMSG_ERROR with `code`, a positive errno, and the refused request in the form of ip_queue. Returns its
/// length, 60 for a verdict and 76 for a mode; of a longer message than `into` the beginning is written.
[[gnu::cold]] std::size_t write_refusal(int code, const request_note& request, std::uint32_t port_id,
                                        std::span<unsigned char> into) noexcept;

}  // namespace ipq::compat
