// SPDX-License-Identifier: MIT
// The walk over IPv6 extension headers.
#include "ipq/ipv6.hpp"

namespace ipq {
namespace {

// Whether destination options hold a home address (RFC 6275 section 6.3). Bounded by the header's 2048 bytes.
bool has_home_address(std::span<const std::byte> options) noexcept {
  constexpr std::byte pad1{0}, home_address{0xc9};
  while (!options.empty()) {
    if (options[0] == home_address) return true;
    if (options[0] == pad1) {
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2) return false;
    const std::size_t size = 2 + std::to_integer<std::size_t>(options[1]);
    if (size > options.size()) return false;
    options = options.subspan(size);
  }
  return false;
}

}  // namespace

ipv6_chain ipv6_view::walk() const noexcept {
  ipv6_chain chain;
  chain.transport = next_header();
  const auto all = bytes_;
  for (std::size_t at = header_length;; chain.headers++) {
    chain.transport_offset = at;
    std::size_t unit = 8;  // of the length field, which does not count the first 8 bytes
    switch (chain.transport) {
      case ip_protocol::fragment:
      case ip_protocol::hop_by_hop:
      case ip_protocol::routing:
      case ip_protocol::destination_options:
      case ip_protocol::mobility:
      case ip_protocol::hip:
      case ip_protocol::shim6:
        break;
      case ip_protocol::ah:
        unit = 4;
        break;
      default:
        chain.complete = true;
        return chain;
    }
    if (chain.headers == most_extension_headers || all.size() - at < 8) return chain;
    const auto next = static_cast<ip_protocol>(all[at]);
    if (chain.transport == ip_protocol::fragment) {
      const auto field = read_be16(all, at + 2);
      const std::size_t offset = field & 0xfff8u;
      const bool more = (field & 1) != 0;
      chain.identification = read_be32(all, at + 4);
      if (offset != 0 || more) {
        chain.fragment_offset = offset;
        chain.more_fragments = more;
        chain.fragment = offset != 0 ? fragment_state::later : fragment_state::first;
      } else if (chain.fragment == fragment_state::none) {
        chain.fragment = fragment_state::atomic;
      }
      at += 8;
      chain.transport = next;
      if (offset != 0) {  // what follows is not a header
        chain.headers++;
        chain.transport_offset = at;
        chain.complete = true;
        return chain;
      }
      continue;
    }
    const std::size_t size = 8 + std::to_integer<std::size_t>(all[at + 1]) * unit;
    if (size > all.size() - at) return chain;
    if (chain.transport == ip_protocol::routing && all[at + 3] != std::byte{0}) chain.routed = true;
    if (chain.transport == ip_protocol::destination_options && has_home_address(all.subspan(at + 2, size - 2)))
      chain.home_address = true;
    chain.transport = next;
    at += size;
  }
}

}  // namespace ipq
