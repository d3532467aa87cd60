// SPDX-License-Identifier: MIT
// A packet message of the kernel becomes an ipq::packet.
#pragma once

#include <optional>

#include "ipq/packet.hpp"
#include "wire/message.hpp"

namespace ipq::wire {

/// Decodes a packet message (nfnetlink_queue.c, nfqnl_build_packet_message). Attributes that are unknown or too short
/// are passed over, as is a time that is none; of two alike the second counts. nullopt if it is no packet message or
/// has no id: nothing could be answered to it. The views of the packet point into `received`.
[[nodiscard]] std::optional<packet> parse_packet(const message& received) noexcept;

/// The same, into a packet that the caller has. Whatever it held is gone, also when this returns false.
[[nodiscard, gnu::hot]] bool parse_packet(const message& received, packet& into) noexcept;

/// Shortens the packet message in `datagram` to `length` bytes of payload, as if the packet had no more. `parsed` is
/// what was parsed from it. Returns the datagram that is left: the whole of it where the payload is not longer, or not
/// the last attribute.
[[nodiscard]] std::span<std::byte> trim_payload(std::span<std::byte> datagram, const packet& parsed,
                                                std::size_t length) noexcept;

}  // namespace ipq::wire
