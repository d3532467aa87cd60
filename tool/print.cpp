// SPDX-License-Identifier: MIT
#include "print.hpp"

#include <cstring>
#include <ctime>
#include <iterator>

#include "ipq/decode.hpp"
#include "ipq/icmp.hpp"
#include "ipq/ipv4.hpp"
#include "ipq/ipv6.hpp"
#include "ipq/tcp.hpp"
#include "ipq/udp.hpp"

namespace tool {
namespace {

using ipq::ip_protocol;

constexpr std::string_view dim = "\x1b[2m", bold = "\x1b[1m", plain = "\x1b[0m";

template <class... Arguments>
void put(fmt::memory_buffer& out, fmt::format_string<Arguments...> form, Arguments&&... arguments) {
  fmt::format_to(std::back_inserter(out), form, std::forward<Arguments>(arguments)...);
}

void put_printable(fmt::memory_buffer& out, std::string_view text) {
  for (const char c : text) out.push_back(c > ' ' && c < 0x7f ? c : '?');
}

void put_interface(fmt::memory_buffer& out, std::uint32_t index, const interface_names& names) {
  const std::string_view name = names ? names(index) : std::string_view();
  if (name.empty()) return put(out, "if{}", index);
  put_printable(out, name);
}

// "eth0", or "eth0>eth1" where the packet has both.
void put_interfaces(fmt::memory_buffer& out, std::uint32_t in, std::uint32_t to, const interface_names& names) {
  if (in != 0) put_interface(out, in, names);
  if (in != 0 && to != 0) out.push_back('>');
  if (to != 0) put_interface(out, to, names);
}

void put_time(fmt::memory_buffer& out, wall_clock::time_point now) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(now);  // captures have times before 1970, too
  const std::time_t seconds = whole.time_since_epoch().count();
  std::tm local{};
  ::localtime_r(&seconds, &local);
  const auto rest = std::chrono::duration_cast<std::chrono::microseconds>(now - whole).count();
  put(out, "{:02}:{:02}:{:02}.{:06} ", local.tm_hour, local.tm_min, local.tm_sec, rest);
}

std::string_view protocol_name(ip_protocol protocol) {
  switch (protocol) {
    case ip_protocol::tcp:
      return "tcp";
    case ip_protocol::udp:
      return "udp";
    case ip_protocol::icmp:
      return "icmp";
    case ip_protocol::icmpv6:
      return "icmp6";
    default:
      return {};
  }
}

void put_protocol(fmt::memory_buffer& out, ip_protocol protocol) {
  switch (static_cast<unsigned>(protocol)) {
    case 2:
      return put(out, "igmp");
    case 47:
      return put(out, "GRE");
    case 50:
      return put(out, "ESP");
    case 51:
      return put(out, "AH");
    case 59:
      return put(out, "no next header");
    case 132:
      return put(out, "sctp");
    default:
      if (const auto name = protocol_name(protocol); !name.empty()) return put(out, "{}", name);
      return put(out, "ip-proto-{}", static_cast<unsigned>(protocol));
  }
}

// What an IP packet says of itself, of either version.
struct header {
  std::string source, destination;
  ip_protocol transport = ip_protocol::no_next_header;
  ipq::fragment_state fragment = ipq::fragment_state::none;
  std::size_t fragment_offset = 0, identification = 0;
  bool more_fragments = false;
  std::size_t transport_offset = 0, length = 0;  ///< length: of the whole packet, as the header says
  bool chain_broken = false;                     ///< IPv6 extension headers can't be followed
};

std::optional<header> read_header(std::span<const std::byte> bytes, std::size_t original_length) {
  header made;
  if (const auto four = ipq::ipv4_view::parse(bytes)) {
    made.source = four->source().to_string();
    made.destination = four->destination().to_string();
    made.transport = four->protocol();
    made.fragment = four->fragment();
    made.fragment_offset = four->fragment_offset();
    made.identification = four->identification();
    made.more_fragments = four->more_fragments();
    made.transport_offset = four->header_length();
    made.length = four->total_length() != 0 ? four->total_length() : std::max(original_length, bytes.size());
    return made;
  }
  if (const auto six = ipq::ipv6_view::parse(bytes)) {
    const auto chain = six->walk();
    made.source = six->source().to_string();
    made.destination = six->destination().to_string();
    made.transport = chain.transport;
    made.fragment = chain.fragment;
    made.fragment_offset = chain.fragment_offset;
    made.identification = chain.identification;
    made.more_fragments = chain.more_fragments;
    made.transport_offset = chain.transport_offset;
    made.length = six->payload_length() != 0 || six->next_header() != ip_protocol::hop_by_hop
                      ? ipq::ipv6_view::header_length + six->payload_length()
                      : std::max(original_length, bytes.size());
    made.chain_broken = !chain.complete;
    return made;
  }
  return std::nullopt;
}

std::size_t length_behind(const header& ip, std::size_t offset) {
  return ip.length > offset ? ip.length - offset : 0;
}

void put_tcp_options(fmt::memory_buffer& out, const ipq::tcp_view& tcp) {
  const char* between = "";
  for (const auto& option : tcp.options()) {
    put(out, "{}", *between == '\0' ? ", options [" : between);
    between = ",";
    const auto data = option.data;
    switch (option.kind) {
      case 2:
        data.size() == 2 ? put(out, "mss {}", ipq::read_be16(data, 0)) : put(out, "mss bad");
        break;
      case 3:
        data.size() == 1 ? put(out, "wscale {}", std::to_integer<unsigned>(data[0])) : put(out, "wscale bad");
        break;
      case 4:
        put(out, "sackOK");
        break;
      case 5:
        put(out, "sack {}", data.size() / 8);
        for (std::size_t at = 0; at + 8 <= data.size(); at += 8)
          put(out, " {{{}:{}}}", ipq::read_be32(data, at), ipq::read_be32(data, at + 4));
        break;
      case 8:
        data.size() == 8 ? put(out, "TS val {} ecr {}", ipq::read_be32(data, 0), ipq::read_be32(data, 4))
                         : put(out, "TS bad");
        break;
      default:
        put(out, "unknown-{}", option.kind);
    }
  }
  if (*between != '\0') out.push_back(']');
}

void put_tcp(fmt::memory_buffer& out, const ipq::tcp_view& tcp, std::size_t length) {
  put(out, "Flags [{}]", tcp_flag_letters(tcp.flags()));
  if (length > 0) {
    put(out, ", seq {}:{}", tcp.sequence_number(), tcp.sequence_number() + static_cast<std::uint32_t>(length));
  } else if ((tcp.flags() & (ipq::tcp_syn | ipq::tcp_fin | ipq::tcp_rst)) != 0) {
    put(out, ", seq {}", tcp.sequence_number());
  }
  if (tcp.ack()) put(out, ", ack {}", tcp.acknowledgment_number());
  put(out, ", win {}", tcp.window());
  if ((tcp.flags() & ipq::tcp_urg) != 0) put(out, ", urg {}", tcp.urgent_pointer());
  put_tcp_options(out, tcp);
  put(out, ", length {}", length);
}

// The packet that an ICMP error tells of, as "192.0.2.2 udp port 53".
void put_cause(fmt::memory_buffer& out, std::span<const std::byte> bytes, bool with_port) {
  const auto inner = read_header(bytes, bytes.size());
  if (!inner) return put(out, "[|ip]");
  put(out, "{}", inner->destination);
  if (!with_port) return;
  const bool has_port = inner->transport == ip_protocol::tcp || inner->transport == ip_protocol::udp;
  out.push_back(' ');
  put_protocol(out, inner->transport);
  if (has_port && bytes.size() >= inner->transport_offset + 4)
    put(out, " port {}", ipq::read_be16(bytes, inner->transport_offset + 2));
}

void put_icmp(fmt::memory_buffer& out, const ipq::icmp_view& icmp, std::size_t length) {
  put(out, "ICMP ");
  switch (icmp.type()) {
    case ipq::icmp_view::echo_request:
    case ipq::icmp_view::echo_reply:
      put(out, "echo {}, id {}, seq {}", icmp.type() == ipq::icmp_view::echo_request ? "request" : "reply",
          icmp.identifier(), icmp.sequence());
      break;
    case 3:
      if (icmp.code() == 0) put(out, "net ");
      if (icmp.code() == 1) put(out, "host ");
      put_cause(out, icmp.payload(), icmp.code() == 2 || icmp.code() == 3);
      put(out, " unreachable");
      if (icmp.code() == 4) put(out, " - need to frag (mtu {})", ipq::read_be16(icmp.bytes(), 6));
      if (icmp.code() > 4) put(out, " (code {})", icmp.code());
      break;
    case 5:
      put(out, "redirect ");
      put_cause(out, icmp.payload(), false);
      break;
    case 11:
      put(out, "{}", icmp.code() == 0 ? "time exceeded in-transit" : "ip reassembly time exceeded");
      break;
    default:
      put(out, "type {}, code {}", icmp.type(), icmp.code());
  }
  put(out, ", length {}", length);
}

void put_icmpv6(fmt::memory_buffer& out, const ipq::icmpv6_view& icmp, std::size_t length) {
  const auto target = [&] {
    ipq::ipv6_address address;
    if (icmp.payload().size() < 16) return std::string("[|icmp6]");
    std::memcpy(address.bytes.data(), icmp.payload().data(), 16);
    return address.to_string();
  };
  put(out, "ICMP6, ");
  switch (icmp.type()) {
    case ipq::icmpv6_view::echo_request:
    case ipq::icmpv6_view::echo_reply:
      put(out, "echo {}, id {}, seq {}", icmp.type() == ipq::icmpv6_view::echo_request ? "request" : "reply",
          icmp.identifier(), icmp.sequence());
      break;
    case 1:
      put(out, "destination unreachable, ");
      put_cause(out, icmp.payload(), icmp.code() == 4);
      put(out, " (code {})", icmp.code());
      break;
    case 2:
      put(out, "packet too big, mtu {}", ipq::read_be32(icmp.bytes(), 4));
      break;
    case 3:
      put(out, "time exceeded in-transit");
      break;
    case 133:
      put(out, "router solicitation");
      break;
    case 134:
      put(out, "router advertisement");
      break;
    case 135:
      put(out, "neighbor solicitation, who has {}", target());
      break;
    case 136:
      put(out, "neighbor advertisement, tgt is {}", target());
      break;
    default:
      put(out, "type {}, code {}", icmp.type(), icmp.code());
  }
  put(out, ", length {}", length);
}

// A view of a transport header at the place that decode() found, or nothing.
template <class View>
std::optional<View> view_of(const header& ip, ip_protocol wanted, std::span<const std::byte> bytes) {
  if (ip.transport != wanted || ip.fragment == ipq::fragment_state::later || ip.chain_broken) return std::nullopt;
  if (bytes.size() < ip.transport_offset) return std::nullopt;
  return View::parse(bytes.subspan(ip.transport_offset));
}

void put_addresses(fmt::memory_buffer& out, const header& ip, std::optional<std::pair<unsigned, unsigned>> ports) {
  if (ports) return put(out, "{}.{} > {}.{}: ", ip.source, ports->first, ip.destination, ports->second);
  put(out, "{} > {}: ", ip.source, ip.destination);
}

void put_transport(fmt::memory_buffer& out, const header& ip, std::span<const std::byte> bytes) {
  if (const auto tcp = view_of<ipq::tcp_view>(ip, ip_protocol::tcp, bytes)) {
    put_addresses(out, ip, std::pair(tcp->source_port(), tcp->destination_port()));
    return put_tcp(out, *tcp, length_behind(ip, ip.transport_offset + tcp->header_length()));
  }
  if (const auto udp = view_of<ipq::udp_view>(ip, ip_protocol::udp, bytes)) {
    put_addresses(out, ip, std::pair(udp->source_port(), udp->destination_port()));
    const std::size_t length =
        udp->length() != 0 ? udp->length() - ipq::udp_view::header_length : length_behind(ip, ip.transport_offset + 8);
    return put(out, "UDP, length {}", length);
  }
  put_addresses(out, ip, std::nullopt);
  const std::size_t length = length_behind(ip, ip.transport_offset);
  if (const auto icmp = view_of<ipq::icmp_view>(ip, ip_protocol::icmp, bytes)) return put_icmp(out, *icmp, length);
  if (const auto icmp = view_of<ipq::icmpv6_view>(ip, ip_protocol::icmpv6, bytes))
    return put_icmpv6(out, *icmp, length);

  const auto name = protocol_name(ip.transport);
  const bool header_missing = !name.empty() && ip.fragment != ipq::fragment_state::later;
  if (ip.chain_broken) {
    put(out, "[|ext-header {}]", static_cast<unsigned>(ip.transport));
  } else if (header_missing && bytes.size() < ip.transport_offset + (ip.transport == ip_protocol::tcp ? 20u : 8u)) {
    put(out, "[|{}]", name);
  } else if (header_missing) {
    put(out, "{} [bad header]", name);
  } else {
    put_protocol(out, ip.transport);
  }
  put(out, ", length {}", length);
}

void put_ip(fmt::memory_buffer& out, const ipq::packet& packet, const print_style& style) {
  const auto bytes = packet.payload;
  const bool four = packet.hw_protocol == 0x0800 || (packet.hw_protocol == 0 && packet.family == 2);
  const bool six = packet.hw_protocol == 0x86dd || (packet.hw_protocol == 0 && packet.family == 10);
  if (!four && !six) return put(out, "ethertype {:#06x}, length {}", packet.hw_protocol, bytes.size());
  put(out, "{}", four ? "IP " : "IP6 ");
  if (bytes.empty()) return put(out, "(no bytes asked for)");
  const auto ip = read_header(bytes, packet.original_length);
  if (!ip) return put(out, "[bad header], length {}", bytes.size());
  if (style.colours) put(out, "{}", bold);
  put_transport(out, *ip, bytes);
  if (style.colours) put(out, "{}", plain);
  if (ip->fragment != ipq::fragment_state::none) {
    put(out, " (frag {}:{}@{}{})", ip->identification, length_behind(*ip, ip->transport_offset), ip->fragment_offset,
        ip->more_fragments ? "+" : "");
  }
  if (packet.truncated || ip->length > bytes.size()) {
    put(out, " ({} of {} bytes)", bytes.size(), std::max<std::size_t>(packet.original_length, ip->length));
  }
  if (packet.gso) put(out, " (gso)");
}

}  // namespace

