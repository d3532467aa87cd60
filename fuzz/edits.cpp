// SPDX-License-Identifier: MIT
// Any edits of any packet, against plain sums: what was right stays right, what was wrong stays wrong by the same
// difference, and what fails changes nothing.
#include <array>
#include <optional>
#include <vector>

#include "input.hpp"
#include "ipq/decode.hpp"
#include "ipq/edit.hpp"
#include "ipq/ipv4.hpp"
#include "ipq/ipv6.hpp"

namespace {

using namespace ipq;
using fuzz::bytes;
using fuzz::input;
using fuzz::plain_sum;
using fuzz::require;

using copy = std::vector<std::byte>;

copy copy_of(bytes of) {
  return {of.begin(), of.end()};
}

unsigned number_at(bytes from, std::size_t at) {
  return std::to_integer<unsigned>(from[at]) << 8 | std::to_integer<unsigned>(from[at + 1]);
}

bool has_checksum(const layers& found) {
  switch (found.transport) {
    case ip_protocol::tcp:
    case ip_protocol::udp:
      return true;
    case ip_protocol::icmp:
      return found.version == 4;
    case ip_protocol::icmpv6:
      return found.version == 6;
    default:
      return false;
  }
}

/// The sum over all that the transport's checksum covers, itself included: 0xffff where it is right.
std::uint32_t transport_sum(bytes packet, const layers& found) {
  std::uint32_t sum = 0;
  if (found.transport != ip_protocol::icmp) {
    sum = found.version == 4 ? plain_sum(packet.subspan(12, 8)) : plain_sum(packet.subspan(8, 32));
    sum += static_cast<std::uint32_t>(found.transport) + (found.end - found.transport_offset);
  }
  return plain_sum(packet.first(found.end).subspan(found.transport_offset), sum);
}

/// Puts there what the kernel leaves where UDP's checksum is not ready, which chance would hardly find.
void leave_pseudo_sum(copy& packet) {
  const auto found = decode(packet);
  if (!found || !found->has_transport || found->transport != ip_protocol::udp) return;
  const bytes addresses = found->version == 4 ? bytes(packet).subspan(12, 8) : bytes(packet).subspan(8, 32);
  const auto sum = plain_sum(addresses, 17 + found->end - found->transport_offset);
  packet[found->transport_offset + 6] = static_cast<std::byte>(sum >> 8);
  packet[found->transport_offset + 7] = static_cast<std::byte>(sum);
}

/// Sums that differ by a multiple of 0xffff are the same to a receiver, except that only 0xffff is right. A sum of 0 is
/// that of an ICMP message of nothing but zeros: wrong by a difference of 0, which is why it becomes right when edited.
void same_sum(std::uint32_t before, std::uint32_t after) {
  require(before % 0xffff == after % 0xffff);
  require(before == 0 || (before == 0xffff) == (after == 0xffff));
}

/// Nothing in the editor's class tells whether an edit came through, but that a failed one must have changed nothing.
template <class Result>
void check_result(packet_editor& editor, const copy& before, const Result& outcome) {
  if (!outcome) require(fuzz::equal(editor.finish(), before));
}

template <class Address>
Address take_address(input& from) {
  Address address;
  const bytes taken = from.take(address.bytes.size());
  if (!taken.empty()) std::memcpy(address.bytes.data(), taken.data(), taken.size());
  return address;
}

void edit_once(packet_editor& editor, input& from) {
  const copy before = copy_of(editor.finish());
  const auto check = [&](const auto& outcome) { check_result(editor, before, outcome); };
  switch (from.byte() % 18) {
    case 0:
      return check(editor.set_source(take_address<ipv4_address>(from)));
    case 1:
      return check(editor.set_destination(take_address<ipv4_address>(from)));
    case 2:
      return check(editor.set_source(take_address<ipv6_address>(from)));
    case 3:
      return check(editor.set_destination(take_address<ipv6_address>(from)));
    case 4: {
      const std::uint8_t hops = from.byte();
      editor.set_ttl(hops);
      return require(std::to_integer<std::uint8_t>(editor.finish()[editor.decoded().version == 4 ? 8 : 7]) == hops);
    }
    case 5:
      return check(editor.set_dscp(from.byte() % 70));
    case 6:
      return check(editor.set_ecn(from.byte() % 5));
    case 7:
      return check(editor.set_dont_fragment(from.flag()));
    case 8:
      return check(editor.set_identification(from.take<std::uint16_t>()));
    case 9:
      return check(editor.set_source_port(from.take<std::uint16_t>()));
    case 10:
      return check(editor.set_destination_port(from.take<std::uint16_t>()));
    case 11:
      return check(editor.set_tcp_flags(from.byte()));
    case 12:
      return check(editor.set_tcp_sequence(from.take<std::uint32_t>()));
    case 13:
      return check(editor.set_tcp_acknowledgment(from.take<std::uint32_t>()));
    case 14:
      return check(editor.set_tcp_window(from.take<std::uint16_t>()));
    case 15:
      return check(editor.clamp_tcp_mss(from.take<std::uint16_t>()));
    case 16:
      return check(editor.set_icmp_identifier(from.take<std::uint16_t>()));
    default: {
      // Foreign bytes, or a part of the payload itself.
      const std::size_t offset = from.byte(), length = from.byte();
      const bool own = from.flag(), replace = from.flag();
      const bytes payload = editor.payload();
      const bytes fresh = own ? payload.subspan(std::min(offset, payload.size()),
                                                std::min(length, payload.size() - std::min(offset, payload.size())))
                              : from.take(length);
      if (!replace) {
        check(editor.overwrite_payload(offset, fresh));
        return;
      }
      const copy expected = copy_of(fresh);
      const auto outcome = editor.replace_payload(fresh);
      check(outcome);
      if (outcome) require(fuzz::equal(editor.payload(), expected));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  input from(data, size);
  const std::uint8_t flags = from.byte();
  input edits(reinterpret_cast<const std::uint8_t*>(from.rest().data()),
              std::min<std::size_t>(from.rest().size(), flags >> 3));
  from.take(flags >> 3);

  packet queued;
  queued.payload = from.rest();
  queued.original_length = static_cast<std::uint32_t>(queued.payload.size());
  queued.checksum_not_ready = (flags & 1) != 0;
  queued.gso = (flags & 2) != 0;
  queued.truncated = (flags & 4) != 0 && (flags & 3) == 3;
  copy unfinished;
  if ((flags & 7) == 5) {
    unfinished = copy_of(queued.payload);
    leave_pseudo_sum(unfinished);
    queued.payload = unfinished;
  }

  copy buffer;
  auto editor = packet_editor::edit(queued, buffer);
  if (!editor) return 0;
  require(!queued.truncated);
  const layers found = *decode(queued.payload);
  const bytes original = queued.payload.first(found.end);

  while (!edits.empty()) edit_once(*editor, edits);
  const bytes edited = editor->finish();
  const copy once = copy_of(edited);
  require(fuzz::equal(editor->finish(), once));

  const auto after = decode(edited);
  require(after && after->end == edited.size() && !after->truncated);
  require(after->version == found.version && after->transport == found.transport);
  require(after->transport_offset == found.transport_offset && after->payload_offset == found.payload_offset);
  require(after->end == editor->decoded().end);
  if (found.version == 4) {
    const std::size_t header = found.transport_offset;
    same_sum(plain_sum(original.first(header)), plain_sum(edited.first(header)));
  }

  const bool whole_header = has_checksum(found) && found.has_transport && found.fragment != fragment_state::later;
  if (!whole_header) {
    // What is not known to be a header with a checksum is kept, byte by byte, but for a first fragment's addresses.
    if (found.fragment == fragment_state::later)
      require(fuzz::equal(edited.subspan(found.transport_offset), original.subspan(found.transport_offset)));
    return 0;
  }
  const bool udp = found.transport == ip_protocol::udp;
  if (udp && number_at(original, found.transport_offset + 6) == 0 && !queued.checksum_not_ready) {
    const unsigned checksum = number_at(edited, found.transport_offset + 6);
    if (found.version == 4)
      require(checksum == 0);
    else
      require(checksum == 0 || transport_sum(edited, *after) == 0xffff);
  } else if (queued.checksum_not_ready) {
    require(transport_sum(edited, *after) == 0xffff);
  } else {
    same_sum(transport_sum(original, found), transport_sum(edited, *after));
    if (udp) require(number_at(edited, found.transport_offset + 6) != 0);
  }
  return 0;
}
