// SPDX-License-Identifier: MIT
#include "wire/packet.hpp"

#include <gtest/gtest.h>
#include <libmnl/libmnl.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/message_bytes.hpp"
#include "data/recorded.hpp"
#include "wire/bytes.hpp"

namespace ipq::wire {
namespace {

using test_data::be16;
using test_data::be32;
using test_data::be64;
using test_data::byte_vector;
using test_data::bytes_of;
using test_data::message_bytes;
using test_data::recorded;
using test_data::to_hex;

/// The packet in a datagram; its views point into `datagram`.
std::optional<packet> parsed(const byte_vector& datagram) {
  bytes rest = datagram;
  const auto taken = next_message(rest);
  return taken ? parse_packet(*taken) : std::nullopt;
}
std::optional<packet> parsed(const byte_vector&& datagram) = delete;

/// A packet message that is kept with what was parsed from it.
struct kept_packet {
  explicit kept_packet(const message_bytes& made) : datagram(made.done()), packet(parsed(datagram)) {}
  kept_packet(const kept_packet&) = delete;
  kept_packet& operator=(const kept_packet&) = delete;
  const struct packet* operator->() const { return &packet.value(); }
  byte_vector datagram;
  std::optional<struct packet> packet;
};

kept_packet with(std::uint16_t type, const auto&... parts) {
  return kept_packet(message_bytes::packet().attribute(type, parts...));
}

// ---- recorded from the kernel

TEST(packet_recorded, input_has_device_address_and_time) {
  const byte_vector datagram = recorded("packet_input");
  const auto packet = parsed(datagram);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->id, 1u);
  EXPECT_EQ(packet->queue, 0);
  EXPECT_EQ(packet->family, 2);
  EXPECT_EQ(packet->hook, 1);
  EXPECT_EQ(packet->hw_protocol, 0x0800);
  EXPECT_EQ(packet->indev, 2u);
  EXPECT_EQ(packet->outdev, 0u);
  EXPECT_EQ(packet->mark, 0u);
  EXPECT_EQ(packet->priority, 0u);
  EXPECT_EQ(packet->hw_addr_length, 6);
  EXPECT_EQ(packet->hw_addr, (std::array<std::uint8_t, 8>{2, 0, 0, 0, 0, 2, 0, 0}));
  ASSERT_TRUE(packet->timestamp);
  EXPECT_GT(packet->timestamp->seconds, 1'700'000'000);
  EXPECT_GE(packet->timestamp->microseconds, 0);
  EXPECT_LT(packet->timestamp->microseconds, 1'000'000);
  EXPECT_EQ(packet->payload.size(), 33u);
  EXPECT_EQ(to_hex(packet->payload.last(5)), to_hex(bytes_of("hello")));
  EXPECT_EQ(packet->original_length, 33u);
  EXPECT_FALSE(packet->truncated);
  EXPECT_FALSE(packet->checksum_not_ready);
  EXPECT_FALSE(packet->gso);
  EXPECT_FALSE(packet->uid);
  EXPECT_FALSE(packet->gid);
  EXPECT_FALSE(packet->cgroup_classid);
  EXPECT_FALSE(packet->vlan);
  EXPECT_FALSE(packet->conntrack_info);
  EXPECT_TRUE(packet->conntrack.empty());
  EXPECT_TRUE(packet->l2_header.empty());
  EXPECT_TRUE(packet->security_context.empty());
}

TEST(packet_recorded, loopback_has_an_address_of_six_zeros) {
  const byte_vector datagram = recorded("packet_input_loopback");
  const auto packet = parsed(datagram);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->indev, 1u);
  EXPECT_EQ(packet->hw_addr_length, 6);
  EXPECT_EQ(packet->hw_addr, (std::array<std::uint8_t, 8>{}));
  EXPECT_EQ(to_hex(packet->payload.last(11)), to_hex(bytes_of("on loopback")));
}

TEST(packet_recorded, output_has_mark_priority_and_owner) {
  const byte_vector datagram = recorded("packet_output_mark");
  const auto packet = parsed(datagram);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->hook, 3);
  EXPECT_EQ(packet->indev, 0u);
  EXPECT_EQ(packet->outdev, 2u);
  EXPECT_EQ(packet->mark, 0x0badcafeu);
  EXPECT_EQ(packet->priority, 6u);
  EXPECT_EQ(packet->uid, 0u);
  EXPECT_EQ(packet->gid, 0u);
  EXPECT_EQ(packet->hw_addr_length, 0);
  EXPECT_FALSE(packet->timestamp);
}

