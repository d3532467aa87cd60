// SPDX-License-Identifier: MIT
#include "capture/link.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "ipq/bytes.hpp"

namespace ipq::capture {
namespace {

constexpr std::uint16_t ethertype_ipv4 = 0x0800, ethertype_ipv6 = 0x86dd;
constexpr std::uint8_t family_ipv4 = 2, family_ipv6 = 10;

/// `header` 0 means that the frame is too short for one.
struct place {
  std::uint16_t protocol = 0;
  std::size_t header = 0;
  bool whole = false;
};

/// Steps over VLAN tags, of which the outermost is kept.
place behind_tags(bytes data, std::uint16_t protocol, std::size_t at, packet& found) noexcept {
  while (is_vlan(protocol)) {
    if (data.size() < at + 4) return {};
    if (!found.vlan) found.vlan = vlan_tag{protocol, read_be16(data, at)};
    protocol = read_be16(data, at + 2);
    at += 4;
  }
  return {protocol, at, true};
}

void set_hw_addr(bytes address, packet& found) noexcept {
  found.hw_addr_length = static_cast<std::uint8_t>(std::min(address.size(), found.hw_addr.size()));
  __builtin_memcpy(found.hw_addr.data(), address.data(), found.hw_addr_length);
}

place ethernet(bytes data, packet& found) noexcept {
  constexpr std::size_t header = 14;
  if (data.size() < header) return {};
  set_hw_addr(data.subspan(6, 6), found);
  const place behind = behind_tags(data, read_be16(data, 12), header, found);
  found.l2_header = data.first(behind.header);
  return behind;
}

place cooked(bytes data, packet& found) noexcept {
  constexpr std::size_t header = 16;
  if (data.size() < header) return {};
  set_hw_addr(data.subspan(6, std::min<std::size_t>(read_be16(data, 4), 8)), found);
  return behind_tags(data, read_be16(data, 14), header, found);
}

place cooked_2(bytes data, packet& found, std::uint32_t& interface_index) noexcept {
  constexpr std::size_t header = 20;
  if (data.size() < header) return {};
  interface_index = read_be32(data, 4);
  set_hw_addr(data.subspan(12, std::min<std::size_t>(static_cast<std::size_t>(data[11]), 8)), found);
  return behind_tags(data, read_be16(data, 0), header, found);
}

std::uint16_t by_version(bytes data, std::size_t at) noexcept {
  if (data.size() <= at) return 0;
  const auto version = static_cast<unsigned>(data[at]) >> 4;
  return version == 4 ? ethertype_ipv4 : version == 6 ? ethertype_ipv6 : std::uint16_t{0};
}

/// An address family, in the numbers of whichever system wrote it: AF_INET is 2 on all, AF_INET6 on none the same.
place loopback(bytes data, std::uint32_t family) noexcept {
  switch (family) {
    case 2:
      return {ethertype_ipv4, 4, true};
    case 10:  // Linux
    case 24:  // NetBSD, OpenBSD
    case 28:  // FreeBSD
    case 30:  // macOS
      return {ethertype_ipv6, 4, true};
    default:
      return {0, data.size() < 4 ? 0 : std::size_t{4}, data.size() >= 4};
  }
}

place find_packet(std::uint32_t link, bytes data, bool swapped, packet& found,
                  std::uint32_t& interface_index) noexcept {
  switch (link) {
    case link_type::ethernet:
      return ethernet(data, found);
    case link_type::raw:
    case link_type::raw_12:
    case link_type::raw_14:
      return {by_version(data, 0), 0, !data.empty()};
    case link_type::ipv4:
      return {ethertype_ipv4, 0, true};
    case link_type::ipv6:
      return {ethertype_ipv6, 0, true};
    case link_type::cooked:
      return cooked(data, found);
    case link_type::cooked_2:
      return cooked_2(data, found, interface_index);
    case link_type::null: {
      if (data.size() < 4) return {};
      const auto family = load<std::uint32_t>(data.data(), swapped);
      // It has the byte order of the machine that captured, which need not be that of the file.
      return loopback(data, (family & 0xffff0000) != 0 ? in_order(family, true) : family);
    }
    case link_type::loop:
      if (data.size() < 4) return {};
      return loopback(data, read_be32(data, 0));
    default:
      return {};
  }
}

/// Bytes of the packet by its own account; 0 if that is no account (jumbograms, segments not yet cut).
std::size_t length_of(bytes packet, bool ipv6) noexcept {
  if (packet.size() < (ipv6 ? 6u : 4u)) return 0;
  const std::size_t length = read_be16(packet, ipv6 ? 4 : 2);
  constexpr std::byte nothing{59};  // next header, which no jumbogram has
  const bool is_empty = ipv6 && packet.size() > 6 && packet[6] == nothing;
  return ipv6 && (length != 0 || is_empty) ? 40 + length : length;
}

// An error points to literals, so every number that tcpdump.org has given has one.
constexpr std::size_t last_given_link = 319;
constexpr std::string_view before_number = "link type ";
constexpr std::string_view behind_number = " is not read, but Ethernet, raw IP, Linux cooked and null/loop are";
using numbered_text = std::array<char, before_number.size() + 3 + behind_number.size() + 1>;

consteval std::array<numbered_text, last_given_link + 1> make_numbered_links() {
  std::array<numbered_text, last_given_link + 1> made{};
  for (std::size_t number = 0; number < made.size(); ++number) {
    auto at = std::ranges::copy(before_number, made[number].begin()).out;
    for (std::size_t unit = number < 10 ? 1 : number < 100 ? 10 : 100; unit != 0; unit /= 10) {
      *at++ = static_cast<char>('0' + number / unit % 10);
    }
    std::ranges::copy(behind_number, at);
  }
  return made;
}
constexpr auto numbered_links = make_numbered_links();

}  // namespace

bool is_known(std::uint32_t link) noexcept {
  switch (link) {
    case link_type::ethernet:
    case link_type::raw:
    case link_type::raw_12:
    case link_type::raw_14:
    case link_type::ipv4:
    case link_type::ipv6:
    case link_type::cooked:
    case link_type::cooked_2:
    case link_type::null:
    case link_type::loop:
      return true;
    default:
      return false;
  }
}

const char* describe_unknown(std::uint32_t link) noexcept {
  switch (link) {
    case 9:
      return "link type 9 (PPP) is not read, but Ethernet, raw IP, Linux cooked and null/loop are";
    case 105:
      return "link type 105 (802.11) is not read, but Ethernet, raw IP, Linux cooked and null/loop are";
    case 127:
      return "link type 127 (802.11 with radiotap) is not read, but Ethernet, raw IP, Linux cooked and null/loop are";
    case 189:
      return "link type 189 (USB) is not read, but Ethernet, raw IP, Linux cooked and null/loop are";
    case 220:
      return "link type 220 (USB) is not read, but Ethernet, raw IP, Linux cooked and null/loop are";
    case 239:
      return "link type 239 (nflog) is not read, but Ethernet, raw IP, Linux cooked and null/loop are";
    case 253:
      return "link type 253 (netlink) is not read, but Ethernet, raw IP, Linux cooked and null/loop are";
    default:
      return link < numbered_links.size()
                 ? numbered_links[link].data()
                 : "this link type is not read, but Ethernet, raw IP, Linux cooked and null/loop are";
  }
}

link_result parse_link(std::uint32_t link, bytes data, std::uint32_t original_length, bool swapped,
                       packet& found) noexcept {
  link_result made{.kind = frame_kind::not_ip};
  const place where = find_packet(link, data, swapped, found, made.interface_index);
  if (!where.whole) return made;
  const bytes rest = data.subspan(where.header);
  const bool cut = original_length > data.size();
  made.whole = true;
  made.header = static_cast<std::uint32_t>(where.header);
  found.hw_protocol = where.protocol;
  found.payload = rest;
  found.original_length = original_length - made.header;
  found.truncated = cut;
  const bool ipv6 = where.protocol == ethertype_ipv6;
  if (!ipv6 && where.protocol != ethertype_ipv4) return made;
  // A header that is not whole is none, unless it was the capture that cut it.
  if (rest.empty() || static_cast<unsigned>(rest[0]) >> 4 != (ipv6 ? 6u : 4u) ||
      (!cut && rest.size() < (ipv6 ? 40u : 20u))) {
    made.kind = frame_kind::malformed;
    return made;
  }
  made.kind = frame_kind::ip;
  found.family = ipv6 ? family_ipv6 : family_ipv4;
  // What stands behind the packet is padding of the link. Where the packet says more than there ever was, it is wrong,
  // and seen as it is.
  std::size_t original = original_length - where.header;
  if (const std::size_t length = length_of(rest, ipv6); length >= (ipv6 ? 40u : 20u)) {
    original = std::min(original, length);
  }
  found.original_length = static_cast<std::uint32_t>(original);
  found.payload = rest.first(std::min(rest.size(), original));
  found.truncated = found.payload.size() < original;
  return made;
}

}  // namespace ipq::capture
