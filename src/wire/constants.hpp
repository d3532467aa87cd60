// SPDX-License-Identifier: MIT
// The numbers of nfnetlink_queue, of our own: installed kernel headers are often older than the running kernel.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ipq::wire {

/// nlmsg_type: subsystem 3 (NFNL_SUBSYS_QUEUE) and the message.
enum message_type : std::uint16_t {
  message_noop = 1,   ///< NLMSG_NOOP
  message_error = 2,  ///< NLMSG_ERROR: an error, or with code 0 an acknowledgement
  message_packet = 0x300,
  message_verdict = 0x301,
  message_config = 0x302,
  message_verdict_batch = 0x303,
};

/// nlmsg_flags.
enum message_flag : std::uint16_t {
  flag_request = 0x1,
  flag_ack = 0x4,
  flag_capped = 0x100,    ///< in an error: the request is cut to its header
  flag_ack_tlvs = 0x200,  ///< in an error: extended ack attributes follow
};

/// enum nfqnl_attr_type: attributes of packets and verdicts.
enum packet_attribute : std::uint16_t {
  attribute_packet_hdr = 1,
  attribute_verdict_hdr = 2,
  attribute_mark = 3,
  attribute_timestamp = 4,
  attribute_indev = 5,
  attribute_outdev = 6,
  attribute_physindev = 7,
  attribute_physoutdev = 8,
  attribute_hwaddr = 9,
  attribute_payload = 10,
  attribute_ct = 11,
  attribute_ct_info = 12,
  attribute_cap_len = 13,
  attribute_skb_info = 14,
  attribute_exp = 15,
  attribute_uid = 16,
  attribute_gid = 17,
  attribute_secctx = 18,
  attribute_vlan = 19,
  attribute_l2hdr = 20,
  attribute_priority = 21,        ///< Linux 5.18
  attribute_cgroup_classid = 22,  ///< Linux 6.4
};

/// enum nfqnl_vlan_attr, inside attribute_vlan.
enum vlan_attribute : std::uint16_t { vlan_protocol = 1, vlan_tci = 2 };

/// enum nfqnl_attr_config.
enum config_attribute : std::uint16_t {
  config_cmd = 1,
  config_params = 2,
  config_queue_maxlen = 3,
  config_mask = 4,
  config_flags = 5,
};

/// enum nfqnl_msg_config_cmds.
enum class config_command : std::uint8_t { none = 0, bind = 1, unbind = 2, pf_bind = 3, pf_unbind = 4 };

/// enum nfqnl_config_mode.
enum class copy_mode : std::uint8_t { none = 0, meta = 1, packet = 2 };

/// Bits of config_flags and config_mask.
enum queue_flag : std::uint32_t {
  queue_fail_open = 1,
  queue_conntrack = 2,
  queue_gso = 4,
  queue_uid_gid = 8,
  queue_secctx = 16,
};
inline constexpr std::uint32_t all_queue_flags = 31;

/// Bits of attribute_skb_info.
enum skb_flag : std::uint32_t { skb_checksum_not_ready = 1, skb_gso = 2, skb_checksum_not_verified = 4 };

/// Extended ack attributes (enum nlmsgerr_attrs).
enum extended_ack_attribute : std::uint16_t { extended_ack_text = 1, extended_ack_offset = 2 };

inline constexpr std::size_t nlmsg_header_size = 16;     ///< struct nlmsghdr
inline constexpr std::size_t nfgen_size = 4;             ///< struct nfgenmsg
inline constexpr std::size_t attribute_header_size = 4;  ///< struct nlattr

/// The largest payload: an attribute's length is 16 bits and counts its header (nfnetlink_queue.c,
/// NFQNL_MAX_COPY_RANGE).
inline constexpr std::size_t max_payload = 0xffff - attribute_header_size;

/// Room for any packet message that carries neither conntrack nor a security context: those add at most a page.
inline constexpr std::size_t max_datagram = max_payload + 1024;

/// Rounds up to the alignment of netlink messages and attributes.
constexpr std::size_t align(std::size_t length) {
  return (length + 3) & ~std::size_t{3};
}

}  // namespace ipq::wire
