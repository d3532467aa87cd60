// SPDX-License-Identifier: MIT
// What IPv4 and IPv6 have in common: protocol numbers and the state of a fragment.
#pragma once

#include <cstdint>

namespace ipq {

/// IANA's protocol numbers: what IPv4 calls protocol and IPv6 next header. Any other value is valid too.
enum class ip_protocol : std::uint8_t {
  hop_by_hop = 0,
  icmp = 1,
  tcp = 6,
  udp = 17,
  dccp = 33,
  routing = 43,
  fragment = 44,
  esp = 50,
  ah = 51,
  icmpv6 = 58,
  no_next_header = 59,
  destination_options = 60,
  sctp = 132,
  mobility = 135,
  udp_lite = 136,
  hip = 139,
  shim6 = 140,
};

/// Which part of a datagram a packet holds.
enum class fragment_state : std::uint8_t {
  none,    ///< all of it, and nothing says otherwise
  first,   ///< the beginning: the transport header may be here, the end is not
  later,   ///< a middle or the end: no transport header
  atomic,  ///< all of it, though an IPv6 fragment header is there (RFC 6946)
};

}  // namespace ipq
