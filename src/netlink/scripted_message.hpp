// SPDX-License-Identifier: MIT
// The messages that the scripted kernel sends, as a kernel writes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "ipq/packet.hpp"
#include "netlink/scripted_kernel.hpp"

namespace ipq::netlink {

struct scripted_link {
  std::string name;
  std::uint16_t type = 0;  ///< ARPHRD_*
};

/// A packet message, with what the queue's mode and flags ask for (nfnetlink_queue.c, nfqnl_build_packet_message).
byte_vector write_packet(const packet& from, std::uint32_t id, const scripted_queue& queue);

/// RTM_NEWLINK or RTM_DELLINK.
byte_vector write_link(std::uint16_t message, std::uint32_t sequence, std::uint32_t port_id, std::uint32_t index,
                       const scripted_link& what);

/// NLMSG_ERROR with a positive errno or 0, as a socket with NETLINK_CAP_ACK gets it (af_netlink.c, netlink_ack).
byte_vector write_answer(const scripted_request& request, std::uint32_t port_id, int error);

}  // namespace ipq::netlink
