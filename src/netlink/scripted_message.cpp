// SPDX-License-Identifier: MIT
#include "netlink/scripted_message.hpp"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <concepts>
#include <span>

#include "wire/bytes.hpp"
#include "wire/constants.hpp"

namespace ipq::netlink {
namespace {

/// Appends to a message that is being written.
class writer {
 public:
  writer(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence, std::uint32_t port_id) {
    host<std::uint32_t>(0).host(type).host(flags).host(sequence).host(port_id);
  }

  template <std::unsigned_integral T>
  writer& host(T value) {
    return raw(std::as_bytes(std::span(&value, 1)));
  }
  template <std::unsigned_integral T>
  writer& big(T value) {
    return host(wire::big_endian(value));
  }
  writer& raw(std::span<const std::byte> more) {
    bytes_.insert(bytes_.end(), more.begin(), more.end());
    return *this;
  }
  /// The header of an attribute whose value of `length` bytes comes next.
  writer& attribute(std::uint16_t type, std::size_t length) {
    bytes_.resize(wire::align(bytes_.size()));
    return host(static_cast<std::uint16_t>(wire::attribute_header_size + length)).host(type);
  }
  writer& number(std::uint16_t type, std::uint32_t value) { return attribute(type, 4).big(value); }
  writer& number_unless_0(std::uint16_t type, std::uint32_t value) { return value == 0 ? *this : number(type, value); }
  writer& view(std::uint16_t type, std::span<const std::byte> value) {
    return value.empty() ? *this : attribute(type, value.size()).raw(value);
  }

  byte_vector done() {
    wire::store(bytes_.data(), static_cast<std::uint32_t>(bytes_.size()));
    return std::move(bytes_);
  }

 private:
  byte_vector bytes_;
};

}  // namespace

byte_vector write_packet(const packet& from, std::uint32_t id, const scripted_queue& queue) {
  writer to(wire::message_packet, 0, 0, 0);
  to.host(from.family).host(std::uint8_t{0}).big(from.queue);
  to.attribute(wire::attribute_packet_hdr, 7).big(id).big(from.hw_protocol).host(from.hook);
  to.number_unless_0(wire::attribute_indev, from.indev).number_unless_0(wire::attribute_physindev, from.physindev);
  to.number_unless_0(wire::attribute_outdev, from.outdev).number_unless_0(wire::attribute_physoutdev, from.physoutdev);
  to.number_unless_0(wire::attribute_mark, from.mark).number_unless_0(wire::attribute_priority, from.priority);
  if (from.hw_addr_length != 0) {
    to.attribute(wire::attribute_hwaddr, 12).big(std::uint16_t{from.hw_addr_length}).big(std::uint16_t{0});
    to.raw(std::as_bytes(std::span(from.hw_addr)));
  }
  if (from.vlan) {
    to.attribute(wire::attribute_vlan | NLA_F_NESTED, 16);
    to.attribute(wire::vlan_tci, 2).big(from.vlan->tci).attribute(wire::vlan_protocol, 2).big(from.vlan->protocol);
    to.big(std::uint16_t{0});
  }
  to.view(wire::attribute_l2hdr, from.l2_header);
  if (from.timestamp) {
    to.attribute(wire::attribute_timestamp, 16).big(static_cast<std::uint64_t>(from.timestamp->seconds));
    to.big(static_cast<std::uint64_t>(from.timestamp->microseconds));
  }
  if (queue.flags & wire::queue_uid_gid) {
    if (from.uid) to.number(wire::attribute_uid, *from.uid);
    if (from.gid) to.number(wire::attribute_gid, *from.gid);
  }
  if (from.cgroup_classid) to.number(wire::attribute_cgroup_classid, *from.cgroup_classid);
  if (queue.flags & wire::queue_secctx)
    to.view(wire::attribute_secctx, std::as_bytes(std::span(from.security_context)));
  if (queue.flags & wire::queue_conntrack) {
    to.view(wire::attribute_ct | NLA_F_NESTED, from.conntrack);
    if (from.conntrack_info) to.number(wire::attribute_ct_info, *from.conntrack_info);
  }
  const bool copies = queue.copy_mode == static_cast<std::uint8_t>(wire::copy_mode::packet);
  const auto copied = from.payload.first(copies ? std::min<std::size_t>(from.payload.size(), queue.copy_range) : 0);
  const auto whole = std::max(from.original_length, static_cast<std::uint32_t>(from.payload.size()));
  if (copies && copied.size() < whole) to.number(wire::attribute_cap_len, whole);
  to.number_unless_0(wire::attribute_skb_info, (from.checksum_not_ready ? wire::skb_checksum_not_ready : 0u) |
                                                   (from.gso ? wire::skb_gso : 0u) |
                                                   (from.checksum_not_verified ? wire::skb_checksum_not_verified : 0u));
  if (copies) to.attribute(wire::attribute_payload, copied.size()).raw(copied);
  return to.done();
}

byte_vector write_link(std::uint16_t message, std::uint32_t sequence, std::uint32_t port_id, std::uint32_t index,
                       const scripted_link& what) {
  ifinfomsg header{};
  header.ifi_type = what.type;
  header.ifi_index = static_cast<int>(index);
  writer to(message, 0, sequence, port_id);
  to.raw(std::as_bytes(std::span(&header, 1)));
  to.attribute(IFLA_IFNAME, what.name.size() + 1)
      .raw(std::as_bytes(std::span(what.name.c_str(), what.name.size() + 1)));
  return to.done();
}

byte_vector write_answer(const scripted_request& request, std::uint32_t port_id, int error) {
  writer to(wire::message_error, wire::flag_capped, request.sequence, port_id);
  to.host(static_cast<std::uint32_t>(-error)).raw(std::span(request.bytes).first(wire::nlmsg_header_size));
  return to.done();
}

}  // namespace ipq::netlink
