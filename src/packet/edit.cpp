// SPDX-License-Identifier: MIT
// Edits. Every change goes through change_header or change_transport, which note what it does to a checksum.
#include "ipq/edit.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>

#include "ipq/bytes.hpp"
#include "ipq/checksum.hpp"
#include "ipq/icmp.hpp"
#include "ipq/ipv4.hpp"
#include "ipq/ipv6.hpp"
#include "ipq/tcp.hpp"
#include "ipq/udp.hpp"

namespace ipq {
namespace {

constexpr std::size_t longest = 65535;  // of the length fields

std::array<std::byte, 2> be16(std::uint16_t value) noexcept {
  std::array<std::byte, 2> bytes;
  write_be16(bytes, 0, value);
  return bytes;
}

std::array<std::byte, 4> be32(std::uint32_t value) noexcept {
  std::array<std::byte, 4> bytes;
  write_be32(bytes, 0, value);
  return bytes;
}

// Where the checksum stands in the transport header; 0 if the protocol has none that depends on addresses or is known.
std::size_t checksum_offset(const layers& found) noexcept {
  switch (found.transport) {
    case ip_protocol::tcp:
      return 16;
    case ip_protocol::udp:
    case ip_protocol::udp_lite:
    case ip_protocol::dccp:
      return 6;
    case ip_protocol::icmp:
      return found.version == 4 ? 2 : 0;
    case ip_protocol::icmpv6:
      return found.version == 6 ? 2 : 0;
    default:
      return 0;
  }
}

// Whether a source route has addresses left, so that the header's destination is only the next stop.
bool has_source_route(const ipv4_view& ip) noexcept {
  for (const auto& option : ip.options()) {
    const bool route = option.kind == 131 || option.kind == 137;
    if (route && !option.data.empty() && std::to_integer<std::size_t>(option.data[0]) <= option.bytes.size())
      return true;
  }
  return false;
}

// A jumbogram or uncut segment of IPv6 says 0, as does a bare header, behind which padding may stand.
bool has_bytes_of_no_length(const layers& found, std::span<const std::byte> packet) noexcept {
  constexpr std::byte no_next_header{59};
  return found.version == 6 && found.end == ipv6_view::header_length && packet.size() > ipv6_view::header_length &&
         packet[6] != no_next_header;
}

// The sum of the pseudo-header of the packet's transport, from there to the end of its bytes.
std::uint16_t pseudo_sum(const layers& found, std::span<const std::byte> packet) noexcept {
  const auto length = static_cast<std::uint32_t>(packet.size() - found.transport_offset);
  const auto of = [&](const auto& ip) {
    return pseudo_header_sum(ip.source(), ip.destination(), found.transport, length);
  };
  return found.version == 4 ? of(*ipv4_view::parse(packet)) : of(*ipv6_view::parse(packet));
}

// A bridge queues frames of any kind (NFPROTO_BRIDGE), as tagged or MPLS, in which what looks like IP is not in its
// place.
bool is_other_frame(const packet& queued) noexcept {
  constexpr std::uint8_t bridge = 7;
  constexpr std::uint16_t ethertype_ipv4 = 0x0800, ethertype_ipv6 = 0x86dd;
  return queued.family == bridge && queued.hw_protocol != ethertype_ipv4 && queued.hw_protocol != ethertype_ipv6;
}

// Notes that words summing to `before` become words summing to `after`.
void note(std::uint64_t& sum, std::uint16_t before, std::uint16_t after) noexcept {
  sum += std::uint64_t{static_cast<std::uint16_t>(~before)} + after;
}

}  // namespace

result<packet_editor> packet_editor::edit(const packet& packet, std::vector<std::byte>& buffer) {
  constexpr auto operation = "edit packet";
  if (packet.truncated) return failed(operation, EMSGSIZE);
  if (is_other_frame(packet)) return failed(operation, EBADMSG);
  const auto found = decode(packet.payload);
  if (!found) return failed(operation, EBADMSG);
  if (found->truncated) return failed(operation, EMSGSIZE);
  // Without a length in the header (segments above 64 KiB) there is nothing that could be kept right.
  const auto length = found->version == 4 ? read_be16(packet.payload, 2) : read_be16(packet.payload, 4) + 40u;
  if (length != found->end || has_bytes_of_no_length(*found, packet.payload)) return failed(operation, EBADMSG);

  buffer.assign(packet.payload.begin(), packet.payload.begin() + found->end);
  packet_editor editor(buffer, *found, packet.gso);
  if (auto fine = editor.examine(packet.checksum_not_ready); !fine) return std::unexpected(fine.error());
  return editor;
}

result<void> packet_editor::examine(bool checksum_not_ready) noexcept {
  constexpr auto operation = "edit packet";
  bool followed = true;
  if (layers_.version == 4) {
    destination_hidden_ = has_source_route(*ipv4_view::parse(bytes()));
  } else {
    const auto chain = ipv6_view::parse(bytes())->walk();
    followed = chain.complete;
    destination_hidden_ = chain.routed;
    source_hidden_ = chain.home_address;
  }

  const auto offset = checksum_offset(layers_);
  if (!followed) {
    checksum_missing_ = true;
  } else if (layers_.fragment != fragment_state::later && offset != 0) {
    const auto at = layers_.transport_offset + static_cast<std::uint32_t>(offset);
    if (at + 2 <= layers_.end)
      checksum_at_ = at;
    else
      checksum_missing_ = true;
  }
  const bool is_fragment = layers_.fragment == fragment_state::first || layers_.fragment == fragment_state::later;
  if (layers_.has_transport && layers_.transport == ip_protocol::udp && !is_fragment)
    lengths_agree_ = read_be16(bytes(), layers_.transport_offset + 4) == layers_.end - layers_.transport_offset;

  if (checksum_not_ready) {
    if (is_fragment || source_hidden_ || destination_hidden_) return failed("compute checksum", EOPNOTSUPP);
    if (layers_.transport == ip_protocol::udp_lite || layers_.transport == ip_protocol::dccp ||
        (offset == 0 && followed))
      return failed("compute checksum", EOPNOTSUPP);
    if (!layers_.has_transport || !lengths_agree_) return failed(operation, EBADMSG);
    if (layers_.transport == ip_protocol::udp) {
      // The kernel makes the checksums of UDP's segments from the pseudo-header's sum, in whose place none may stand.
      if (gso_) return failed("compute checksum", EOPNOTSUPP);
      // Without that sum it is the checksum of a packet inside of this one that is not ready, as in a tunnel.
      if (read_be16(bytes(), checksum_at_) != pseudo_sum(layers_, bytes()))
        return failed("compute checksum", EOPNOTSUPP);
    }
    whole_ = true;
  } else if (checksum_at_ != 0 && layers_.transport == ip_protocol::udp && read_be16(bytes(), checksum_at_) == 0) {
    const bool computable =
        !is_fragment && !source_hidden_ && !destination_hidden_ && layers_.has_transport && lengths_agree_;
    if (layers_.version == 6 && !computable) {
      checksum_missing_ = true;
      checksum_at_ = 0;
    } else {
      no_checksum_ = true;
    }
  }
  return {};
}

// ---- changes

// `at` is even: of IPv4's fields only the one of the TOS is not, which is written together with its neighbour.
void packet_editor::change_header(std::size_t at, std::span<const std::byte> fresh) noexcept {
  const auto place = bytes().subspan(at, fresh.size());
  if (layers_.version == 4) {
    note(header_.sum, sum_bytes(place), sum_bytes(fresh));
    header_.any = true;
  }
  std::memmove(place.data(), fresh.data(), fresh.size());
}

void packet_editor::change_transport(std::size_t at, std::span<const std::byte> fresh) noexcept {
  if (fresh.empty()) return;
  const auto place = bytes().subspan(at, fresh.size());
  if (!whole_) {
    auto before = sum_bytes(place), after = sum_bytes(fresh);
    if ((at - layers_.transport_offset) % 2 != 0) {
      before = at_odd_offset(before);
      after = at_odd_offset(after);
    }
    note(transport_.sum, before, after);
  }
  transport_.any = true;
  std::memmove(place.data(), fresh.data(), fresh.size());
}

// ---- the IP header

result<void> packet_editor::set_address(std::size_t at, std::span<const std::byte> address, bool hidden) noexcept {
  constexpr auto operation = "set address";
  const bool first = layers_.fragment == fragment_state::first;
  if (checksum_missing_) return failed(operation, first ? EOPNOTSUPP : EBADMSG);
  if (hidden) return failed(operation, EOPNOTSUPP);
  if (checksum_at_ != 0 && has_pseudo_header()) {
    note(transport_.sum, sum_bytes(bytes().subspan(at, address.size())), sum_bytes(address));
    transport_.any = true;
  }
  change_header(at, address);
  return {};
}

result<void> packet_editor::set_source(const ipv4_address& address) noexcept {
  if (layers_.version != 4) return failed("set source address", EAFNOSUPPORT);
  return set_address(12, std::as_bytes(std::span(address.bytes)), source_hidden_);
}

result<void> packet_editor::set_destination(const ipv4_address& address) noexcept {
  if (layers_.version != 4) return failed("set destination address", EAFNOSUPPORT);
  return set_address(16, std::as_bytes(std::span(address.bytes)), destination_hidden_);
}

result<void> packet_editor::set_source(const ipv6_address& address) noexcept {
  if (layers_.version != 6) return failed("set source address", EAFNOSUPPORT);
  return set_address(8, std::as_bytes(std::span(address.bytes)), source_hidden_);
}

result<void> packet_editor::set_destination(const ipv6_address& address) noexcept {
  if (layers_.version != 6) return failed("set destination address", EAFNOSUPPORT);
  return set_address(24, std::as_bytes(std::span(address.bytes)), destination_hidden_);
}

void packet_editor::set_ttl(std::uint8_t hops) noexcept {
  const std::byte fresh[] = {std::byte{hops}};
  change_header(layers_.version == 4 ? 8 : 7, fresh);
}

result<void> packet_editor::set_dscp(unsigned dscp) noexcept {
  if (dscp > 63) return failed("set DSCP", ERANGE);
  const auto now = read_be16(bytes(), 0);
  const unsigned fresh = layers_.version == 4 ? (now & 0xff03u) | dscp << 2 : (now & 0xf03fu) | dscp << 6;
  change_header(0, be16(static_cast<std::uint16_t>(fresh)));
  return {};
}

result<void> packet_editor::set_ecn(unsigned ecn) noexcept {
  if (ecn > 3) return failed("set ECN", ERANGE);
  const auto now = read_be16(bytes(), 0);
  const unsigned fresh = layers_.version == 4 ? (now & 0xfffcu) | ecn : (now & 0xffcfu) | ecn << 4;
  change_header(0, be16(static_cast<std::uint16_t>(fresh)));
  return {};
}

result<void> packet_editor::set_dont_fragment(bool dont) noexcept {
  if (layers_.version != 4) return failed("set don't fragment", EAFNOSUPPORT);
  const auto now = read_be16(bytes(), 6);
  change_header(6, be16(static_cast<std::uint16_t>(dont ? now | 0x4000 : now & ~0x4000)));
  return {};
}

result<void> packet_editor::set_identification(std::uint16_t identification) noexcept {
  if (layers_.version != 4) return failed("set identification", EAFNOSUPPORT);
  change_header(4, be16(identification));
  return {};
}

// ---- the transport header

result<void> packet_editor::need(ip_protocol protocol, const char* operation) const noexcept {
  if (layers_.fragment == fragment_state::later) return failed(operation, EOPNOTSUPP);
  if (layers_.transport != protocol) return failed(operation, EPROTONOSUPPORT);
  const bool first = layers_.fragment == fragment_state::first;
  if (!layers_.has_transport || checksum_missing_) return failed(operation, first ? EOPNOTSUPP : EBADMSG);
  return {};
}

result<void> packet_editor::set_port(std::size_t at, std::uint16_t port, const char* operation) noexcept {
  const auto protocol = layers_.transport == ip_protocol::udp ? ip_protocol::udp : ip_protocol::tcp;
  if (auto fine = need(protocol, operation); !fine) return fine;
  change_transport(layers_.transport_offset + at, be16(port));
  return {};
}

result<void> packet_editor::set_source_port(std::uint16_t port) noexcept {
  return set_port(0, port, "set source port");
}

result<void> packet_editor::set_destination_port(std::uint16_t port) noexcept {
  return set_port(2, port, "set destination port");
}

result<void> packet_editor::set_tcp(std::size_t at, std::span<const std::byte> fresh, const char* operation) noexcept {
  if (auto fine = need(ip_protocol::tcp, operation); !fine) return fine;
  change_transport(layers_.transport_offset + at, fresh);
  return {};
}

result<void> packet_editor::set_tcp_flags(std::uint8_t flags) noexcept {
  const std::byte fresh[] = {std::byte{flags}};
  return set_tcp(13, fresh, "set TCP flags");
}

result<void> packet_editor::set_tcp_sequence(std::uint32_t number) noexcept {
  return set_tcp(4, be32(number), "set TCP sequence number");
}

result<void> packet_editor::set_tcp_acknowledgment(std::uint32_t number) noexcept {
  return set_tcp(8, be32(number), "set TCP acknowledgment number");
}

result<void> packet_editor::set_tcp_window(std::uint16_t window) noexcept {
  return set_tcp(14, be16(window), "set TCP window");
}

result<bool> packet_editor::clamp_tcp_mss(std::uint16_t most) noexcept {
  if (auto fine = need(ip_protocol::tcp, "clamp TCP MSS"); !fine) return std::unexpected(fine.error());
  const auto tcp = tcp_view::parse(bytes().subspan(layers_.transport_offset));
  if (!tcp->syn()) return false;
  bool changed = false;
  for (const auto& option : tcp->options()) {
    if (option.kind != 2 || option.data.size() != 2 || read_be16(option.data, 0) <= most) continue;
    change_transport(static_cast<std::size_t>(option.data.data() - bytes().data()), be16(most));
    changed = true;
  }
  return changed;
}

result<void> packet_editor::set_icmp_identifier(std::uint16_t identifier) noexcept {
  constexpr auto operation = "set ICMP identifier";
  const auto protocol = layers_.version == 4 ? ip_protocol::icmp : ip_protocol::icmpv6;
  if (auto fine = need(protocol, operation); !fine) return fine;
  const auto message = bytes().subspan(layers_.transport_offset);
  const bool echo =
      layers_.version == 4 ? icmp_view::parse(message)->is_echo() : icmpv6_view::parse(message)->is_echo();
  if (!echo) return failed(operation, EPROTONOSUPPORT);
  change_transport(layers_.transport_offset + 4, be16(identifier));
  return {};
}

// ---- the payload

result<void> packet_editor::need_payload(const char* operation) const noexcept {
  if (layers_.fragment != fragment_state::later && checksum_offset(layers_) == 0 && !checksum_missing_)
    return failed(operation, EPROTONOSUPPORT);
  if (layers_.transport == ip_protocol::udp_lite || layers_.transport == ip_protocol::dccp)
    return failed(operation, EPROTONOSUPPORT);
  if (auto fine = need(layers_.transport, operation); !fine) return fine;
  if (!lengths_agree_) return failed(operation, EBADMSG);
  return {};
}

result<void> packet_editor::overwrite_payload(std::size_t offset, std::span<const std::byte> fresh) noexcept {
  constexpr auto operation = "overwrite payload";
  if (auto fine = need_payload(operation); !fine) return fine;
  const auto size = layers_.end - layers_.payload_offset;
  if (offset > size || fresh.size() > size - offset) return failed(operation, ERANGE);
  change_transport(layers_.payload_offset + offset, fresh);
  return {};
}

result<void> packet_editor::replace_payload(std::span<const std::byte> fresh) {
  constexpr auto operation = "replace payload";
  if (auto fine = need_payload(operation); !fine) return fine;
  if (gso_ || layers_.fragment == fragment_state::first) return failed(operation, EOPNOTSUPP);
  const std::size_t fixed = layers_.version == 4 ? 0 : 40;  // IPv6 does not count its own header
  if (fresh.size() > longest || layers_.payload_offset + fresh.size() - fixed > longest)
    return failed(operation, EMSGSIZE);

  const std::size_t end = layers_.payload_offset + fresh.size();
  const auto before = std::span<const std::byte>(*buffer_).subspan(layers_.payload_offset);
  if (!whole_) note(transport_.sum, sum_bytes(before), sum_bytes(fresh));
  transport_.any = true;

  // Bytes of this very packet move with the buffer.
  const std::less<> before_it;
  const bool own = !fresh.empty() && !before_it(fresh.data(), buffer_->data()) &&
                   before_it(fresh.data(), buffer_->data() + buffer_->size());
  const std::size_t own_at = own ? static_cast<std::size_t>(fresh.data() - buffer_->data()) : 0;
  if (end > buffer_->size()) buffer_->resize(end);
  if (!fresh.empty())
    std::memmove(buffer_->data() + layers_.payload_offset, own ? buffer_->data() + own_at : fresh.data(), fresh.size());
  buffer_->resize(end);
  set_length(end);
  return {};
}

void packet_editor::set_length(std::size_t end) noexcept {
  const auto words = [](std::size_t length) { return fold(length); };
  const std::size_t before = layers_.end - layers_.transport_offset, after = end - layers_.transport_offset;
  if (!whole_ && has_pseudo_header()) note(transport_.sum, words(before), words(after));
  if (layers_.transport == ip_protocol::udp)
    change_transport(layers_.transport_offset + 4, be16(static_cast<std::uint16_t>(after)));
  if (layers_.version == 4)
    change_header(2, be16(static_cast<std::uint16_t>(end)));
  else
    change_header(4, be16(static_cast<std::uint16_t>(end - ipv6_view::header_length)));
  layers_.end = static_cast<std::uint32_t>(end);
}

// ---- checksums

std::uint16_t packet_editor::whole_checksum() noexcept {
  write_be16(bytes(), checksum_at_, 0);
  std::uint16_t sum = sum_bytes(bytes().subspan(layers_.transport_offset));
  if (has_pseudo_header()) sum = add_sums(sum, pseudo_sum(layers_, bytes()));
  return static_cast<std::uint16_t>(~sum);
}

std::span<const std::byte> packet_editor::finish() noexcept {
  // Equation 3 of RFC 1624, with all changes in one sum. A sum of 0 can only be a sum of 0xffff, as no header is all
  // zero.
  const auto updated = [](std::uint16_t checksum, std::uint64_t changes) {
    const auto sum = fold(static_cast<std::uint16_t>(~checksum) + changes);
    return static_cast<std::uint16_t>(sum == 0 ? 0 : ~sum);
  };

  if (header_.any) write_be16(bytes(), 10, updated(read_be16(bytes(), 10), header_.sum));

  const bool none = no_checksum_ && layers_.version == 4;
  if (whole_ || (transport_.any && checksum_at_ != 0 && !none)) {
    const bool none_is_zero = layers_.transport == ip_protocol::udp || layers_.transport == ip_protocol::udp_lite;
    std::uint16_t checksum;
    if (whole_ || no_checksum_) {
      checksum = whole_checksum();
    } else {
      checksum = updated(read_be16(bytes(), checksum_at_), transport_.sum);
      // A message of ICMP has no pseudo-header, so it may be all zero, and then its sum is 0 and not 0xffff.
      if (checksum == 0 && !has_pseudo_header()) {
        write_be16(bytes(), checksum_at_, 0);
        const auto message = bytes().subspan(layers_.transport_offset);
        if (std::ranges::all_of(message, [](std::byte b) { return b == std::byte{0}; })) checksum = 0xffff;
      }
    }
    if (none_is_zero && checksum == 0) checksum = 0xffff;
    write_be16(bytes(), checksum_at_, checksum);
    whole_ = no_checksum_ = false;
  }
  header_ = transport_ = {};
  return *buffer_;
}

}  // namespace ipq
