// SPDX-License-Identifier: MIT
#include "wire/packet.hpp"

#include <algorithm>
#include <cstring>

#include "wire/bytes.hpp"

namespace ipq::wire {
namespace {

template <class Field>
void read_be32(bytes value, Field& field) noexcept {
  if (value.size() >= 4) field = load_be<std::uint32_t>(value.data());
}

void read_hw_addr(bytes value, packet& into) noexcept {
  // struct nfqnl_msg_packet_hw: be16 length, two bytes of padding, eight of address.
  if (value.size() < 4) return;
  const std::size_t said = load_be<std::uint16_t>(value.data());
  const std::size_t length = std::min({said, value.size() - 4, into.hw_addr.size()});
  into.hw_addr = {};
  std::memcpy(into.hw_addr.data(), value.data() + 4, length);
  into.hw_addr_length = static_cast<std::uint8_t>(length);
}

void read_timestamp(bytes value, packet& into) noexcept {
  // struct nfqnl_msg_packet_timestamp: be64 seconds, be64 microseconds.
  if (value.size() < 16) return;
  const auto microseconds = load_be<std::uint64_t>(value.data() + 8);
  if (microseconds >= 1'000'000) return;
  into.timestamp = packet_time{static_cast<std::int64_t>(load_be<std::uint64_t>(value.data())),
                               static_cast<std::int64_t>(microseconds)};
}

void read_vlan(bytes nested, packet& into) noexcept {
  vlan_tag tag{};
  bool has_tci = false;
  for (attribute found; next_attribute(nested, found);) {
    if (found.value.size() < 2) continue;
    const auto number = load_be<std::uint16_t>(found.value.data());
    if (found.type == vlan_protocol) tag.protocol = number;
    if (found.type == vlan_tci) {
      tag.tci = number;
      has_tci = true;
    }
  }
  if (has_tci) into.vlan = tag;
}

void read_skb_info(bytes value, packet& into) noexcept {
  if (value.size() < 4) return;
  const auto flags = load_be<std::uint32_t>(value.data());
  into.checksum_not_ready = flags & skb_checksum_not_ready;
  into.checksum_not_verified = flags & skb_checksum_not_verified;
  into.gso = flags & skb_gso;
}

}  // namespace

bool parse_packet(const message& received, packet& into) noexcept {
  clear(into);  // as packet{} is: all of it is zero
  if (received.type != message_packet || received.body.size() < nfgen_size) return false;
  into.family = std::to_integer<std::uint8_t>(received.body[0]);
  into.queue = load_be<std::uint16_t>(received.body.data() + 2);

  bool has_id = false;
  std::uint32_t whole_length = 0;
  bytes attributes = received.body.subspan(nfgen_size);
  // Not the one that returns an optional: GCC moves that through memory, which doubles the time.
  for (attribute found; next_attribute(attributes, found);) {
    const bytes value = found.value;
    switch (found.type) {
      case attribute_packet_hdr:  // be32 id, be16 hw_protocol, u8 hook: packed, 7 bytes
        if (value.size() < 7) break;
        into.id = load_be<std::uint32_t>(value.data());
        into.hw_protocol = load_be<std::uint16_t>(value.data() + 4);
        into.hook = std::to_integer<std::uint8_t>(value[6]);
        has_id = true;
        break;
      case attribute_mark:
        read_be32(value, into.mark);
        break;
      case attribute_priority:
        read_be32(value, into.priority);
        break;
      case attribute_indev:
        read_be32(value, into.indev);
        break;
      case attribute_outdev:
        read_be32(value, into.outdev);
        break;
      case attribute_physindev:
        read_be32(value, into.physindev);
        break;
      case attribute_physoutdev:
        read_be32(value, into.physoutdev);
        break;
      case attribute_hwaddr:
        read_hw_addr(value, into);
        break;
      case attribute_timestamp:
        read_timestamp(value, into);
        break;
      case attribute_uid:
        read_be32(value, into.uid);
        break;
      case attribute_gid:
        read_be32(value, into.gid);
        break;
      case attribute_cgroup_classid:
        read_be32(value, into.cgroup_classid);
        break;
      case attribute_secctx:
        into.security_context = std::string_view(reinterpret_cast<const char*>(value.data()), value.size());
        break;
      case attribute_vlan:
        read_vlan(value, into);
        break;
      case attribute_l2hdr:
        into.l2_header = value;
        break;
      case attribute_ct:
        into.conntrack = value;
        break;
      case attribute_ct_info:
        read_be32(value, into.conntrack_info);
        break;
      case attribute_cap_len:
        read_be32(value, whole_length);
        break;
      case attribute_skb_info:
        read_skb_info(value, into);
        break;
      case attribute_payload:
        into.payload = value;
        break;
      default:
        break;
    }
  }
  into.original_length = std::max(whole_length, static_cast<std::uint32_t>(into.payload.size()));
  into.truncated = into.original_length > into.payload.size();
  return has_id;
}

std::optional<packet> parse_packet(const message& received) noexcept {
  // One object on every way out: it is built where the caller wants it, and not copied there.
  std::optional<packet> parsed(std::in_place);
  if (!parse_packet(received, *parsed)) parsed.reset();
  return parsed;
}

std::span<std::byte> trim_payload(std::span<std::byte> datagram, const packet& parsed, std::size_t length) noexcept {
  if (parsed.payload.size() <= length) return datagram;
  const auto at = static_cast<std::size_t>(parsed.payload.data() - datagram.data());
  if (align(at + parsed.payload.size()) < datagram.size()) return datagram;
  const std::size_t left = at + length;
  store(datagram.data(), static_cast<std::uint32_t>(left));  // nlmsg_len
  store(datagram.data() + at - attribute_header_size, static_cast<std::uint16_t>(attribute_header_size + length));
  return datagram.first(left);
}

}  // namespace ipq::wire
