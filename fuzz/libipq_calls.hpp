// SPDX-License-Identifier: MIT
// What a program does with a handle of libipq, and what holds of every message that it gets.
#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "compat/registry.hpp"
#include "compat/translate.hpp"
#include "input.hpp"

namespace fuzz {

struct destroyer {
  void operator()(ipq::compat::handle* h) const { ipq::compat::destroy_handle(h); }
};
using owned_handle = std::unique_ptr<ipq::compat::handle, destroyer>;

/// Any mode, valid or not.
inline void set_mode(input& from, ipq::compat::handle& of) {
  const std::uint8_t mode = from.byte() % 4;
  require(of.set_mode(mode, from.take<std::uint16_t>()) == 56);
}

/// Reads into a buffer of this size, without waiting. The id of a packet.
inline std::optional<std::uint32_t> read_message(ipq::compat::handle& from, std::size_t size) {
  constexpr int at_once = -1;
  constexpr unsigned char untouched = 0xa5;
  std::vector<unsigned char> buffer(size + 16, untouched);
  const ssize_t length = from.read(std::span(buffer).first(size), at_once);
  for (std::size_t at = size; at < buffer.size(); ++at) require(buffer[at] == untouched);
  if (size < ipq::compat::min_read_buffer) require(length == -1);
  if (length <= 0) return std::nullopt;
  require(static_cast<std::size_t>(length) <= size);
  nlmsghdr header;
  std::memcpy(&header, buffer.data(), sizeof header);
  require(header.nlmsg_len == static_cast<std::uint32_t>(length));
  if (ipq_message_type(buffer.data()) == NLMSG_ERROR) {
    require(ipq_get_msgerr(buffer.data()) >= 0 && ipq_get_msgerr(buffer.data()) <= 4095);
    return std::nullopt;
  }
  require(ipq_message_type(buffer.data()) == IPQM_PACKET);
  const ipq_packet_msg_t& got = *ipq_get_packet(buffer.data());
  require(sizeof header + sizeof got + got.data_len <= static_cast<std::size_t>(length));
  require(got.hw_addrlen <= sizeof got.hw_addr);
  return static_cast<std::uint32_t>(got.packet_id);
}

/// Any verdict, on the last packet or any other.
inline void give_verdict(input& from, ipq::compat::handle& to, std::uint32_t last_id) {
  const std::uint32_t id = from.flag() ? last_id : from.take<std::uint32_t>();
  const unsigned value = from.flag() ? from.byte() % 6 : from.take<std::uint32_t>();
  const std::optional<std::uint32_t> mark = from.flag() ? std::optional(from.take<std::uint32_t>()) : std::nullopt;
  const bytes data = from.take(from.byte());
  const auto* raw = reinterpret_cast<const unsigned char*>(data.data());
  const int sent = to.set_verdict(id, value, mark, data.size(), data.empty() ? nullptr : raw);
  require(sent == static_cast<int>(40 + data.size()));
}

}  // namespace fuzz
