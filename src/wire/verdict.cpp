// SPDX-License-Identifier: MIT
#include "wire/verdict.hpp"

#include "wire/bytes.hpp"
#include "wire/header.hpp"

namespace ipq::wire {
namespace {

/// NFQA_VLAN around two numbers of 16 bits, each in an attribute.
constexpr std::size_t vlan_size = attribute_header_size + 2 * (attribute_header_size + 4);

std::size_t optional_size(std::span<const std::byte> value) noexcept {
  return value.empty() ? 0 : attribute_header_size + align(value.size());
}

void put_nested(nlmsghdr* header, std::uint16_t type, std::span<const std::byte> value) noexcept {
  if (!value.empty()) put_padded(header, static_cast<std::uint16_t>(type | NLA_F_NESTED), value);
}

void put_vlan(nlmsghdr* header, const vlan_tag& tag) noexcept {
  nlattr* nest = mnl_attr_nest_start(header, attribute_vlan);
  std::byte number[2];
  store_be(number, tag.protocol);
  put_padded(header, vlan_protocol, number);
  store_be(number, tag.tci);
  put_padded(header, vlan_tci, number);
  mnl_attr_nest_end(header, nest);
}

}  // namespace

std::size_t encoded_size(const verdict& answer) noexcept {
  constexpr std::size_t number = attribute_header_size + 4;
  return plain_verdict_size + (answer.mark ? number : 0) + (answer.priority ? number : 0) +
         optional_size(answer.conntrack) + optional_size(answer.expectation) + (answer.vlan ? vlan_size : 0) +
         optional_size(answer.l2_header) + (answer.payload_length ? attribute_header_size : 0);
}

std::size_t encode_verdict(const verdict& answer, std::span<std::byte> into) noexcept {
  encode_plain_verdict({.queue = answer.queue,
                        .id = answer.id,
                        .value = answer.value,
                        .batch = answer.batch,
                        .acknowledge = answer.acknowledge,
                        .sequence = answer.sequence,
                        .port_id = answer.port_id},
                       into.data());
  auto* const header = reinterpret_cast<nlmsghdr*>(into.data());
  if (answer.mark) mnl_attr_put_u32(header, attribute_mark, big_endian(*answer.mark));
  if (answer.priority) mnl_attr_put_u32(header, attribute_priority, big_endian(*answer.priority));
  put_nested(header, attribute_ct, answer.conntrack);
  put_nested(header, attribute_exp, answer.expectation);
  if (answer.vlan) put_vlan(header, *answer.vlan);
  if (!answer.l2_header.empty()) put_padded(header, attribute_l2hdr, answer.l2_header);
  std::size_t written = header->nlmsg_len;
  if (answer.payload_length) {
    // The attribute's length counts its header, never padding; the message ends where the payload does.
    const std::size_t length = *answer.payload_length;
    store(into.data() + written, static_cast<std::uint16_t>(attribute_header_size + length));
    store(into.data() + written + 2, std::uint16_t{attribute_payload});
    written += attribute_header_size;
    header->nlmsg_len = static_cast<std::uint32_t>(written + length);
  }
  return written;
}

}  // namespace ipq::wire
