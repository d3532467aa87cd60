// SPDX-License-Identifier: MIT
// The messages of ip_queue, written into the program's buffer. Pure: no system calls, no state.
#pragma once

#include <libipq/libipq.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "compat/request_note.hpp"
#include "ipq/packet.hpp"
#include "netlink/interfaces.hpp"
#include "wire/bytes.hpp"

namespace ipq::compat {

/// Smallest buffer that ipq_read takes, and the least that `into` below holds: struct nlmsgerr.
inline constexpr std::size_t min_read_buffer = 20;

/// What programs of 2001 were compiled for; the tests check the rest.
static_assert(sizeof(ipq_packet_msg_t) == 96 || sizeof(long) != 8);

/// What libipq sent, and the functions return. For a mode a header that counted itself twice, so the last 16 bytes were
/// empty.
inline constexpr std::size_t verdict_request_size = sizeof(nlmsghdr) + sizeof(ipq_verdict_msg_t);
inline constexpr std::size_t mode_request_size = 2 * sizeof(nlmsghdr) + sizeof(ipq_peer_msg_t);
static_assert((verdict_request_size == 40 && mode_request_size == 56) || sizeof(long) != 8);
static_assert((verdict_request_size == 28 && mode_request_size == 44) || sizeof(long) != 4);

/// The message up to the payload, at any address: programs' buffers are bytes.
struct [[gnu::packed, gnu::may_alias]] packet_head {
  nlmsghdr header;
  ipq_packet_msg_t packet;
};
static_assert(sizeof(packet_head) == sizeof(nlmsghdr) + sizeof(ipq_packet_msg_t), "no padding between them");

/// `find`(index, name) writes the name of an interface and returns its ARPHRD_* type.
template <class Find>
[[gnu::always_inline]] inline void write_head(packet_head& message, const packet& queued, Find&& find,
                                              std::size_t length) {
  wire::clear(message);
  message.header.nlmsg_len = static_cast<std::uint32_t>(length);
  message.header.nlmsg_type = IPQM_PACKET;
  message.packet.packet_id = queued.id;
  message.packet.mark = queued.mark;
  if (queued.timestamp) {
    message.packet.timestamp_sec = static_cast<long>(queued.timestamp->seconds);
    message.packet.timestamp_usec = static_cast<long>(queued.timestamp->microseconds);
  }
  message.packet.hook = queued.hook;
  message.packet.hw_protocol = wire::big_endian(queued.hw_protocol);
  if (queued.indev != 0) {
    message.packet.hw_type = find(queued.indev, netlink::name_room(&message.packet.indev_name[0], IFNAMSIZ));
    message.packet.hw_addrlen = queued.hw_addr_length;
    std::memcpy(message.packet.hw_addr, queued.hw_addr.data(), sizeof message.packet.hw_addr);
  }
  if (queued.outdev != 0) find(queued.outdev, netlink::name_room(&message.packet.outdev_name[0], IFNAMSIZ));
  message.packet.data_len = queued.payload.size();
}

/// Writes IPQM_PACKET: struct nlmsghdr, ipq_packet_msg_t and the payload, padded to 4. Returns its length. Of a message
/// that is longer than `into` the beginning is written.
template <class Find>
std::size_t write_packet(const packet& queued, Find&& find, std::span<unsigned char> into) {
  constexpr std::size_t head = sizeof(packet_head);
  const std::size_t data_length = queued.payload.size();
  const std::size_t length = wire::align(head + data_length);
  if (into.size() < head) [[unlikely]] {
    packet_head message;
    write_head(message, queued, find, length);
    std::memcpy(into.data(), &message, into.size());
    return length;
  }
  write_head(*reinterpret_cast<packet_head*>(into.data()), queued, find, length);
  const auto rest = into.subspan(head);
  // The padding by one store, below what is copied then: a loop over three bytes at most becomes a call of memset.
  const std::size_t padded = length - head;
  if (padded > rest.size()) [[unlikely]] {
    std::memcpy(rest.data(), queued.payload.data(), std::min(data_length, rest.size()));
    std::fill(rest.begin() + static_cast<std::ptrdiff_t>(std::min(data_length, rest.size())), rest.end(), 0);
    return length;
  }
  if (padded != 0) {
    wire::store(reinterpret_cast<std::byte*>(rest.data()) + padded - 4, std::uint32_t{0});
    std::memcpy(rest.data(), queued.payload.data(), data_length);
  }
  return length;
}

/// Writes NLMSG_ERROR with `code`, a positive errno, and the refused request in the form of ip_queue. Returns its
/// length, 20 more than the request's (60 for a verdict and 76 for a mode where a long has 8 bytes); of a longer
/// message than `into` the beginning is written.
[[gnu::cold]] std::size_t write_refusal(int code, const request_note& request, std::uint32_t port_id,
                                        std::span<unsigned char> into) noexcept;

/// Writes the kernel's own NLMSG_ERROR, which parse_error knows, without what has been added to it since ip_queue:
/// the answer to a request that the program has written itself. Returns its length, 36.
[[gnu::cold]] std::size_t write_answer(std::span<const std::byte> answer, std::span<unsigned char> into) noexcept;

}  // namespace ipq::compat
