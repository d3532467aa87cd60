// SPDX-License-Identifier: MIT
// Our decoder of packet messages against libnetfilter_queue's, on the same bytes.
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter/nfnetlink_queue.h>

#include <algorithm>
#include <array>
#include <vector>

#include "input.hpp"
#include "wire/constants.hpp"
#include "wire/message.hpp"
#include "wire/packet.hpp"

namespace {

using namespace ipq;
using fuzz::bytes;
using fuzz::require;

bytes value_of(const nlattr* attribute) {
  if (attribute == nullptr) return {};
  return {static_cast<const std::byte*>(mnl_attr_get_payload(attribute)), mnl_attr_get_payload_len(attribute)};
}

void same_number(const nlattr* theirs, std::uint32_t ours) {
  require(ours == (theirs == nullptr ? 0 : ntohl(mnl_attr_get_u32(theirs))));
}

void same_number(const nlattr* theirs, std::optional<std::uint32_t> ours) {
  require(ours.has_value() == (theirs != nullptr));
  if (theirs != nullptr) require(*ours == ntohl(mnl_attr_get_u32(theirs)));
}

void same_bytes(const nlattr* theirs, bytes ours) {
  require(fuzz::equal(ours, value_of(theirs)));
}

template <class Struct>
Struct structure(const nlattr* attribute) {
  Struct copy;
  std::memcpy(&copy, mnl_attr_get_payload(attribute), sizeof copy);
  return copy;
}

/// Attributes that libnetfilter_queue does not know, as libmnl walks to them: the last of each that is long enough.
struct newer_attributes {
  const nlattr* l2_header = nullptr;
  const nlattr* priority = nullptr;
  const nlattr* cgroup_classid = nullptr;
};
int note(const nlattr* each, void* into) {
  auto& found = *static_cast<newer_attributes*>(into);
  const auto type = mnl_attr_get_type(each);
  if (type == wire::attribute_l2hdr) found.l2_header = each;
  if (mnl_attr_get_payload_len(each) < 4) return MNL_CB_OK;
  if (type == wire::attribute_priority) found.priority = each;
  if (type == wire::attribute_cgroup_classid) found.cgroup_classid = each;
  return MNL_CB_OK;
}

void compare_newer(const nlmsghdr* message, const packet& ours) {
  newer_attributes theirs;
  require(mnl_attr_parse(message, sizeof(nfgenmsg), note, &theirs) == MNL_CB_OK);
  same_bytes(theirs.l2_header, ours.l2_header);
  same_number(theirs.priority, ours.priority);
  same_number(theirs.cgroup_classid, ours.cgroup_classid);
}

void compare(const nlmsghdr* message, const packet& ours, std::span<nlattr*> theirs) {
  const auto* about = static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(message));
  require(ours.family == about->nfgen_family && ours.queue == ntohs(about->res_id));
  const auto header = structure<nfqnl_msg_packet_hdr>(theirs[NFQA_PACKET_HDR]);
  require(ours.id == ntohl(header.packet_id) && ours.hw_protocol == ntohs(header.hw_protocol));
  require(ours.hook == header.hook);
  same_number(theirs[NFQA_MARK], ours.mark);
  same_number(theirs[NFQA_IFINDEX_INDEV], ours.indev);
  same_number(theirs[NFQA_IFINDEX_OUTDEV], ours.outdev);
  same_number(theirs[NFQA_IFINDEX_PHYSINDEV], ours.physindev);
  same_number(theirs[NFQA_IFINDEX_PHYSOUTDEV], ours.physoutdev);
  same_number(theirs[NFQA_UID], ours.uid);
  same_number(theirs[NFQA_GID], ours.gid);
  same_number(theirs[NFQA_CT_INFO], ours.conntrack_info);
  same_bytes(theirs[NFQA_PAYLOAD], ours.payload);
  same_bytes(theirs[NFQA_CT], ours.conntrack);
  compare_newer(message, ours);
  same_bytes(theirs[NFQA_SECCTX], std::as_bytes(std::span(ours.security_context)));
  if (theirs[NFQA_HWADDR] != nullptr) {
    const auto hw = structure<nfqnl_msg_packet_hw>(theirs[NFQA_HWADDR]);
    const std::size_t length = std::min<std::size_t>(ntohs(hw.hw_addrlen), sizeof hw.hw_addr);
    require(ours.hw_addr_length == length && std::memcmp(ours.hw_addr.data(), hw.hw_addr, length) == 0);
  } else {
    require(ours.hw_addr_length == 0);
  }
  if (theirs[NFQA_SKB_INFO] != nullptr) {
    const std::uint32_t flags = ntohl(mnl_attr_get_u32(theirs[NFQA_SKB_INFO]));
    require(ours.checksum_not_ready == ((flags & NFQA_SKB_CSUMNOTREADY) != 0));
    require(ours.gso == ((flags & NFQA_SKB_GSO) != 0));
    require(ours.checksum_not_verified == ((flags & NFQA_SKB_CSUM_NOTVERIFIED) != 0));
  }
  const std::uint32_t whole = theirs[NFQA_CAP_LEN] == nullptr ? 0 : ntohl(mnl_attr_get_u32(theirs[NFQA_CAP_LEN]));
  require(ours.truncated == (whole > ours.payload.size()));
  require(ours.original_length == std::max<std::size_t>(whole, ours.payload.size()));
  if (theirs[NFQA_TIMESTAMP] == nullptr) {
    require(!ours.timestamp);
  } else if (const auto time = structure<nfqnl_msg_packet_timestamp>(theirs[NFQA_TIMESTAMP]);
             be64toh(time.usec) < 1'000'000) {  // else it is none to us
    require(ours.timestamp && static_cast<std::uint64_t>(ours.timestamp->seconds) == be64toh(time.sec));
    require(static_cast<std::uint64_t>(ours.timestamp->microseconds) == be64toh(time.usec));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // libmnl reads padding behind the last attribute, so the message is padded; its length and type are put right, since
  // frames are what messages.cpp is for.
  if (size < wire::nlmsg_header_size + wire::nfgen_size) return 0;
  const bytes given = std::as_bytes(std::span(data, size));
  std::vector<std::byte> datagram(given.begin(), given.end());
  datagram.resize(wire::align(size));
  auto* header = reinterpret_cast<nlmsghdr*>(datagram.data());
  header->nlmsg_len = static_cast<std::uint32_t>(datagram.size());
  header->nlmsg_type = wire::message_packet;

  bytes rest = datagram;
  const auto message = wire::next_message(rest);
  require(message && rest.empty());
  const auto ours = wire::parse_packet(*message);

  std::array<nlattr*, 64> theirs{};                          // a newer library may know more types than its header
  if (nfq_nlmsg_parse(header, theirs.data()) < 0) return 0;  // they refuse the message for one short attribute
  if (value_of(theirs[NFQA_PACKET_HDR]).size() < 7) {
    require(theirs[NFQA_PACKET_HDR] != nullptr || !ours);
    return 0;
  }
  require(ours.has_value());
  compare(header, *ours, theirs);
  return 0;
}
