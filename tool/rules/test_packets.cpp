// SPDX-License-Identifier: MIT
// Builds packets byte by byte.
#include "test_packets.hpp"

#include <algorithm>
#include <span>

#include "ipq/address.hpp"
#include "ipq/bytes.hpp"
#include "ipq/checksum.hpp"
#include "ipq/decode.hpp"
#include "ipq/ipv4.hpp"
#include "ipq/ipv6.hpp"

namespace ipq::tool::rules {
namespace {

std::uint16_t transport_sum(std::span<const std::byte> bytes, const layers& where) {
  const auto segment = bytes.subspan(where.transport_offset, where.end - where.transport_offset);
  const auto length = static_cast<std::uint32_t>(segment.size());
  std::uint16_t pseudo = 0;
  if (const auto ip = ipv4_view::parse(bytes)) {
    if (where.transport != ip_protocol::icmp) {
      pseudo = pseudo_header_sum(ip->source(), ip->destination(), where.transport, length);
    }
  } else if (const auto ip6 = ipv6_view::parse(bytes)) {
    pseudo = pseudo_header_sum(ip6->source(), ip6->destination(), where.transport, length);
  }
  return add_sums(pseudo, sum_bytes(segment));
}

std::size_t checksum_offset(ip_protocol protocol) {
  return protocol == ip_protocol::tcp ? 16 : protocol == ip_protocol::udp ? 6 : 2;
}

}  // namespace

std::vector<std::byte> make_bytes(const packet_plan& plan) {
  const auto source = ipv4_address::parse(plan.source);
  const std::size_t ip = source ? 20 : 40;
  const bool is_icmp = plan.protocol == ip_protocol::icmp || plan.protocol == ip_protocol::icmpv6;
  const std::size_t transport = plan.protocol == ip_protocol::tcp              ? 20
                                : plan.protocol == ip_protocol::udp || is_icmp ? 8
                                                                               : 0;
  const auto text = std::as_bytes(std::span(plan.payload));
  std::vector<std::byte> bytes(ip + transport + text.size());
  const std::span all(bytes);
  if (source) {
    bytes[0] = std::byte{0x45};
    write_be16(all, 2, static_cast<std::uint16_t>(bytes.size()));
    write_be16(all, 4, 0x1234);
    write_be16(all, 6, plan.fragment);
    bytes[8] = std::byte{plan.ttl};
    bytes[9] = static_cast<std::byte>(plan.protocol);
    std::ranges::copy(std::as_bytes(std::span(source->bytes)), bytes.begin() + 12);
    const auto destination = ipv4_address::parse(plan.destination).value();
    std::ranges::copy(std::as_bytes(std::span(destination.bytes)), bytes.begin() + 16);
    write_be16(all, 10, checksum_of(all.first(20)));
  } else {
    bytes[0] = std::byte{0x60};
    write_be16(all, 4, static_cast<std::uint16_t>(bytes.size() - 40));
    bytes[6] = static_cast<std::byte>(plan.protocol);
    bytes[7] = std::byte{plan.ttl};
    const auto from = ipv6_address::parse(plan.source).value(), to = ipv6_address::parse(plan.destination).value();
    std::ranges::copy(std::as_bytes(std::span(from.bytes)), bytes.begin() + 8);
    std::ranges::copy(std::as_bytes(std::span(to.bytes)), bytes.begin() + 24);
  }
  const auto segment = all.subspan(ip);
  std::ranges::copy(text, segment.begin() + static_cast<std::ptrdiff_t>(transport));
  if (transport == 0) return bytes;
  if (is_icmp) {
    segment[0] = plan.protocol == ip_protocol::icmp ? std::byte{8} : std::byte{128};
  } else {
    write_be16(segment, 0, plan.source_port);
    write_be16(segment, 2, plan.destination_port);
  }
  if (plan.protocol == ip_protocol::udp) write_be16(segment, 4, static_cast<std::uint16_t>(segment.size()));
  if (plan.protocol == ip_protocol::tcp) {
    segment[12] = std::byte{0x50};
    segment[13] = std::byte{0x18};
  }
  const auto where = decode(all);
  const auto sum = static_cast<std::uint16_t>(~transport_sum(all, *where));
  write_be16(segment, checksum_offset(plan.protocol), sum == 0 ? std::uint16_t{0xffff} : sum);
  return bytes;
}

packet make_packet(std::span<const std::byte> bytes) {
  packet made;
  made.id = 1;
  made.family = !bytes.empty() && std::to_integer<unsigned>(bytes[0]) >> 4 == 6 ? 10 : 2;
  made.hook = 3;
  made.original_length = static_cast<std::uint32_t>(bytes.size());
  made.payload = bytes;
  return made;
}

bool has_right_checksums(std::span<const std::byte> bytes) {
  const auto where = decode(bytes);
  if (!where || !where->has_transport) return false;
  const auto ip = ipv4_view::parse(bytes);
  if (ip && checksum_of(ip->header()) != 0) return false;
  return transport_sum(bytes, *where) == 0xffff;
}

}  // namespace ipq::tool::rules