TEST(packet_recorded, ipv6_is_told_by_family_and_protocol) {
  const byte_vector datagram = recorded("packet_output_ipv6");
  const auto packet = parsed(datagram);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->family, 10);
  EXPECT_EQ(packet->hw_protocol, 0x86dd);
  EXPECT_EQ(packet->outdev, 1u);
  EXPECT_EQ(packet->payload.size(), 40u + 8 + 3);
  EXPECT_EQ(std::to_integer<unsigned>(packet->payload[0]) >> 4, 6u);
  EXPECT_EQ(to_hex(packet->payload.last(3)), to_hex(bytes_of("six")));
}

TEST(regress, payload_longer_than_the_copy_range_is_known_to_be_cut) {
  const byte_vector datagram = recorded("packet_truncated");
  const auto packet = parsed(datagram);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->payload.size(), 33u);
  EXPECT_EQ(packet->original_length, 528u);
  EXPECT_TRUE(packet->truncated);
}

TEST(packet_recorded, meta_has_no_payload) {
  const byte_vector datagram = recorded("packet_meta");
  const auto packet = parsed(datagram);
  ASSERT_TRUE(packet);
  EXPECT_TRUE(packet->payload.empty());
  EXPECT_FALSE(packet->truncated);
  EXPECT_TRUE(packet->checksum_not_ready);
  EXPECT_FALSE(packet->gso);
}

TEST(packet_recorded, segments_in_one_are_told) {
  const byte_vector datagram = recorded("packet_gso");
  const auto packet = parsed(datagram);
  ASSERT_TRUE(packet);
  EXPECT_TRUE(packet->gso);
  EXPECT_TRUE(packet->checksum_not_ready);
  EXPECT_FALSE(packet->checksum_not_verified);
  EXPECT_TRUE(packet->truncated);
  EXPECT_GT(packet->original_length, 1500u);
  EXPECT_EQ(packet->payload.size(), 64u);
}

TEST(packet_recorded, bridged_packet_has_ports) {
  const byte_vector datagram = recorded("packet_forward_bridged");
  const auto packet = parsed(datagram);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->family, 2);
  EXPECT_EQ(packet->hook, 2);
  EXPECT_EQ(packet->indev, 2u);
  EXPECT_EQ(packet->outdev, 2u);
  EXPECT_EQ(packet->physindev, 3u);
  EXPECT_EQ(packet->physoutdev, 4u);
  EXPECT_EQ(packet->hw_addr, (std::array<std::uint8_t, 8>{2, 0, 0, 0, 0, 0x0a, 0, 0}));
  EXPECT_TRUE(packet->checksum_not_verified);
  EXPECT_FALSE(packet->checksum_not_ready);
  EXPECT_EQ(to_hex(packet->payload.last(8)), to_hex(bytes_of("bridged!")));
}

TEST(packet_recorded, tail_is_whole_whatever_its_length) {
  for (const std::string digit : {"1", "2", "3", "4"}) {
    const byte_vector datagram = recorded("packet_tail_" + digit);
    const auto packet = parsed(datagram);
    ASSERT_TRUE(packet);
    const std::string text(static_cast<std::size_t>(digit[0] - '0'), digit[0]);
    EXPECT_EQ(packet->payload.size(), 28 + text.size());
    EXPECT_EQ(to_hex(packet->payload.subspan(28)), to_hex(bytes_of(std::string_view(text))));
    EXPECT_EQ(packet->payload.data() + packet->payload.size(), datagram.data() + datagram.size());
  }
}

