// SPDX-License-Identifier: MIT
#include <iterator>
#include <nlohmann/json.hpp>

#include "ipq/decode.hpp"
#include "ipq/icmp.hpp"
#include "ipq/ipv4.hpp"
#include "ipq/ipv6.hpp"
#include "ipq/tcp.hpp"
#include "ipq/udp.hpp"
#include "print.hpp"

namespace tool {
namespace {

using ipq::ip_protocol;
using nlohmann::ordered_json;

std::string hex_of(std::span<const std::byte> bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte byte : bytes) {
    text.push_back(digits[std::to_integer<unsigned>(byte) >> 4]);
    text.push_back(digits[std::to_integer<unsigned>(byte) & 15]);
  }
  return text;
}

void add_interface(ordered_json& to, const char* key, std::uint32_t index, const interface_names& names) {
  if (index == 0) return;
  const std::string_view name = names ? names(index) : std::string_view();
  if (name.empty()) {
    to[key] = index;
  } else {
    to[key] = name;
  }
}

const char* name_of(ipq::fragment_state state) {
  switch (state) {
    case ipq::fragment_state::none:
      return "none";
    case ipq::fragment_state::first:
      return "first";
    case ipq::fragment_state::later:
      return "later";
    case ipq::fragment_state::atomic:
      return "atomic";
  }
  return "none";
}

template <class View>
ordered_json icmp_json(const View& icmp) {
  ordered_json made{{"type", icmp.type()}, {"code", icmp.code()}};
  if (icmp.is_echo()) {
    made["id"] = icmp.identifier();
    made["sequence"] = icmp.sequence();
  }
  return made;
}

void add_transport(ordered_json& to, const ipq::layers& found, std::span<const std::byte> bytes) {
  if (!found.has_transport) return;
  const auto rest = bytes.subspan(found.transport_offset);
  switch (found.transport) {
    case ip_protocol::tcp:
      if (const auto tcp = ipq::tcp_view::parse(rest)) {
        to["tcp"] = {{"source_port", tcp->source_port()},
                     {"destination_port", tcp->destination_port()},
                     {"flags", tcp_flag_letters(tcp->flags())},
                     {"sequence", tcp->sequence_number()},
                     {"acknowledgment", tcp->acknowledgment_number()},
                     {"window", tcp->window()}};
      }
      break;
    case ip_protocol::udp:
      if (const auto udp = ipq::udp_view::parse(rest)) {
        to["udp"] = {{"source_port", udp->source_port()},
                     {"destination_port", udp->destination_port()},
                     {"length", udp->length()}};
      }
      break;
    case ip_protocol::icmp:
      if (const auto icmp = ipq::icmp_view::parse(rest)) to["icmp"] = icmp_json(*icmp);
      break;
    case ip_protocol::icmpv6:
      if (const auto icmp = ipq::icmpv6_view::parse(rest)) to["icmp6"] = icmp_json(*icmp);
      break;
    default:
      break;
  }
}

}  // namespace

void print_json(fmt::memory_buffer& out, const ipq::packet& packet, const interface_names& names,
                const print_style& style, wall_clock::time_point now, const std::string& verdict) {
  ordered_json made;
  if (style.time)
    made["time"] =
        static_cast<double>(std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count()) /
        1e6;
  made["queue"] = packet.queue;
  made["id"] = packet.id;
  made["hook"] = hook_name(packet.hook);
  add_interface(made, "indev", packet.indev, names);
  add_interface(made, "outdev", packet.outdev, names);
  add_interface(made, "physindev", packet.physindev, names);
  add_interface(made, "physoutdev", packet.physoutdev, names);
  if (packet.mark != 0) made["mark"] = packet.mark;
  if (packet.priority != 0) made["priority"] = packet.priority;
  if (packet.uid) made["uid"] = *packet.uid;
  if (packet.gid) made["gid"] = *packet.gid;
  made["length"] = packet.original_length;
  if (packet.truncated) made["truncated"] = true;
  if (packet.gso) made["gso"] = true;

  const auto found = ipq::decode(packet.payload);
  if (const auto four = ipq::ipv4_view::parse(packet.payload)) {
    made["ip"] = {{"version", 4},
                  {"source", four->source().to_string()},
                  {"destination", four->destination().to_string()},
                  {"protocol", static_cast<unsigned>(four->protocol())},
                  {"ttl", four->time_to_live()},
                  {"dscp", four->dscp()}};
  } else if (const auto six = ipq::ipv6_view::parse(packet.payload)) {
    made["ip"] = {{"version", 6},
                  {"source", six->source().to_string()},
                  {"destination", six->destination().to_string()},
                  {"protocol", static_cast<unsigned>(found ? found->transport : six->next_header())},
                  {"ttl", six->hop_limit()},
                  {"dscp", six->dscp()}};
  } else if (!packet.payload.empty()) {
    made["malformed"] = true;
  }
  if (found) {
    if (found->fragment != ipq::fragment_state::none) made["ip"]["fragment"] = name_of(found->fragment);
    add_transport(made, *found, packet.payload);
  }
  if (style.bytes) made["payload"] = hex_of(packet.payload);
  if (!verdict.empty()) made["verdict"] = verdict;
  // Names of interfaces may be any bytes, and JSON is UTF-8.
  const std::string text = made.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  out.append(text.data(), text.data() + text.size());
}

}  // namespace tool
