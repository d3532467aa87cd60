// SPDX-License-Identifier: MIT
#include "compat/translate.hpp"

#include <libipq/libipq.h>

#include <algorithm>
#include <cstring>

#include "wire/bytes.hpp"
#include "wire/constants.hpp"

namespace ipq::compat {
namespace {

/// What programs of 2001 were compiled for; the tests check the rest.
static_assert(sizeof(ipq_packet_msg_t) == 96 || sizeof(long) != 8);

/// The message up to the payload, at any address: programs' buffers are bytes.
struct [[gnu::packed, gnu::may_alias]] packet_head {
  nlmsghdr header;
  ipq_packet_msg_t packet;
};
static_assert(sizeof(packet_head) == sizeof(nlmsghdr) + sizeof(ipq_packet_msg_t), "no padding between them");

/// As wire/packet.cpp begins a packet: what the compiler knows to be zero it would write by slower means than a copy.
constexpr packet_head empty_head{};
const packet_head* const volatile prototype = &empty_head;

void write_head(packet_head& message, const packet& queued, const netlink::interface& indev,
                const netlink::interface& outdev, std::size_t length) noexcept {
  message = *prototype;
  message.header.nlmsg_len = static_cast<std::uint32_t>(length);
  message.header.nlmsg_type = IPQM_PACKET;
  message.packet.packet_id = queued.id;
  message.packet.mark = queued.mark;
  if (queued.timestamp) {
    message.packet.timestamp_sec = static_cast<long>(queued.timestamp->seconds);
    message.packet.timestamp_usec = static_cast<long>(queued.timestamp->microseconds);
  }
  message.packet.hook = queued.hook;
  std::memcpy(message.packet.indev_name, indev.name.data(), sizeof message.packet.indev_name);
  std::memcpy(message.packet.outdev_name, outdev.name.data(), sizeof message.packet.outdev_name);
  message.packet.hw_protocol = wire::big_endian(queued.hw_protocol);
  if (queued.indev != 0) {
    message.packet.hw_type = indev.type;
    message.packet.hw_addrlen = queued.hw_addr_length;
    std::memcpy(message.packet.hw_addr, queued.hw_addr.data(), sizeof message.packet.hw_addr);
  }
  message.packet.data_len = queued.payload.size();
}

}  // namespace

std::size_t write_packet(const packet& queued, const netlink::interface& indev, const netlink::interface& outdev,
                         std::span<unsigned char> into) noexcept {
  constexpr std::size_t head = sizeof(packet_head);
  const std::size_t data_length = queued.payload.size();
  const std::size_t length = wire::align(head + data_length);
  if (into.size() < head) [[unlikely]] {
    packet_head message;
    write_head(message, queued, indev, outdev, length);
    std::memcpy(into.data(), &message, into.size());
    return length;
  }
  write_head(*reinterpret_cast<packet_head*>(into.data()), queued, indev, outdev, length);
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

std::size_t write_refusal(int code, const request_note& request, std::uint32_t port_id,
                          std::span<unsigned char> into) noexcept {
  // What libipq sent as a mode: a header that counted itself twice, so the request was 56 bytes, the last 16 empty.
  struct {
    nlmsghdr header;
    nlmsgerr error;
    unsigned char request[40];
  } message;
  std::memset(&message, 0, sizeof message);
  static_assert(sizeof message == 76);
  constexpr std::size_t verdict_length = 60;
  constexpr std::size_t request_head = sizeof(nlmsghdr);

  const std::size_t length = request.verdict ? verdict_length : sizeof message;
  message.header.nlmsg_len = static_cast<std::uint32_t>(length);
  message.header.nlmsg_type = NLMSG_ERROR;
  message.header.nlmsg_pid = port_id;
  message.error.error = -code;
  message.error.msg.nlmsg_flags = NLM_F_REQUEST;
  message.error.msg.nlmsg_pid = port_id;
  if (request.verdict) {
    ipq_verdict_msg_t verdict;
    std::memset(&verdict, 0, sizeof verdict);
    verdict.value = request.verdict->value;
    verdict.id = request.verdict->id;
    verdict.data_len = request.verdict->data_len;
    message.error.msg.nlmsg_type = IPQM_VERDICT;
    message.error.msg.nlmsg_len = static_cast<std::uint32_t>(request_head + sizeof verdict + request.verdict->data_len);
    std::memcpy(message.request, &verdict, sizeof verdict);
  } else if (request.mode) {
    ipq_mode_msg_t mode;
    std::memset(&mode, 0, sizeof mode);  // what is between its members goes out too
    mode.value = request.mode->mode;
    mode.range = request.mode->range;
    message.error.msg.nlmsg_type = IPQM_MODE;
    message.error.msg.nlmsg_len = sizeof message - sizeof message.header - sizeof message.error.error;
    std::memcpy(message.request, &mode, sizeof mode);
  }
  std::memcpy(into.data(), &message, std::min(length, into.size()));
  return length;
}

}  // namespace ipq::compat
