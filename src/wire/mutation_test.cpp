// SPDX-License-Identifier: MIT
// Hostile bytes: recorded and synthetic messages, damaged at random but the same way in every run, read by the decoders
// and by a second, slow one that is written here. Meant to run under AddressSanitizer as well.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "data/message_bytes.hpp"
#include "data/recorded.hpp"
#include "wire/packet.hpp"

namespace ipq::wire {
namespace {

using test_data::be16;
using test_data::be32;
using test_data::be64;
using test_data::byte_vector;
using test_data::bytes_of;
using test_data::message_bytes;
using test_data::to_hex;

constexpr int mutations = 20'000;

/// Damages a datagram in one to four ways. Lengths are the favourites.
class mutator {
 public:
  explicit mutator(std::vector<byte_vector> originals) : originals_(std::move(originals)) {}

  byte_vector next() {
    byte_vector datagram = originals_[below(originals_.size())];
    for (std::size_t rounds = 1 + below(4); rounds > 0 && !datagram.empty(); --rounds) damage(datagram);
    datagram.shrink_to_fit();  // so that one byte too many is outside of the allocation
    return datagram;
  }

 private:
  std::size_t below(std::size_t limit) { return random_() % limit; }

  void damage(byte_vector& datagram) {
    static constexpr std::array<std::uint32_t, 14> evil{
        0, 1, 3, 4, 5, 7, 16, 0xfffb, 0xffff, 0x7fff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    const std::size_t at = below(datagram.size());
    const auto place = datagram.begin() + static_cast<std::ptrdiff_t>(at);
    switch (below(7)) {
      case 0:
        datagram[at] ^= static_cast<std::byte>(1u << below(8));
        break;
      case 1:
        datagram[at] = static_cast<std::byte>(random_());
        break;
      case 2:
        datagram.resize(at);
        break;
      case 3:
        write(datagram, at & ~std::size_t{3}, static_cast<std::uint16_t>(evil[below(evil.size())]));
        break;
      case 4:
        write(datagram, at & ~std::size_t{3}, evil[below(evil.size())]);
        break;
      case 5: {  // a piece once more, which makes attributes come twice
        const byte_vector piece(place, place + static_cast<std::ptrdiff_t>(below(datagram.size() - at) + 1));
        datagram.insert(datagram.begin() + static_cast<std::ptrdiff_t>(below(datagram.size()) & ~std::size_t{3}),
                        piece.begin(), piece.end());
        break;
      }
      default:
        write(datagram, 0, static_cast<std::uint32_t>(datagram.size()));
        break;  // an honest length again
    }
  }

  template <class Number>
  static void write(byte_vector& datagram, std::size_t at, Number number) {
    if (at + sizeof number <= datagram.size()) std::memcpy(datagram.data() + at, &number, sizeof number);
  }

  std::vector<byte_vector> originals_;
  std::mt19937 random_{20010605};
};

/// A packet message with every attribute there is.
byte_vector complete_packet() {
  const byte_vector tag = message_bytes(0, 0).attribute(2, be16(42)).attribute(1, be16(0x8100)).done();
  return message_bytes::packet(7, 3, 99, 0x0800, 2)
      .attribute(7, be32(3))
      .attribute(5, be32(2))
      .attribute(8, be32(4))
      .attribute(6, be32(2))
      .attribute(3, be32(0x1234))
      .attribute(21, be32(6))
      .attribute(9, be16(6), be16(0), bytes_of({2, 0, 0, 0, 0, 1, 0, 0}))
      .attribute(0x8000 | 19, std::span(tag).subspan(16))
      .attribute(20, byte_vector(14, std::byte{0x22}))
      .attribute(4, be64(1'700'000'000), be64(123'456))
      .attribute(16, be32(1000))
      .attribute(17, be32(100))
      .attribute(22, be32(0x10001))
      .attribute(18, bytes_of("context"))
      .attribute(0x8000 | 11, bytes_of({8, 0, 8, 0, 0, 0, 0, 7}))
      .attribute(12, be32(2))
      .attribute(13, be32(1500))
      .attribute(14, be32(5))
      .attribute(10, byte_vector(61, std::byte{0x33}))
      .done();
}

// ---- the second decoder: big-endian numbers byte by byte, attributes in a table

std::uint64_t number(bytes from, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) value = value << 8 | std::to_integer<std::uint64_t>(from[at + i]);
  return value;
}

/// Of each type the last attribute that `counts`.
template <class Counts>
std::map<unsigned, bytes> table_of(bytes from, const Counts& counts) {
  std::map<unsigned, bytes> table;
  std::size_t at = 0;
  while (at + 4 <= from.size()) {
    const std::size_t length = std::to_integer<std::size_t>(from[at]) | std::to_integer<std::size_t>(from[at + 1]) << 8;
    const unsigned type =
        (std::to_integer<unsigned>(from[at + 2]) | std::to_integer<unsigned>(from[at + 3]) << 8) & 0x3fff;
    if (length < 4 || at + length > from.size()) break;
    const bytes value = from.subspan(at + 4, length - 4);
    if (counts(type, value)) table[type] = value;
    at += (length + 3) / 4 * 4;
  }
  return table;
}

std::map<unsigned, bytes> vlan_table(bytes nest) {
  return table_of(nest, [](unsigned, bytes value) { return value.size() >= 2; });
}

bool counts_in_packet(unsigned type, bytes value) {
  switch (type) {
    case 1:
      return value.size() >= 7;
    case 4:
      return value.size() >= 16 && number(value, 8, 8) < 1'000'000;
    case 10:
    case 11:
    case 18:
    case 20:
      return true;
    case 19:
      return vlan_table(value).contains(2);
    default:
      return value.size() >= 4;
  }
}

/// Every field of a packet as text; views by place and length.
std::string describe(const packet& of, bytes datagram) {
  std::string text;
  const auto add = [&](std::uint64_t value) { text += std::to_string(value) + " "; };
  const auto add_optional = [&](const auto& value) { text += value ? std::to_string(*value) + " " : "- "; };
  const auto add_view = [&](const std::byte* data, std::size_t size) {
    text += size == 0 ? "empty " : std::to_string(data - datagram.data()) + "+" + std::to_string(size) + " ";
  };
  for (const std::uint64_t value :
       {std::uint64_t{of.id}, std::uint64_t{of.queue}, std::uint64_t{of.family}, std::uint64_t{of.hook},
        std::uint64_t{of.hw_protocol}, std::uint64_t{of.mark}, std::uint64_t{of.priority}, std::uint64_t{of.indev},
        std::uint64_t{of.outdev}, std::uint64_t{of.physindev}, std::uint64_t{of.physoutdev},
        std::uint64_t{of.hw_addr_length}, std::uint64_t{of.original_length}, std::uint64_t{of.truncated},
        std::uint64_t{of.checksum_not_ready}, std::uint64_t{of.checksum_not_verified}, std::uint64_t{of.gso}}) {
    add(value);
  }
  text += to_hex(std::as_bytes(std::span(of.hw_addr))) + " ";
  text += of.timestamp ? std::to_string(of.timestamp->seconds) + "." + std::to_string(of.timestamp->microseconds) + " "
                       : "- ";
  for (const auto& value : {of.uid, of.gid, of.cgroup_classid, of.conntrack_info}) add_optional(value);
  text += of.vlan ? std::to_string(of.vlan->protocol) + "/" + std::to_string(of.vlan->tci) + " " : "- ";
  for (const bytes view : {of.conntrack, of.l2_header, of.payload}) add_view(view.data(), view.size());
  add_view(reinterpret_cast<const std::byte*>(of.security_context.data()), of.security_context.size());
  return text;
}

std::optional<packet> decode_slowly(bytes datagram) {
  if (datagram.size() < 20) return std::nullopt;
  std::uint32_t length;
  std::memcpy(&length, datagram.data(), 4);
  if (length < 20 || length > datagram.size() || datagram[4] != std::byte{0} || datagram[5] != std::byte{3}) {
    return std::nullopt;
  }
  auto table = table_of(datagram.subspan(20, length - 20), counts_in_packet);
  if (!table.contains(1)) return std::nullopt;
  const auto get = [&](unsigned type) {
    return table.contains(type) ? std::optional(static_cast<std::uint32_t>(number(table[type], 0, 4))) : std::nullopt;
  };
  packet decoded;
  decoded.family = static_cast<std::uint8_t>(datagram[16]);
  decoded.queue = static_cast<std::uint16_t>(number(datagram, 18, 2));
  decoded.id = static_cast<std::uint32_t>(number(table[1], 0, 4));
  decoded.hw_protocol = static_cast<std::uint16_t>(number(table[1], 4, 2));
  decoded.hook = static_cast<std::uint8_t>(number(table[1], 6, 1));
  decoded.mark = get(3).value_or(0);
  decoded.indev = get(5).value_or(0);
  decoded.outdev = get(6).value_or(0);
  decoded.physindev = get(7).value_or(0);
  decoded.physoutdev = get(8).value_or(0);
  decoded.conntrack_info = get(12);
  decoded.uid = get(16);
  decoded.gid = get(17);
  decoded.priority = get(21).value_or(0);
  decoded.cgroup_classid = get(22);
  decoded.checksum_not_ready = get(14).value_or(0) & 1;
  decoded.gso = get(14).value_or(0) & 2;
  decoded.checksum_not_verified = get(14).value_or(0) & 4;
  if (table.contains(4)) {
    decoded.timestamp = {static_cast<std::int64_t>(number(table[4], 0, 8)),
                         static_cast<std::int64_t>(number(table[4], 8, 8))};
  }
  if (table.contains(9)) {
    const bytes value = table[9];
    for (std::size_t i = 0; i < std::min<std::size_t>(number(value, 0, 2), 8) && 4 + i < value.size(); ++i) {
      decoded.hw_addr[i] = std::to_integer<std::uint8_t>(value[4 + i]);
      decoded.hw_addr_length = static_cast<std::uint8_t>(i + 1);
    }
  }
  if (table.contains(19)) {
    auto tag = vlan_table(table[19]);
    decoded.vlan = {static_cast<std::uint16_t>(tag.contains(1) ? number(tag[1], 0, 2) : 0),
                    static_cast<std::uint16_t>(number(tag[2], 0, 2))};
  }
  decoded.payload = table[10];
  decoded.conntrack = table[11];
  decoded.l2_header = table[20];
  decoded.security_context = {reinterpret_cast<const char*>(table[18].data()), table[18].size()};
  decoded.original_length = std::max(get(13).value_or(0), static_cast<std::uint32_t>(decoded.payload.size()));
  decoded.truncated = decoded.original_length > decoded.payload.size();
  return decoded;
}

// ---- the tests

TEST(mutation, decoders_agree_on_what_is_whole) {
  for (const auto& name : test_data::recordings("packet_")) {
    const byte_vector datagram = test_data::recorded(name);
    bytes rest = datagram;
    EXPECT_EQ(describe(*parse_packet(*next_message(rest)), datagram), describe(*decode_slowly(datagram), datagram))
        << name;
  }
  const byte_vector datagram = complete_packet();
  bytes rest = datagram;
  EXPECT_EQ(describe(*parse_packet(*next_message(rest)), datagram), describe(*decode_slowly(datagram), datagram));
}

TEST(mutation, damaged_packets_are_read_as_the_slow_decoder_does) {
  std::vector<byte_vector> originals(10, complete_packet());
  for (const auto& name : test_data::recordings("packet_")) originals.push_back(test_data::recorded(name));
  mutator damaged(std::move(originals));
  int packets = 0, none = 0;
  for (int i = 0; i < mutations; ++i) {
    const byte_vector datagram = damaged.next();
    bytes rest = datagram;
    const auto taken = next_message(rest);
    const auto packet = taken ? parse_packet(*taken) : std::nullopt;
    const auto expected = decode_slowly(datagram);
    ASSERT_EQ(packet.has_value(), expected.has_value()) << to_hex(datagram);
    ++(packet ? packets : none);
    if (!packet) continue;
    ASSERT_EQ(describe(*packet, datagram), describe(*expected, datagram)) << to_hex(datagram);
  }
  // The damage is worth its name if it neither spoils everything nor nothing.
  EXPECT_GT(packets, mutations / 10);
  EXPECT_GT(none, mutations / 10);
}

TEST(mutation, damaged_packets_are_trimmed_within_their_bounds) {
  mutator damaged({complete_packet(), test_data::recorded("packet_tail_3"), test_data::recorded("packet_truncated")});
  int trimmed = 0;
  for (int i = 0; i < mutations; ++i) {
    byte_vector datagram = damaged.next();
    bytes rest = datagram;
    const auto taken = next_message(rest);
    const auto packet = taken ? parse_packet(*taken) : std::nullopt;
    if (!packet) continue;
    const std::size_t wanted = static_cast<std::size_t>(i) % 80;
    const auto left = trim_payload(datagram, *packet, wanted);
    ASSERT_EQ(left.data(), datagram.data());
    ASSERT_LE(left.size(), datagram.size());
    if (left.size() == datagram.size()) continue;
    ++trimmed;
    rest = left;
    const auto again = next_message(rest);
    ASSERT_TRUE(again) << to_hex(left);
    const auto shorter = parse_packet(*again);
    ASSERT_TRUE(shorter) << to_hex(left);
    EXPECT_EQ(shorter->id, packet->id);
    if (wanted > 0) {
      EXPECT_EQ(shorter->payload.size(), wanted);
      EXPECT_EQ(shorter->payload.data(), packet->payload.data());
    }
  }
  EXPECT_GT(trimmed, mutations / 20);
}

TEST(mutation, damaged_errors_say_nothing_from_outside) {
  std::vector<byte_vector> originals;
  for (const auto& name : test_data::recordings("error_")) originals.push_back(test_data::recorded(name));
  mutator damaged(std::move(originals));
  int replies = 0;
  for (int i = 0; i < mutations; ++i) {
    const byte_vector datagram = damaged.next();
    bytes rest = datagram;
    while (const auto taken = next_message(rest)) {
      const auto reply = parse_error(*taken);
      if (!reply) continue;
      ++replies;
      ASSERT_GE(reply->code, 0);
      ASSERT_LE(reply->code, 4095);
      if (reply->text.empty()) continue;
      const auto* text = reinterpret_cast<const std::byte*>(reply->text.data());
      ASSERT_GE(text, datagram.data());
      ASSERT_LE(text + reply->text.size(), datagram.data() + datagram.size());
      ASSERT_EQ(reply->text.find('\0'), std::string_view::npos);
    }
    ASSERT_LE(rest.size(), datagram.size());
  }
  EXPECT_GT(replies, mutations / 10);
}

}  // namespace
}  // namespace ipq::wire