std::string tcp_flag_letters(std::uint8_t flags) {
  std::string text;
  constexpr std::string_view letters = "FSRP.UEW";
  for (unsigned bit = 0; bit < letters.size(); ++bit)
    if ((flags >> bit & 1) != 0) text.push_back(letters[bit]);
  return text.empty() ? "none" : text;
}

std::string hook_name(std::uint8_t hook) {
  constexpr std::string_view names[] = {"prerouting", "input", "forward", "output", "postrouting"};
  return hook < std::size(names) ? std::string(names[hook]) : fmt::format("hook {}", hook);
}

std::string to_string(const ipq::verdict& verdict) {
  switch (verdict.what()) {
    case ipq::verdict::action::drop:
      return "drop";
    case ipq::verdict::action::accept:
      return "accept";
    case ipq::verdict::action::repeat:
      return "repeat";
    case ipq::verdict::action::stop:
      return "stop";
    case ipq::verdict::action::queue:
      return fmt::format("queue {}", verdict.value() >> 16);
  }
  return "?";
}

void print_bytes(fmt::memory_buffer& out, std::span<const std::byte> bytes) {
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    if (at % 16 == 0) {
      put(out, "\n\t{:#06x}: ", at);
    }
    put(out, "{}{:02x}", at % 2 == 0 ? " " : "", std::to_integer<unsigned>(bytes[at]));
  }
}

void print_line(fmt::memory_buffer& out, const ipq::packet& packet, const interface_names& names,
                const print_style& style, wall_clock::time_point now) {
  if (style.colours) put(out, "{}", dim);
  if (style.time) put_time(out, now);
  put(out, "{} ", hook_name(packet.hook));
  put_interfaces(out, packet.indev, packet.outdev, names);
  if (packet.indev != 0 || packet.outdev != 0) out.push_back(' ');
  if (packet.physindev != 0 || packet.physoutdev != 0) {
    put(out, "port ");
    put_interfaces(out, packet.physindev, packet.physoutdev, names);
    out.push_back(' ');
  }
  if (packet.mark != 0) put(out, "mark {:#x} ", packet.mark);
  if (packet.uid) put(out, "uid {} ", *packet.uid);
  if (style.colours) put(out, "{}", plain);
  put_ip(out, packet, style);
  if (style.bytes) print_bytes(out, packet.payload);
}

}  // namespace tool
