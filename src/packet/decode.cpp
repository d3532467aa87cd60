// SPDX-License-Identifier: MIT
// One pass over the headers of a packet.
#include "ipq/decode.hpp"

#include "ipq/icmp.hpp"
#include "ipq/ipv4.hpp"
#include "ipq/ipv6.hpp"
#include "ipq/tcp.hpp"
#include "ipq/udp.hpp"

namespace ipq {
namespace {

// Bytes of the transport header; 0 if it is not whole, not valid, or of another protocol.
std::size_t transport_header(const layers& found, std::span<const std::byte> bytes) noexcept {
  switch (found.transport) {
    case ip_protocol::tcp: {
      const auto tcp = tcp_view::parse(bytes);
      return tcp ? tcp->header_length() : 0;
    }
    case ip_protocol::udp:
      return udp_view::parse(bytes) ? udp_view::header_length : 0;
    case ip_protocol::icmp:
      return found.version == 4 && icmp_view::parse(bytes) ? icmp_view::header_length : 0;
    case ip_protocol::icmpv6:
      return found.version == 6 && icmpv6_view::parse(bytes) ? icmpv6_view::header_length : 0;
    default:
      return 0;
  }
}

void find_transport(layers& found, std::span<const std::byte> bytes) noexcept {
  found.end = static_cast<std::uint32_t>(bytes.size());
  found.payload_offset = found.transport_offset;
  if (found.fragment == fragment_state::later) return;
  const auto size = transport_header(found, bytes.subspan(found.transport_offset));
  found.has_transport = size != 0;
  found.payload_offset += static_cast<std::uint32_t>(size);
}

}  // namespace

std::optional<layers> decode(std::span<const std::byte> bytes) noexcept {
  layers found;
  if (const auto ip = ipv4_view::parse(bytes)) {
    found.version = 4;
    found.transport = ip->protocol();
    found.fragment = ip->fragment();
    found.truncated = ip->truncated();
    found.transport_offset = static_cast<std::uint32_t>(ip->header_length());
    find_transport(found, ip->bytes());
    return found;
  }
  const auto ip = ipv6_view::parse(bytes);
  if (!ip) return std::nullopt;
  const auto chain = ip->walk();
  found.version = 6;
  found.transport = chain.transport;
  found.fragment = chain.fragment;
  found.truncated = ip->truncated();
  found.transport_offset = static_cast<std::uint32_t>(chain.transport_offset);
  find_transport(found, ip->bytes());
  return found;
}

}  // namespace ipq
