// SPDX-License-Identifier: MIT
// The two headers that every request to nfnetlink_queue begins with.
#pragma once

#include <libmnl/libmnl.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "wire/bytes.hpp"
#include "wire/constants.hpp"

namespace ipq::wire {

struct request_header {
  message_type type;
  std::uint16_t queue = 0;
  bool acknowledge = false;
  std::uint32_t sequence = 0;
  std::uint32_t port_id = 0;
};

/// Writes struct nlmsghdr and struct nfgenmsg; attributes go behind them with mnl_attr_put. `at` is 4-aligned and has
/// room for 20 bytes.
inline nlmsghdr* put_header(std::byte* at, const request_header& fields) noexcept {
  // By hand, as the verdict itself: nearly every packet gets one, and libmnl's calls cost as much as its 32 bytes.
  store(at, static_cast<std::uint32_t>(nlmsg_header_size + nfgen_size));
  store(at + 4, std::uint16_t{fields.type});
  store(at + 6, static_cast<std::uint16_t>(flag_request | (fields.acknowledge ? flag_ack : 0)));
  store(at + 8, fields.sequence);
  store(at + 12, fields.port_id);
  store(at + 16, std::uint16_t{0});  // family and version
  store_be<std::uint16_t>(at + 18, fields.queue);
  return reinterpret_cast<nlmsghdr*>(at);
}

/// mnl_attr_put, but what pads the value is zero: up to libmnl 1.0.4 it is what was in memory.
inline void put_padded(nlmsghdr* header, std::uint16_t type, std::span<const std::byte> value) noexcept {
  auto* at = static_cast<std::byte*>(mnl_nlmsg_get_payload_tail(header)) + attribute_header_size;
  std::memset(at + value.size(), 0, align(value.size()) - value.size());
  mnl_attr_put(header, type, value.size(), value.data());
}

}  // namespace ipq::wire
