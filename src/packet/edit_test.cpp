// SPDX-License-Identifier: MIT
// Edits: whatever is changed, in whatever order, lengths and checksums are those of a packet made anew.
#include "ipq/edit.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <random>
#include <string_view>
#include <vector>

#include "ipq/checksum.hpp"
#include "ipq/icmp.hpp"
#include "ipq/ipv4.hpp"
#include "ipq/ipv6.hpp"
#include "ipq/tcp.hpp"
#include "ipq/udp.hpp"

#include "data/tshark.hpp"

namespace ipq {
namespace {

using bytes = std::vector<std::byte>;

// ---- a second opinion: sums word by word, as RFC 1071 describes them

std::uint32_t plain_sum(std::span<const std::byte> of, std::uint32_t sum = 0) {
  for (std::size_t at = 0; at < of.size(); at += 2) {
    sum += std::to_integer<std::uint32_t>(of[at]) << 8;
    if (at + 1 < of.size()) sum += std::to_integer<std::uint32_t>(of[at + 1]);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  }
  return sum;
}

std::uint16_t get16(std::span<const std::byte> from, std::size_t at) {
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(from[at]) << 8 | std::to_integer<unsigned>(from[at + 1]));
}

void put16(bytes& into, std::size_t at, unsigned value) {
  into[at] = static_cast<std::byte>(value >> 8);
  into[at + 1] = static_cast<std::byte>(value);
}

std::size_t header_size(std::span<const std::byte> packet) {
  return std::to_integer<unsigned>(packet[0]) >> 4 == 4 ? (std::to_integer<std::size_t>(packet[0]) & 15) * 4 : 40;
}

ip_protocol protocol_of(std::span<const std::byte> packet) {
  return static_cast<ip_protocol>(packet[header_size(packet) == 40 ? 6 : 9]);
}

std::size_t checksum_place(ip_protocol protocol) {
  return protocol == ip_protocol::tcp ? 16 : protocol == ip_protocol::udp ? 6 : 2;
}

/// The sum of what the transport checksum covers, itself included: 0xffff if it is right.
std::uint32_t transport_sum(std::span<const std::byte> packet) {
  const std::size_t header = header_size(packet);
  const ip_protocol protocol = protocol_of(packet);
  std::uint32_t sum = 0;
  if (protocol != ip_protocol::icmp) {
    sum = header == 40 ? plain_sum(packet.subspan(8, 32)) : plain_sum(packet.subspan(12, 8));
    sum += static_cast<std::uint32_t>(protocol) + static_cast<std::uint32_t>(packet.size() - header);
  }
  return plain_sum(packet.subspan(header), sum);
}

void expect_right(std::span<const std::byte> packet) {
  const std::size_t header = header_size(packet);
  if (header == 40) {
    ASSERT_EQ(get16(packet, 4), packet.size() - 40);
  } else {
    ASSERT_EQ(get16(packet, 2), packet.size());
    ASSERT_EQ(plain_sum(packet.first(header)), 0xffffu) << "header checksum";
  }
  ASSERT_EQ(transport_sum(packet), 0xffffu) << "transport checksum";
  if (protocol_of(packet) == ip_protocol::udp) {
    ASSERT_EQ(get16(packet, header + 4), packet.size() - header);
    ASSERT_NE(get16(packet, header + 6), 0) << "0 would mean none";
  }
}

/// A packet with right checksums, made without the code under test.
bytes make_packet(int version, ip_protocol protocol, const bytes& payload) {
  const std::size_t header = version == 4 ? 20 : 40;
  const std::size_t transport = protocol == ip_protocol::tcp ? 24 : 8;
  bytes packet(header + transport + payload.size());
  if (version == 4) {
    packet[0] = std::byte{0x45};
    put16(packet, 2, static_cast<unsigned>(packet.size()));
    put16(packet, 4, 0x1234);
    packet[8] = std::byte{64};
    packet[9] = static_cast<std::byte>(protocol);
    for (std::size_t i = 12; i < 20; ++i) packet[i] = static_cast<std::byte>(i * 11);
    put16(packet, 10, ~plain_sum(std::span(packet).first(20)) & 0xffff);
  } else {
    packet[0] = std::byte{0x60};
    put16(packet, 4, static_cast<unsigned>(packet.size() - 40));
    packet[6] = static_cast<std::byte>(protocol);
    packet[7] = std::byte{64};
    for (std::size_t i = 8; i < 40; ++i) packet[i] = static_cast<std::byte>(i * 7);
  }
  if (protocol == ip_protocol::tcp) {
    put16(packet, header, 5000);
    put16(packet, header + 2, 80);
    packet[header + 12] = std::byte{0x60};
    packet[header + 13] = std::byte{tcp_syn};
    put16(packet, header + 20, 0x0204);
    put16(packet, header + 22, 1460);
  } else if (protocol == ip_protocol::udp) {
    put16(packet, header, 5000);
    put16(packet, header + 2, 53);
    put16(packet, header + 4, static_cast<unsigned>(packet.size() - header));
  } else {
    packet[header] = protocol == ip_protocol::icmp ? std::byte{8} : std::byte{128};
  }
  std::ranges::copy(payload, packet.begin() + static_cast<std::ptrdiff_t>(header + transport));
  std::uint32_t checksum = ~transport_sum(packet) & 0xffff;
  if (checksum == 0 && protocol == ip_protocol::udp) checksum = 0xffff;
  put16(packet, header + checksum_place(protocol), checksum);
  return packet;
}

packet queued(const bytes& payload) {
  packet made;
  made.payload = payload;
  made.original_length = static_cast<std::uint32_t>(payload.size());
  return made;
}

bytes random_bytes(std::minstd_rand& random, std::size_t size) {
  bytes made(size);
  // Zeros and ones are where sums go wrong.
  const auto kind = random() % 4;
  for (auto& byte : made) byte = static_cast<std::byte>(kind == 0 ? 0 : kind == 1 ? 0xff : random());
  return made;
}

struct kind {
  int version;
  ip_protocol protocol;
};
constexpr kind kinds[] = {{4, ip_protocol::tcp}, {4, ip_protocol::udp}, {4, ip_protocol::icmp},
                          {6, ip_protocol::tcp}, {6, ip_protocol::udp}, {6, ip_protocol::icmpv6}};

/// One edit of any sort; those that do not apply to the packet have to fail.
void edit_at_random(packet_editor& editor, const kind& of, std::minstd_rand& random) {
  const auto value = static_cast<std::uint16_t>(random() % 3 == 0 ? 0xffff : random() % 2 == 0 ? 0 : random());
  const bool has_ports = of.protocol == ip_protocol::tcp || of.protocol == ip_protocol::udp;
  const bool tcp = of.protocol == ip_protocol::tcp;
  ipv4_address four;
  ipv6_address six;
  for (auto& byte : four.bytes) byte = static_cast<std::uint8_t>(random());
  for (auto& byte : six.bytes) byte = static_cast<std::uint8_t>(random() % 2 == 0 ? 0xff : random());
  switch (random() % 16) {
    case 0:
      EXPECT_EQ(editor.set_source(four).has_value(), of.version == 4);
      break;
    case 1:
      EXPECT_EQ(editor.set_source(six).has_value(), of.version == 6);
      break;
    case 2:
      EXPECT_EQ(editor.set_destination(four).has_value(), of.version == 4);
      break;
    case 3:
      EXPECT_EQ(editor.set_destination(six).has_value(), of.version == 6);
      break;
    case 4:
      editor.set_ttl(static_cast<std::uint8_t>(value));
      break;
    case 5:
      EXPECT_TRUE(editor.set_dscp(value % 64));
      break;
    case 6:
      EXPECT_TRUE(editor.set_ecn(value % 4));
      break;
    case 7:
      EXPECT_EQ(editor.set_identification(value).has_value(), of.version == 4);
      EXPECT_EQ(editor.set_dont_fragment(value % 2 == 0).has_value(), of.version == 4);
      break;
    case 8:
      EXPECT_EQ(editor.set_source_port(value).has_value(), has_ports);
      break;
    case 9:
      EXPECT_EQ(editor.set_destination_port(value).has_value(), has_ports);
      break;
    case 10:
      EXPECT_EQ(editor.set_tcp_flags(static_cast<std::uint8_t>(value)).has_value(), tcp);
      EXPECT_EQ(editor.set_tcp_window(value).has_value(), tcp);
      break;
    case 11:
      EXPECT_EQ(editor.set_tcp_sequence(value * 65537u).has_value(), tcp);
      EXPECT_EQ(editor.set_tcp_acknowledgment(value * 3u).has_value(), tcp);
      break;
    case 12:
      EXPECT_EQ(editor.clamp_tcp_mss(value).has_value(), tcp);
      break;
    case 13:
      EXPECT_EQ(editor.set_icmp_identifier(value).has_value(), !has_ports);
      break;
    case 14: {
      const std::size_t size = editor.payload().size();
      const std::size_t offset = size == 0 ? 0 : random() % size;
      EXPECT_TRUE(editor.overwrite_payload(offset, random_bytes(random, size == 0 ? 0 : random() % (size - offset))));
      break;
    }
    default:
      EXPECT_TRUE(editor.replace_payload(random_bytes(random, random() % 90)));
  }
}

TEST(packet_editor, any_edits_in_any_order_leave_a_right_packet) {
  std::minstd_rand random(7);
  bytes buffer;
  for (int round = 0; round < 30'000; ++round) {
    const kind& of = kinds[random() % std::size(kinds)];
    const bytes made = make_packet(of.version, of.protocol, random_bytes(random, random() % 70));
    expect_right(made);
    auto editor = packet_editor::edit(queued(made), buffer);
    ASSERT_TRUE(editor) << editor.error().message();
    for (auto edits = random() % 8; edits > 0; --edits) {
      edit_at_random(*editor, of, random);
      if (random() % 4 == 0) expect_right(editor->finish());
    }
    expect_right(editor->finish());
    if (HasFailure())
      FAIL() << "round " << round << ", version " << of.version << ", protocol " << static_cast<int>(of.protocol);
  }
}

TEST(packet_editor, changes_what_it_was_told_and_nothing_else) {
  bytes buffer;
  const bytes made = make_packet(4, ip_protocol::udp, bytes(5, std::byte{'x'}));
  auto editor = packet_editor::edit(queued(made), buffer);
  ASSERT_TRUE(editor);
  const auto same = editor->finish();
  EXPECT_EQ(bytes(same.begin(), same.end()), made);
  ASSERT_TRUE(editor->set_destination(*ipv4_address::parse("198.51.100.9")));
  ASSERT_TRUE(editor->set_destination_port(5353));
  editor->set_ttl(1);
  const auto edited = editor->finish();
  const auto ip = ipv4_view::parse(edited);
  EXPECT_EQ(ip->destination().to_string(), "198.51.100.9");
  EXPECT_EQ(ip->source(), ipv4_view::parse(made)->source());
  EXPECT_EQ(ip->time_to_live(), 1);
  EXPECT_EQ(ip->identification(), 0x1234);
  EXPECT_EQ(udp_view::parse(ip->payload())->destination_port(), 5353);
  EXPECT_EQ(udp_view::parse(ip->payload())->source_port(), 5000);
  expect_right(edited);
}

TEST(packet_editor, wrong_checksum_stays_wrong_by_the_same_difference) {
  for (const auto& of : kinds) {
    bytes made = make_packet(of.version, of.protocol, bytes(9, std::byte{3}));
    const std::size_t place = header_size(made) + checksum_place(of.protocol);
    put16(made, place, get16(made, place) ^ 0x0101u);
    const auto before = transport_sum(made);
    bytes buffer;
    auto editor = packet_editor::edit(queued(made), buffer);
    ASSERT_TRUE(editor);
    ASSERT_TRUE(editor->replace_payload(bytes(17, std::byte{9})));
    const auto edited = editor->finish();
    EXPECT_NE(transport_sum(edited), 0xffffu);
    EXPECT_EQ(transport_sum(edited), before);
  }
}

// What UDP-Lite sends in the place of 0 (RFC 3828 3.1) is what UDP does: there is a source for which the sum is 0.
TEST(packet_editor, no_checksum_of_udp_lite_is_zero) {
  bytes made = make_packet(4, ip_protocol::udp, bytes(9, std::byte{3}));
  made[9] = static_cast<std::byte>(ip_protocol::udp_lite);
  put16(made, 10, 0);
  put16(made, 10, 0xffff - plain_sum(std::span(made).first(20)));
  put16(made, 26, 0);
  const std::uint32_t sum =
      plain_sum(std::span(made).subspan(12, 8)) + static_cast<std::uint32_t>(ip_protocol::udp_lite);
  put16(made, 26, 0xffff - plain_sum(std::span(made).subspan(20), sum + 17));
  for (unsigned low = 0; low < 0x10000; ++low) {
    bytes buffer;
    auto editor = packet_editor::edit(queued(made), buffer);
    ASSERT_TRUE(editor);
    const ipv4_address source{{10, 0, static_cast<std::uint8_t>(low >> 8), static_cast<std::uint8_t>(low)}};
    ASSERT_TRUE(editor->set_source(source));
    ASSERT_NE(get16(editor->finish(), 26), 0) << low;
  }
}

/// What the kernel leaves in place of a checksum that it has not computed: the sum of the pseudo-header.
bytes unfinished(bytes made) {
  const std::size_t header = header_size(made);
  const auto addresses = header == 40 ? std::span(made).subspan(8, 32) : std::span(made).subspan(12, 8);
  const auto sum = plain_sum(
      addresses, static_cast<std::uint32_t>(protocol_of(made)) + static_cast<std::uint32_t>(made.size() - header));
  put16(made, header + checksum_place(protocol_of(made)), sum);
  return made;
}

// The outer UDP has no checksum or a complete one, and it is the inner one that is not ready.
TEST(packet_editor, checksum_that_is_not_ready_inside_of_a_tunnel_is_refused) {
  for (const int version : {4, 6}) {
    const bytes complete = make_packet(version, ip_protocol::udp, bytes(60, std::byte{3}));
    bytes none = complete;
    put16(none, header_size(none) + 6, 0);
    for (const auto& made : {complete, none}) {
      packet outer = queued(made);
      outer.checksum_not_ready = true;
      bytes buffer;
      const auto editor = packet_editor::edit(outer, buffer);
      ASSERT_FALSE(editor);
      EXPECT_TRUE(editor.error().is(EOPNOTSUPP));
    }
  }
}

TEST(packet_editor, checksum_that_is_not_ready_is_computed) {
  for (const auto& of : kinds) {
    bytes made = make_packet(of.version, of.protocol, bytes(9, std::byte{3}));
    if (of.protocol == ip_protocol::udp)
      made = unfinished(made);
    else
      put16(made, header_size(made) + checksum_place(of.protocol), 0x4711);
    packet partial = queued(made);
    partial.checksum_not_ready = true;
    bytes buffer;
    auto editor = packet_editor::edit(partial, buffer);
    ASSERT_TRUE(editor);
    expect_right(editor->finish());
    ASSERT_TRUE(editor->replace_payload(bytes(4, std::byte{9})));
    expect_right(editor->finish());
  }
}

// The kernel cuts them later: the checksums of TCP are then made anew, those of UDP from the sum that stands there.
TEST(packet_editor, segments_of_udp_whose_checksums_are_not_ready_are_refused) {
  for (const auto& of : kinds) {
    if (of.protocol != ip_protocol::udp && of.protocol != ip_protocol::tcp) continue;
    const bytes made = unfinished(make_packet(of.version, of.protocol, bytes(3000, std::byte{3})));
    packet segments = queued(made);
    segments.checksum_not_ready = segments.gso = true;
    bytes buffer;
    const auto editor = packet_editor::edit(segments, buffer);
    EXPECT_EQ(editor.has_value(), of.protocol == ip_protocol::tcp);
    EXPECT_TRUE(editor || editor.error().is(EOPNOTSUPP));
    segments.gso = false;
    EXPECT_TRUE(packet_editor::edit(segments, buffer));
  }
}

TEST(packet_editor, udp_without_checksum_stays_so_over_ipv4_alone) {
  for (const int version : {4, 6}) {
    bytes made = make_packet(version, ip_protocol::udp, bytes(3, std::byte{1}));
    const std::size_t place = header_size(made) + 6;
    put16(made, place, 0);
    bytes buffer;
    auto editor = packet_editor::edit(queued(made), buffer);
    ASSERT_TRUE(editor);
    ASSERT_TRUE(editor->set_destination_port(9));
    const auto edited = editor->finish();
    if (version == 4) {
      EXPECT_EQ(get16(edited, place), 0);
    } else {
      expect_right(edited);
    }
  }
}

TEST(packet_editor, udp_checksum_that_comes_to_zero_is_written_as_ones) {
  // Source port chosen so that everything covered sums to 0xffff with a checksum of zero.
  bytes made = make_packet(4, ip_protocol::udp, {});
  put16(made, 26, 0);
  put16(made, 20, 0);
  const auto port = static_cast<std::uint16_t>(0xffff - transport_sum(made));
  made = make_packet(4, ip_protocol::udp, {});
  bytes buffer;
  auto editor = packet_editor::edit(queued(made), buffer);
  ASSERT_TRUE(editor && editor->set_source_port(port));
  const auto edited = editor->finish();
  EXPECT_EQ(get16(edited, 26), 0xffff);
  expect_right(edited);
}

TEST(packet_editor, fragments) {
  bytes first = make_packet(4, ip_protocol::udp, bytes(16, std::byte{1}));
  // The checksum and the length of a datagram whose end is elsewhere.
  first[6] = std::byte{0x20};
  put16(first, 10, 0);
  put16(first, 10, ~plain_sum(std::span(first).first(20)) & 0xffff);
  put16(first, 24, 1008);
  bytes buffer;
  auto editor = packet_editor::edit(queued(first), buffer);
  ASSERT_TRUE(editor);
  const auto before = transport_sum(first);
  ASSERT_TRUE(editor->set_source_port(7));
  ASSERT_TRUE(editor->set_source(*ipv4_address::parse("10.1.2.3")));
  EXPECT_TRUE(editor->replace_payload(bytes(3)).error().is(EOPNOTSUPP));
  const auto edited = editor->finish();
  EXPECT_EQ(plain_sum(edited.first(20)), 0xffffu);
  EXPECT_EQ(transport_sum(edited), before) << "the change is carried by the checksum";

  bytes later = first;
  later[7] = std::byte{0x02};
  put16(later, 10, 0);
  put16(later, 10, ~plain_sum(std::span(later).first(20)) & 0xffff);
  editor = packet_editor::edit(queued(later), buffer);
  ASSERT_TRUE(editor);
  EXPECT_TRUE(editor->set_source_port(7).error().is(EOPNOTSUPP));
  EXPECT_TRUE(editor->overwrite_payload(0, bytes(1)).error().is(EOPNOTSUPP));
  ASSERT_TRUE(editor->set_source(*ipv4_address::parse("10.1.2.3")));
  const auto kept = editor->finish();
  EXPECT_EQ(plain_sum(kept.first(20)), 0xffffu);
  EXPECT_EQ(bytes(kept.begin() + 20, kept.end()), bytes(later.begin() + 20, later.end())) << "no checksum is there";

  packet partial = queued(first);
  partial.checksum_not_ready = true;
  EXPECT_TRUE(packet_editor::edit(partial, buffer).error().is(EOPNOTSUPP));
}

TEST(packet_editor, source_route_hides_the_destination_as_long_as_stops_are_left) {
  for (const unsigned pointer : {4u, 8u}) {
    bytes made = make_packet(4, ip_protocol::udp, bytes(4, std::byte{1}));
    const std::array<unsigned, 8> route{131, 7, pointer, 192, 0, 2, 9, 0};
    for (std::size_t i = 0; i < route.size(); ++i)
      made.insert(made.begin() + 20 + static_cast<std::ptrdiff_t>(i), static_cast<std::byte>(route[i]));
    made[0] = std::byte{0x47};
    put16(made, 2, static_cast<unsigned>(made.size()));
    bytes buffer;
    auto editor = packet_editor::edit(queued(made), buffer);
    ASSERT_TRUE(editor);
    EXPECT_TRUE(editor->set_source(ipv4_address{}));
    const auto changed = editor->set_destination(ipv4_address{});
    EXPECT_EQ(changed.has_value(), pointer == 8);
    EXPECT_EQ(!changed && changed.error().is(EOPNOTSUPP), pointer == 4);
    // The sum of what the kernel computes it with, which has no options and ends at the last stop.
    const auto sum = plain_sum(std::span(made).subspan(12, 8), 17 + static_cast<std::uint32_t>(made.size() - 28));
    put16(made, 28 + 6, sum);
    packet partial = queued(made);
    partial.checksum_not_ready = true;
    EXPECT_EQ(packet_editor::edit(partial, buffer).has_value(), pointer == 8);
  }
}

TEST(packet_editor, home_address_hides_the_source) {
  bytes made = make_packet(6, ip_protocol::udp, bytes(4, std::byte{1}));
  bytes options(24);
  options[0] = static_cast<std::byte>(ip_protocol::udp);
  options[1] = std::byte{2};
  options[5] = std::byte{0xc9};  // behind three bytes of padding
  options[6] = std::byte{16};
  made.insert(made.begin() + 40, options.begin(), options.end());
  made[6] = static_cast<std::byte>(ip_protocol::destination_options);
  put16(made, 4, static_cast<unsigned>(made.size() - 40));
  bytes buffer;
  auto editor = packet_editor::edit(queued(made), buffer);
  ASSERT_TRUE(editor);
  EXPECT_TRUE(editor->set_source(ipv6_address{}).error().is(EOPNOTSUPP));
  EXPECT_TRUE(editor->set_destination(ipv6_address{}));
}

TEST(packet_editor, icmp_message_that_becomes_all_zeros_has_a_checksum_of_ones) {
  bytes made = make_packet(4, ip_protocol::icmp, bytes(2, std::byte{0x11}));
  made[20] = std::byte{0};  // an echo reply
  put16(made, 22, 0);
  put16(made, 22, ~plain_sum(std::span(made).subspan(20)) & 0xffff);
  bytes buffer;
  auto editor = packet_editor::edit(queued(made), buffer);
  ASSERT_TRUE(editor && editor->replace_payload(bytes(2)));
  const auto edited = editor->finish();
  EXPECT_EQ(get16(edited, 22), 0xffff);
  expect_right(edited);
}

TEST(packet_editor, refuses_what_can_not_be_written_back) {
  bytes buffer;
  const bytes made = make_packet(4, ip_protocol::udp, bytes(9));
  packet cut = queued(made);
  cut.truncated = true;
  EXPECT_TRUE(packet_editor::edit(cut, buffer).error().is(EMSGSIZE));
  const bytes shorter(made.begin(), made.end() - 1);
  EXPECT_TRUE(packet_editor::edit(queued(shorter), buffer).error().is(EMSGSIZE));
  EXPECT_TRUE(packet_editor::edit(queued({}), buffer).error().is(EBADMSG));
  EXPECT_TRUE(packet_editor::edit(queued(bytes(40)), buffer).error().is(EBADMSG));
  // A label of MPLS that begins as IPv4 does.
  packet frame = queued(made);
  frame.family = 7;
  frame.hw_protocol = 0x8847;
  EXPECT_TRUE(packet_editor::edit(frame, buffer).error().is(EBADMSG));
  frame.hw_protocol = 0x0800;
  EXPECT_TRUE(packet_editor::edit(frame, buffer));
  for (const int version : {4, 6}) {
    bytes lengthless = make_packet(version, ip_protocol::tcp, bytes(9));
    put16(lengthless, version == 4 ? 2 : 4, 0);
    EXPECT_TRUE(packet_editor::edit(queued(lengthless), buffer).error().is(EBADMSG)) << "segments of over 64 KiB";
  }
}

TEST(packet_editor, a_bare_header_of_ipv6_loses_its_padding) {
  bytes bare = make_packet(6, ip_protocol::udp, {});
  put16(bare, 4, 0);
  bare[6] = std::byte{59};  // nothing follows
  bytes buffer;
  auto editor = packet_editor::edit(queued(bare), buffer);
  ASSERT_TRUE(editor);
  editor->set_ttl(9);
  EXPECT_EQ(editor->finish().size(), 40u);
}

TEST(packet_editor, limits_of_values_and_lengths) {
  bytes buffer;
  const bytes made = make_packet(4, ip_protocol::udp, bytes(9));
  auto editor = packet_editor::edit(queued(made), buffer);
  ASSERT_TRUE(editor);
  EXPECT_TRUE(editor->set_dscp(64).error().is(ERANGE));
  EXPECT_TRUE(editor->set_ecn(4).error().is(ERANGE));
  EXPECT_TRUE(editor->overwrite_payload(9, bytes(1)).error().is(ERANGE));
  EXPECT_TRUE(editor->overwrite_payload(10, {}).error().is(ERANGE));
  EXPECT_TRUE(editor->replace_payload(bytes(65535 - 27)).error().is(EMSGSIZE));
  const auto same = editor->finish();
  EXPECT_EQ(bytes(same.begin(), same.end()), made) << "what fails changes nothing";
  ASSERT_TRUE(editor->replace_payload(bytes(65535 - 28, std::byte{1})));
  expect_right(editor->finish());
  packet segments = queued(made);
  segments.gso = true;
  auto of_several = packet_editor::edit(segments, buffer);
  ASSERT_TRUE(of_several);
  EXPECT_TRUE(of_several->replace_payload(bytes(1)).error().is(EOPNOTSUPP));
}

TEST(packet_editor, payload_of_the_packet_itself_moves) {
  bytes payload;
  for (int i = 0; i < 20; ++i) payload.push_back(static_cast<std::byte>(i));
  bytes buffer;
  auto editor = packet_editor::edit(queued(make_packet(6, ip_protocol::udp, payload)), buffer);
  ASSERT_TRUE(editor && editor->replace_payload(editor->payload().subspan(5, 10)));
  EXPECT_EQ(bytes(editor->payload().begin(), editor->payload().end()),
            bytes(payload.begin() + 5, payload.begin() + 15));
  expect_right(editor->finish());
}

TEST(packet_editor, tshark_finds_nothing_wrong_with_edited_packets_but_with_a_spoilt_one) {
  std::minstd_rand random(11);
  std::vector<bytes> edited;
  bytes buffer;
  for (int round = 0; round < 300; ++round) {
    const kind& of = kinds[static_cast<std::size_t>(round) % std::size(kinds)];
    const bytes made = make_packet(of.version, of.protocol, random_bytes(random, 1 + random() % 70));
    auto editor = packet_editor::edit(queued(made), buffer);
    ASSERT_TRUE(editor);
    // What other protocols tshark sees behind other ports and addresses is not the question here.
    ASSERT_TRUE(editor->replace_payload(random_bytes(random, 1 + random() % 90)));
    editor->set_ttl(static_cast<std::uint8_t>(1 + random() % 255));
    ASSERT_TRUE(editor->set_dscp(random() % 64));
    if (of.protocol == ip_protocol::tcp || of.protocol == ip_protocol::udp) {
      ASSERT_TRUE(editor->set_source_port(static_cast<std::uint16_t>(50000 + random() % 1000)));
      ASSERT_TRUE(editor->set_destination_port(static_cast<std::uint16_t>(51000 + random() % 1000)));
    }
    const auto done = editor->finish();
    edited.emplace_back(done.begin(), done.end());
  }
  for (const std::size_t spoilt : {std::size_t{0}, std::size_t{4}}) edited[spoilt].back() ^= std::byte{1};
  const auto judged = test_data::ask_tshark(edited);
  if (!judged) {
    const char* const ci = std::getenv("CI");
    if (ci != nullptr && std::string_view(ci) == "true") FAIL() << "tshark is not installed";
    GTEST_SKIP() << "tshark is not installed";
  }
  EXPECT_EQ(judged->bad, (std::vector<std::size_t>{0, 4}));
  EXPECT_EQ(judged->good, edited.size() - 2);
}

TEST(packet_editor, hostile_bytes_are_refused_or_edited_in_bounds) {
  std::minstd_rand random(3);
  bytes buffer;
  for (int round = 0; round < 60'000; ++round) {
    const kind& of = kinds[random() % std::size(kinds)];
    bytes made = make_packet(of.version, of.protocol, random_bytes(random, random() % 40));
    for (auto changes = 1 + random() % 4; changes > 0; --changes) {
      made[random() % std::min<std::size_t>(made.size(), 64)] = static_cast<std::byte>(random());
    }
    packet hostile = queued(made);
    hostile.checksum_not_ready = random() % 4 == 0;
    auto editor = packet_editor::edit(hostile, buffer);
    if (!editor) continue;
    static_cast<void>(editor->set_source(ipv4_address{}));
    static_cast<void>(editor->set_destination(ipv6_address{}));
    static_cast<void>(editor->set_source_port(1));
    static_cast<void>(editor->clamp_tcp_mss(100));
    static_cast<void>(editor->set_icmp_identifier(1));
    static_cast<void>(editor->overwrite_payload(0, bytes(1)));
    static_cast<void>(editor->replace_payload(bytes(random() % 50)));
    EXPECT_EQ(editor->finish().size(), buffer.size());
  }
}

TEST(checksum, sum_of_any_length_and_alignment) {
  std::minstd_rand random(5);
  for (int round = 0; round < 20'000; ++round) {
    const bytes data = random_bytes(random, random() % 200);
    const std::size_t from = data.empty() ? 0 : random() % std::min<std::size_t>(data.size(), 9);
    const auto part = std::span(data).subspan(from);
    ASSERT_EQ(sum_bytes(part), plain_sum(part));
    const std::size_t cut = part.empty() ? 0 : random() % part.size();
    ASSERT_EQ(combine_sums(sum_bytes(part.first(cut)), cut, sum_bytes(part.subspan(cut))), plain_sum(part));
  }
}

}  // namespace
}  // namespace ipq