/// Attributes as libmnl finds them.
int collect(const nlattr* attribute, void* into) {
  auto& table = *static_cast<std::array<const nlattr*, 32>*>(into);
  if (mnl_attr_get_type(attribute) < table.size()) table[mnl_attr_get_type(attribute)] = attribute;
  return MNL_CB_OK;
}

TEST(packet_recorded, libmnl_reads_the_same) {
  const auto names = test_data::recordings("packet_");
  EXPECT_EQ(names.size(), 12u);
  for (const auto& name : names) {
    SCOPED_TRACE(name);
    byte_vector datagram = recorded(name);
    const std::size_t length = datagram.size();
    datagram.resize(align(length));  // libmnl looks at the padding of the last attribute
    const auto* header = reinterpret_cast<const nlmsghdr*>(datagram.data());
    ASSERT_TRUE(mnl_nlmsg_ok(header, static_cast<int>(length)));
    std::array<const nlattr*, 32> table{};
    ASSERT_EQ(mnl_attr_parse(header, nfgen_size, collect, &table), MNL_CB_OK);
    const auto number = [&](std::uint16_t type) {
      return table[type] != nullptr ? big_endian(mnl_attr_get_u32(table[type])) : 0;
    };
    const auto size = [&](std::uint16_t type) {
      return table[type] != nullptr ? mnl_attr_get_payload_len(table[type]) : 0;
    };
    const auto packet = parsed(datagram);
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->id, number(attribute_packet_hdr));
    EXPECT_EQ(packet->mark, number(attribute_mark));
    EXPECT_EQ(packet->priority, number(attribute_priority));
    EXPECT_EQ(packet->indev, number(attribute_indev));
    EXPECT_EQ(packet->outdev, number(attribute_outdev));
    EXPECT_EQ(packet->physindev, number(attribute_physindev));
    EXPECT_EQ(packet->physoutdev, number(attribute_physoutdev));
    EXPECT_EQ(packet->uid.value_or(0), number(attribute_uid));
    EXPECT_EQ(packet->uid.has_value(), table[attribute_uid] != nullptr);
    EXPECT_EQ(packet->timestamp.has_value(), table[attribute_timestamp] != nullptr);
    EXPECT_EQ(packet->payload.size(), size(attribute_payload));
    EXPECT_EQ(packet->truncated, table[attribute_cap_len] != nullptr);
    EXPECT_EQ(packet->gso, (number(attribute_skb_info) & 2) != 0);
  }
}

// ---- what this kernel does not emit

TEST(packet, headers) {
  const kept_packet kept(message_bytes::packet(7, 0xfffe, 0xdeadbeef, 0x88cc, 4));
  EXPECT_EQ(kept->family, 7);
  EXPECT_EQ(kept->queue, 0xfffe);
  EXPECT_EQ(kept->id, 0xdeadbeef);
  EXPECT_EQ(kept->hw_protocol, 0x88cc);
  EXPECT_EQ(kept->hook, 4);
}

TEST(packet, nothing_is_made_up) {
  const kept_packet kept(message_bytes::packet());
  EXPECT_EQ(kept->mark, 0u);
  EXPECT_EQ(kept->priority, 0u);
  EXPECT_EQ(kept->indev, 0u);
  EXPECT_EQ(kept->outdev, 0u);
  EXPECT_EQ(kept->physindev, 0u);
  EXPECT_EQ(kept->physoutdev, 0u);
  EXPECT_EQ(kept->hw_addr_length, 0);
  EXPECT_FALSE(kept->timestamp);
  EXPECT_FALSE(kept->uid);
  EXPECT_FALSE(kept->gid);
  EXPECT_FALSE(kept->cgroup_classid);
  EXPECT_FALSE(kept->vlan);
  EXPECT_FALSE(kept->conntrack_info);
  EXPECT_EQ(kept->original_length, 0u);
  EXPECT_FALSE(kept->truncated);
}

