// SPDX-License-Identifier: MIT
// A queued packet: every attribute that nfnetlink_queue can send, decoded once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace ipq {

/// Time of reception, from the kernel's clock of day.
struct packet_time {
  std::int64_t seconds;
  std::int64_t microseconds;  ///< 0 to 999999
};

/// The VLAN tag that the kernel keeps beside the packet.
struct vlan_tag {
  std::uint16_t protocol;  ///< ETH_P_8021Q or ETH_P_8021AD
  std::uint16_t tci;       ///< priority, DEI and VLAN id as in IEEE 802.1Q
};

/// A packet that waits for a verdict. Numbers are in host byte order. Views (payload, l2_header, conntrack,
/// security_context) point into the buffer that was parsed and are valid as long as its bytes are.
struct packet {
  std::uint32_t id = 0;           ///< names the packet in its queue; gaps are normal, wraps at 2^32
  std::uint16_t queue = 0;        ///< queue number
  std::uint8_t family = 0;        ///< NFPROTO_IPV4 2, NFPROTO_IPV6 10, NFPROTO_BRIDGE 7
  std::uint8_t hook = 0;          ///< 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting
  std::uint16_t hw_protocol = 0;  ///< ETH_P_*

  std::uint32_t mark = 0;
  std::uint32_t priority = 0;

  std::uint32_t indev = 0;  ///< interface indices; 0 where the hook has none
  std::uint32_t outdev = 0;
  std::uint32_t physindev = 0;  ///< bridge ports
  std::uint32_t physoutdev = 0;

  std::array<std::uint8_t, 8> hw_addr{};  ///< source address of the link header
  std::uint8_t hw_addr_length = 0;        ///< bytes used in hw_addr, 0 to 8

  /// Bytes of the whole packet; more than payload.size() when it was truncated, and 0 in copy mode meta.
  std::uint32_t original_length = 0;
  bool truncated = false;              ///< payload holds only the beginning: it must not be written back
  bool checksum_not_ready = false;     ///< the transport checksum is still to be computed (NFQA_SKB_CSUMNOTREADY)
  bool checksum_not_verified = false;  ///< nobody has looked at the checksum yet: normal on input hooks
  bool gso = false;                    ///< several segments in one, not yet cut

  std::optional<packet_time> timestamp = {};  ///< only for received packets while timestamps are enabled
  std::optional<std::uint32_t> uid = {};      ///< owner of the sending socket, in the initial user namespace
  std::optional<std::uint32_t> gid = {};
  std::optional<std::uint32_t> cgroup_classid = {};
  std::optional<vlan_tag> vlan = {};                 ///< bridge family only
  std::optional<std::uint32_t> conntrack_info = {};  ///< enum ip_conntrack_info
  std::span<const std::byte> conntrack = {};         ///< ctnetlink attributes, as they came
  std::span<const std::byte> l2_header = {};         ///< bridge family only
  std::string_view security_context = {};

  std::span<const std::byte> payload = {};  ///< from the network header on; empty in copy mode meta
};

}  // namespace ipq
