// SPDX-License-Identifier: MIT
// One message with every attribute that nfnetlink_queue can send becomes an ipq::packet, again and again.
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>

#include <array>
#include <cstring>

#include "failure.hpp"
#include "scenario.hpp"
#include "wire/packet.hpp"

namespace bench {
namespace {

// The kernel's order (nfnetlink_queue.c, nfqnl_build_packet_message). 64 bytes of UDP with its headers.
std::span<const std::byte> build_message(std::array<std::byte, 1024>& into) {
  namespace wire = ipq::wire;
  nlmsghdr* message = mnl_nlmsg_put_header(into.data());
  message->nlmsg_type = wire::message_packet;
  auto* family = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  family->nfgen_family = 7;
  const auto put = [&](std::uint16_t type, std::size_t size) {
    const std::array<char, 128> zeros{};
    mnl_attr_put(message, type, size, zeros.data());
  };
  const unsigned char header[7] = {0, 0, 0, 1, 8, 0, 2};
  mnl_attr_put(message, wire::attribute_packet_hdr, sizeof header, header);
  for (const auto type : {wire::attribute_physindev, wire::attribute_physoutdev, wire::attribute_indev,
                          wire::attribute_outdev, wire::attribute_mark, wire::attribute_priority}) {
    mnl_attr_put_u32(message, type, htonl(type));
  }
  put(wire::attribute_hwaddr, 12);
  nlattr* vlan = mnl_attr_nest_start(message, wire::attribute_vlan);
  mnl_attr_put_u16(message, wire::vlan_tci, htons(5));
  mnl_attr_put_u16(message, wire::vlan_protocol, htons(0x8100));
  mnl_attr_nest_end(message, vlan);
  put(wire::attribute_l2hdr, 14);
  put(wire::attribute_timestamp, 16);
  for (const auto type : {wire::attribute_uid, wire::attribute_gid, wire::attribute_cgroup_classid}) {
    mnl_attr_put_u32(message, type, htonl(type));
  }
  put(wire::attribute_secctx, 20);
  put(wire::attribute_ct, 120);
  for (const auto type : {wire::attribute_ct_info, wire::attribute_cap_len, wire::attribute_skb_info}) {
    mnl_attr_put_u32(message, type, htonl(type));
  }
  put(wire::attribute_payload, 92);
  return std::span(into).first(message->nlmsg_len);
}

class decode final : public scenario {
 public:
  decode(description what, std::uint64_t messages)
      : scenario(std::move(what)), messages_(messages), message_(build_message(memory_)) {}

  sample run(std::size_t) override {
    sample result{.packets = messages_};
    std::uint64_t sum = 0;
    ipq::packet packet;
    const stopwatch watch;
    for (std::uint64_t i = 0; i < messages_; ++i) {
      const std::byte* at = message_.data();
      // Opaque to the compiler, as memory that the kernel has filled.
      asm volatile("" : "+r"(at) : : "memory");
      ipq::wire::bytes rest(at, message_.size());
      const auto message = ipq::wire::next_message(rest);
      if (!ipq::wire::parse_packet(*message, packet)) break;
      sum += packet.id + packet.payload.size() + packet.gid.value_or(0);
    }
    const expense spent = watch.stop();
    if (sum != messages_ * (1 + 92 + ipq::wire::attribute_gid)) throw failure("the message was not decoded");
    result.figures = {spent.cpu_seconds / static_cast<double>(messages_) * 1e9};
    result.allocations = spent.allocations;
    return result;
  }

 private:
  std::uint64_t messages_;
  alignas(8) std::array<std::byte, 1024> memory_{};
  std::span<const std::byte> message_;
};

}  // namespace

void add_decode(scenarios& to, const ground& on) {
  description what{.table = "libipq++",
                   .name = "decode one message, all attributes",
                   .contestants = {"libipq++"},
                   .figures = {{"time, ns", "ns", 1}},
                   .goals = {{0, 0, std::nullopt, goal::kind::at_most, 60}},
                   .counts_allocations = true};
  to.push_back(std::make_unique<decode>(std::move(what), on.packets * 20));
}

}  // namespace bench