TEST(packet, empty_one_is_all_zero_which_parsing_relies_on) {
  static constexpr packet empty{};
  const auto bytes = std::as_bytes(std::span(&empty, 1));
  EXPECT_EQ(std::ranges::count(bytes, std::byte{0}), static_cast<std::ptrdiff_t>(bytes.size()));
}

TEST(packet, clearing_reaches_all_of_an_object_and_nothing_else) {
  const auto check = [](auto size) {
    std::array<std::byte, decltype(size)::value> object;
    struct {
      std::byte before{1};
      decltype(object) within;
      std::byte after{1};
    } memory;
    memory.within.fill(std::byte{1});
    clear(memory.within);
    EXPECT_EQ(std::ranges::count(memory.within, std::byte{0}), static_cast<std::ptrdiff_t>(object.size()));
    EXPECT_EQ(memory.before, std::byte{1});
    EXPECT_EQ(memory.after, std::byte{1});
  };
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    (check(std::integral_constant<std::size_t, I + 1>{}), ...);
  }
  (std::make_index_sequence<40>{});
}

/// Attributes that are a number of 32 bits, and where it goes.
struct number_attribute {
  std::uint16_t type;
  std::uint32_t (*read)(const packet&);
};

constexpr number_attribute numbers[] = {
    {3, [](const packet& from) { return from.mark; }},
    {5, [](const packet& from) { return from.indev; }},
    {6, [](const packet& from) { return from.outdev; }},
    {7, [](const packet& from) { return from.physindev; }},
    {8, [](const packet& from) { return from.physoutdev; }},
    {12, [](const packet& from) { return from.conntrack_info.value_or(0); }},
    {13, [](const packet& from) { return from.original_length; }},
    {16, [](const packet& from) { return from.uid.value_or(0); }},
    {17, [](const packet& from) { return from.gid.value_or(0); }},
    {21, [](const packet& from) { return from.priority; }},
    {22, [](const packet& from) { return from.cgroup_classid.value_or(0); }},
};

TEST(packet, numbers_are_big_endian) {
  for (const auto& [type, read] : numbers) {
    EXPECT_EQ(read(*with(type, be32(0x81020304)).packet), 0x81020304) << type;
  }
}

TEST(packet, numbers_that_are_too_short_are_passed_over) {
  for (const auto& [type, read] : numbers) {
    for (std::size_t length = 0; length < 4; ++length) {
      EXPECT_EQ(read(*with(type, byte_vector(length, std::byte{0xff})).packet), 0u) << type;
    }
  }
}

TEST(packet, numbers_that_are_too_long_count_by_their_beginning) {
  for (const auto& [type, read] : numbers) {
    EXPECT_EQ(read(*with(type, be32(5), bytes_of({9, 9, 9, 9, 9})).packet), 5u) << type;
  }
}

TEST(packet, numbers_come_with_any_flags) {
  for (const auto& [type, read] : numbers) {
    for (const unsigned flags : {0x8000u, 0x4000u, 0xc000u}) {
      EXPECT_EQ(read(*with(static_cast<std::uint16_t>(type | flags), be32(5)).packet), 5u) << type;
    }
  }
}

TEST(packet, of_two_numbers_the_second_counts) {
  for (const auto& [type, read] : numbers) {
    const kept_packet kept(message_bytes::packet().attribute(type, be32(1)).attribute(type, be32(2)));
    EXPECT_EQ(read(*kept.packet), 2u) << type;
    const kept_packet shorter(message_bytes::packet().attribute(type, be32(1)).attribute(type, be16(2)));
    EXPECT_EQ(read(*shorter.packet), 1u) << type;
  }
}

TEST(packet, user_and_group_zero_are_not_nobody) {
  EXPECT_EQ(with(16, be32(0))->uid, 0u);
  EXPECT_EQ(with(17, be32(0))->gid, 0u);
  EXPECT_EQ(with(22, be32(0))->cgroup_classid, 0u);
  EXPECT_EQ(with(12, be32(0))->conntrack_info, 0u);
}

TEST(packet, link_address) {
  const byte_vector address = bytes_of({1, 2, 3, 4, 5, 6, 7, 8});
  const auto length_and_address = [&](std::uint16_t said) { return with(9, be16(said), be16(0), address); };
  EXPECT_EQ(length_and_address(0)->hw_addr_length, 0);
  EXPECT_EQ(length_and_address(0)->hw_addr, (std::array<std::uint8_t, 8>{}));
  EXPECT_EQ(length_and_address(6)->hw_addr_length, 6);
  EXPECT_EQ(length_and_address(6)->hw_addr, (std::array<std::uint8_t, 8>{1, 2, 3, 4, 5, 6, 0, 0}));
  EXPECT_EQ(length_and_address(8)->hw_addr_length, 8);
  EXPECT_EQ(length_and_address(8)->hw_addr, (std::array<std::uint8_t, 8>{1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST(packet, link_address_longer_than_its_room_is_cut) {
  const byte_vector twenty(20, std::byte{0x55});  // InfiniBand
  const kept_packet kept = with(9, be16(20), be16(0), twenty);
  EXPECT_EQ(kept->hw_addr_length, 8);
  EXPECT_EQ(with(9, be16(0xffff), be16(0), bytes_of({1, 2, 3, 4, 5, 6, 7, 8}))->hw_addr_length, 8);
}

TEST(packet, link_address_whose_length_lies_has_what_is_there) {
  const kept_packet kept = with(9, be16(6), be16(0), bytes_of({1, 2}));
  EXPECT_EQ(kept->hw_addr_length, 2);
  EXPECT_EQ(kept->hw_addr, (std::array<std::uint8_t, 8>{1, 2}));
  EXPECT_EQ(with(9, be16(6), be16(0))->hw_addr_length, 0);
  for (std::size_t length = 0; length < 4; ++length) {
    EXPECT_EQ(with(9, byte_vector(length, std::byte{6}))->hw_addr_length, 0);
  }
}

TEST(packet, second_link_address_leaves_nothing_of_the_first) {
  const kept_packet kept(message_bytes::packet()
                             .attribute(9, be16(8), be16(0), byte_vector(8, std::byte{0xff}))
                             .attribute(9, be16(6), be16(0), byte_vector(8, std::byte{0x11})));
  EXPECT_EQ(kept->hw_addr_length, 6);
  EXPECT_EQ(kept->hw_addr, (std::array<std::uint8_t, 8>{0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0, 0}));
}

TEST(packet, time_stamp) {
  const kept_packet kept = with(4, be64(0x1'0000'0001), be64(999'999));
  ASSERT_TRUE(kept->timestamp);
  EXPECT_EQ(kept->timestamp->seconds, 0x1'0000'0001);
  EXPECT_EQ(kept->timestamp->microseconds, 999'999);
}

TEST(packet, time_stamp_that_is_none_is_passed_over) {
  EXPECT_FALSE(with(4, be64(1), be64(1'000'000))->timestamp);
  EXPECT_FALSE(with(4, be64(1), be64(~0ull))->timestamp);
  for (std::size_t length = 0; length < 16; ++length) EXPECT_FALSE(with(4, byte_vector(length))->timestamp);
  EXPECT_TRUE(with(4, byte_vector(17))->timestamp);
}

TEST(packet, vlan_in_either_order) {
  for (const auto& nest : {message_bytes(0, 0).attribute(2, be16(0x602a)).attribute(1, be16(0x8100)).done(),
                           message_bytes(0, 0).attribute(1, be16(0x8100)).attribute(2, be16(0x602a)).done()}) {
    const kept_packet kept = with(0x8000 | 19, std::span(nest).subspan(16));
    ASSERT_TRUE(kept->vlan);
    EXPECT_EQ(kept->vlan->protocol, 0x8100);
    EXPECT_EQ(kept->vlan->tci, 0x602a);
  }
}

TEST(packet, vlan_that_is_none_is_passed_over) {
  const auto nested = [](const message_bytes& nest) {
    const byte_vector bytes = nest.done();
    return with(19, std::span(bytes).subspan(16));
  };
  EXPECT_FALSE(nested(message_bytes(0, 0))->vlan);
  EXPECT_FALSE(nested(message_bytes(0, 0).attribute(1, be16(0x8100)))->vlan);
  EXPECT_FALSE(nested(message_bytes(0, 0).attribute(2, bytes_of({1})))->vlan);
  EXPECT_FALSE(nested(message_bytes(0, 0).raw(bytes_of({200, 0, 2, 0, 0, 1})))->vlan);
  EXPECT_EQ(nested(message_bytes(0, 0).attribute(9, be16(1)).attribute(2, be16(7), be16(8)))->vlan->tci, 7);
}

TEST(packet, link_header_conntrack_and_context_are_views) {
  const byte_vector ethernet = bytes_of({2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0});
  const byte_vector conntrack = bytes_of({8, 0, 8, 0, 0, 0, 0, 7});
  const kept_packet kept(message_bytes::packet(7)
                             .attribute(20, ethernet)
                             .attribute(0x8000 | 11, conntrack)
                             .attribute(12, be32(2))
                             .attribute(18, bytes_of("system_u:object_r:x")));
  EXPECT_EQ(to_hex(kept->l2_header), to_hex(ethernet));
  EXPECT_EQ(to_hex(kept->conntrack), to_hex(conntrack));
  EXPECT_EQ(kept->conntrack_info, 2u);
  EXPECT_EQ(kept->security_context, "system_u:object_r:x");
  const std::byte* begin = kept.datagram.data();
  EXPECT_EQ(kept->l2_header.data(), begin + 36);
  EXPECT_EQ(kept->conntrack.data(), begin + 36 + 16 + 4);
}

TEST(packet, empty_views_are_empty) {
  for (const auto type : std::initializer_list<std::uint16_t>{10, 11, 18, 20}) {
    const kept_packet kept = with(type);
    EXPECT_TRUE(kept->payload.empty());
    EXPECT_TRUE(kept->conntrack.empty());
    EXPECT_TRUE(kept->security_context.empty());
    EXPECT_TRUE(kept->l2_header.empty());
  }
}

TEST(packet, packet_information_has_three_bits) {
  EXPECT_TRUE(with(14, be32(1))->checksum_not_ready);
  EXPECT_FALSE(with(14, be32(~1u))->checksum_not_ready);
  EXPECT_TRUE(with(14, be32(2))->gso);
  EXPECT_FALSE(with(14, be32(~2u))->gso);
  EXPECT_TRUE(with(14, be32(4))->checksum_not_verified);
  EXPECT_FALSE(with(14, be32(~4u))->checksum_not_verified);
  EXPECT_FALSE(with(14, bytes_of({0, 0, 7}))->gso);
}

TEST(packet, packet_information_that_is_too_short_takes_nothing_back) {
  EXPECT_TRUE(kept_packet(message_bytes::packet().attribute(14, be32(2)).attribute(14, be16(0)))->gso);
}

TEST(packet, whole_length) {
  const auto cut = [](std::uint32_t whole) {
    return kept_packet(message_bytes::packet().attribute(13, be32(whole)).attribute(10, byte_vector(20)));
  };
  EXPECT_TRUE(cut(21)->truncated);
  EXPECT_EQ(cut(21)->original_length, 21u);
  EXPECT_TRUE(cut(0xffffffff)->truncated);
  EXPECT_FALSE(cut(20)->truncated);
  // Less than what is there can't be: nobody must come to subtract one from the other.
  EXPECT_FALSE(cut(19)->truncated);
  EXPECT_EQ(cut(19)->original_length, 20u);
  EXPECT_TRUE(with(13, be32(1))->truncated);
}

TEST(packet, unknown_attributes_are_passed_over) {
  const kept_packet kept(message_bytes::packet()
                             .attribute(0, bytes_of("zero"))
                             .attribute(2, bytes_of("a verdict"))
                             .attribute(15, bytes_of("expectation"))
                             .attribute(23, bytes_of("of tomorrow"))
                             .attribute(0x3fff, bytes_of("?"))
                             .attribute(3, be32(5)));
  EXPECT_EQ(kept->mark, 5u);
}

TEST(packet, header_of_six_bytes_is_none_and_of_eight_is_one) {
  const auto header = [](std::size_t length) {
    return kept_packet(message_bytes(0x300, 0).nfgen(2, 0).attribute(1, byte_vector(length, std::byte{1}))).packet;
  };
  for (std::size_t length = 0; length < 7; ++length) EXPECT_FALSE(header(length)) << length;
  EXPECT_TRUE(header(7));
  EXPECT_TRUE(header(8));
}

TEST(packet, without_id_is_none) {
  EXPECT_FALSE(kept_packet(message_bytes(0x300, 0).nfgen(2, 0)).packet);
  EXPECT_FALSE(kept_packet(message_bytes(0x300, 0).nfgen(2, 0).attribute(10, bytes_of("payload"))).packet);
}

TEST(packet, id_may_come_anywhere) {
  const kept_packet kept(
      message_bytes(0x300, 0).nfgen(2, 0).attribute(3, be32(5)).attribute(1, be32(9), be16(0x800), bytes_of({1})));
  EXPECT_EQ(kept->id, 9u);
  EXPECT_EQ(kept->mark, 5u);
}

TEST(packet, id_in_a_message_that_breaks_off_is_kept) {
  // What could be answered must be: the packet waits in the kernel.
  const kept_packet kept(message_bytes::packet(2, 0, 77).raw(bytes_of({0, 0xff, 0xff, 10, 0, 1, 2, 3})));
  EXPECT_EQ(kept->id, 77u);
}

TEST(packet, other_messages_are_none) {
  for (const auto type : std::initializer_list<std::uint16_t>{2, 0x301, 0x302, 0x303, 0x100}) {
    byte_vector datagram = recorded("packet_input");
    store(datagram.data() + 4, type);
    EXPECT_FALSE(parsed(datagram)) << type;
  }
  for (std::size_t length = 0; length < 4; ++length) {
    EXPECT_FALSE(kept_packet(message_bytes(0x300, 0).raw(byte_vector(length))).packet);
  }
  const byte_vector nothing;
  EXPECT_FALSE(parsed(nothing));
}

// GSO packets reach 64 KiB: the largest payload fills the length of its attribute.
TEST(regress, packet_near_64_kib_is_whole) {
  byte_vector large(max_payload);
  for (std::size_t at = 0; at < large.size(); ++at) large[at] = static_cast<std::byte>(at * 7);
  const kept_packet kept(
      message_bytes::packet().attribute(13, be32(70000)).attribute(14, be32(3)).attribute(10, large));
  ASSERT_EQ(kept->payload.size(), 65531u);
  EXPECT_TRUE(std::ranges::equal(kept->payload, large));
  EXPECT_TRUE(kept->truncated);
  EXPECT_LE(kept.datagram.size(), max_datagram);
}

// A pooled buffer let the next receive overwrite what the program still held.
TEST(regress, mdlayher_netlink_views_stay_in_the_buffer_that_was_parsed) {
  const byte_vector first = recorded("packet_tail_3"), second = recorded("packet_input");
  const auto one = parsed(first);
  const auto other = parsed(second);
  ASSERT_TRUE(one && other);
  EXPECT_GE(one->payload.data(), first.data());
  EXPECT_EQ(one->payload.data() + one->payload.size(), first.data() + first.size());
  EXPECT_EQ(to_hex(one->payload.last(3)), to_hex(bytes_of("333")));
  EXPECT_EQ(other->payload.data() + other->payload.size(), second.data() + second.size());
}

// ---- trim_payload

TEST(trim_payload, shortens_the_last_attribute) {
  for (const auto& name : {"packet_tail_1", "packet_tail_4", "packet_input", "packet_truncated"}) {
    for (const std::size_t length : {1u, 2u, 3u, 4u, 20u, 28u}) {
      byte_vector datagram = recorded(name);
      const auto whole = parsed(datagram);
      const byte_vector payload(whole->payload.begin(), whole->payload.end());
      const auto trimmed = trim_payload(datagram, *whole, length);
      ASSERT_EQ(trimmed.data(), datagram.data());
      ASSERT_EQ(trimmed.size(), datagram.size() - (payload.size() - length));
      const byte_vector alone(trimmed.begin(), trimmed.end());
      const auto packet = parsed(alone);
      ASSERT_TRUE(packet);
      EXPECT_EQ(packet->id, whole->id);
      EXPECT_EQ(packet->outdev, whole->outdev);
      EXPECT_EQ(to_hex(packet->payload), to_hex(std::span(payload).first(length)));
    }
  }
}

TEST(trim_payload, leaves_an_empty_attribute) {
  byte_vector datagram = recorded("packet_input");
  const auto trimmed = trim_payload(datagram, *parsed(datagram), 0);
  EXPECT_EQ(trimmed.size(), 113u - 37u + 4u);
  const byte_vector alone(trimmed.begin(), trimmed.end());
  const auto packet = parsed(alone);
  ASSERT_TRUE(packet);
  EXPECT_TRUE(packet->payload.empty());
  EXPECT_TRUE(packet->timestamp);
}

// Found by fuzz_messages: where the attribute was taken away, an earlier one counted.
TEST(trim_payload, leaves_nothing_of_an_earlier_payload) {
  byte_vector datagram = message_bytes::packet().attribute(10, byte_vector(4)).attribute(10, byte_vector(61)).done();
  const auto trimmed = trim_payload(datagram, *parsed(datagram), 0);
  const byte_vector alone(trimmed.begin(), trimmed.end());
  EXPECT_TRUE(parsed(alone)->payload.empty());
}

TEST(trim_payload, leaves_what_is_short_enough) {
  byte_vector datagram = recorded("packet_tail_1");
  for (const std::size_t length : {29u, 30u, 65535u}) {
    EXPECT_EQ(trim_payload(datagram, *parsed(datagram), length).size(), datagram.size());
  }
  byte_vector meta = recorded("packet_meta");
  EXPECT_EQ(trim_payload(meta, *parsed(meta), 0).size(), meta.size());
  EXPECT_EQ(datagram, recorded("packet_tail_1"));
}

TEST(trim_payload, leaves_a_payload_that_is_not_the_last_attribute) {
  byte_vector datagram = message_bytes::packet().attribute(10, byte_vector(20)).attribute(3, be32(5)).done();
  const byte_vector before = datagram;
  EXPECT_EQ(trim_payload(datagram, *parsed(datagram), 10).size(), datagram.size());
  EXPECT_EQ(trim_payload(datagram, *parsed(datagram), 0).size(), datagram.size());
  EXPECT_EQ(datagram, before);
}

TEST(trim_payload, largest_payload) {
  byte_vector datagram = message_bytes::packet().attribute(10, byte_vector(max_payload)).done();
  const auto trimmed = trim_payload(datagram, *parsed(datagram), max_payload - 1);
  const byte_vector alone(trimmed.begin(), trimmed.end());
  EXPECT_EQ(parsed(alone)->payload.size(), max_payload - 1);
}

}  // namespace
}  // namespace ipq::wire
