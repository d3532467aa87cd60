// SPDX-License-Identifier: MIT
// ipq_set_mode: what is copied of each packet, and of which packets.
#include <gtest/gtest.h>

#include <cstdint>

#include "flow.hpp"
#include "packet_bytes.hpp"
#include "process.hpp"

namespace kernel_tests {
namespace {

using set_mode = flow_test;

TEST_F(set_mode, returns_56_for_every_mode_and_leaves_errno_alone) {
  for (auto protocol : {ipv4, ipv6}) {
    handle h{protocol};
    for (uint8_t mode : {IPQ_COPY_NONE, IPQ_COPY_META, IPQ_COPY_PACKET, IPQ_COPY_NONE}) {
      int sent = 0;
      EXPECT_EQ(errno_after([&] { sent = ipq_set_mode(h, mode, 100); }), untouched_errno);
      EXPECT_EQ(sent, sent_mode);
    }
    EXPECT_TRUE(nothing_to_read(h));
  }
}

TEST_F(set_mode, before_the_first_call_packets_are_dropped) {
  flow4().rule();
  handle h{ipv4};
  flow4().send("nobody listens");
  EXPECT_TRUE(nothing_to_read(h));
  EXPECT_TRUE(flow4().nothing_arrived());
}

TEST_F(set_mode, meta_copies_nothing_whatever_the_range) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    for (size_t range : {size_t{0}, size_t{1}, size_t{1000}, SIZE_MAX}) {
      handle h{protocol, IPQ_COPY_META, range};
      packets.send("metadata only");
      const message m = read_packet(h);
      EXPECT_EQ(m.packet().data_len, 0u);
      EXPECT_EQ(m.data.size(), 112u);
      set_verdict(h, m.id());
      EXPECT_EQ(packets.arrived(), "metadata only");
    }
  }
}

TEST_F(set_mode, packet_copies_as_much_as_the_range_says) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    const std::string payload(1000, 'r');
    const size_t whole = packets.header_size() + payload.size();
    handle h{protocol};
    for (size_t range : {size_t{1}, size_t{20}, size_t{63}, size_t{64}, whole - 1, whole, whole + 1}) {
      SCOPED_TRACE(range);
      ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_PACKET, range), sent_mode);
      packets.send(payload);
      const message m = read_packet(h);
      EXPECT_EQ(m.packet().data_len, std::min(range, whole));
      EXPECT_EQ(m.data.size(), 112 + (std::min(range, whole) + 3) / 4 * 4);
      set_verdict(h, m.id());
      EXPECT_EQ(packets.arrived(), payload) << "what is not copied is not lost";
    }
  }
}

TEST_F(set_mode, packet_with_range_0_copies_the_whole_packet) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET, 0};
  flow4().send(std::string(1472, 'w'));
  EXPECT_EQ(read_packet(h).packet().data_len, 1500u);
}

TEST_F(set_mode, range_above_65535_is_clamped) {
  flow4().rule();
  handle h{ipv4};
  for (size_t range : {size_t{65535}, size_t{65536}, size_t{100'000}, size_t{0x1'0000'0001}, SIZE_MAX}) {
    SCOPED_TRACE(range);
    ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_PACKET, range), sent_mode);
    flow4().send(std::string(1400, 'c'));
    const message m = read_packet(h);
    EXPECT_EQ(m.packet().data_len, 1428u);
    set_verdict(h, m.id());
    EXPECT_EQ(flow4().arrived(), std::string(1400, 'c'));
  }
  EXPECT_TRUE(nothing_to_read(h));
}

TEST_F(set_mode, none_drops_later_packets_and_keeps_queued_ones) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    packets.send("read before");
    packets.send("unread before");
    const message first = read_packet(h);
    ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_NONE, 0), sent_mode);
    packets.send("after");
    set_verdict(h, first.id());
    EXPECT_EQ(packets.arrived(), "read before");
    const message second = read_packet(h);
    EXPECT_EQ(udp_payload(second.payload()), "unread before");
    set_verdict(h, second.id());
    EXPECT_EQ(packets.arrived(), "unread before");
    EXPECT_TRUE(nothing_to_read(h));
    EXPECT_TRUE(packets.nothing_arrived());
    ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_PACKET, 0), sent_mode);
    packets.send("again");
    set_verdict(h, read_packet(h).id());
    EXPECT_EQ(packets.arrived(), "again");
  }
}

TEST_F(set_mode, change_affects_later_packets_only) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    const size_t whole = packets.header_size() + 100;
    handle h{protocol, IPQ_COPY_PACKET};
    packets.send(std::string(100, '1'));
    ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_META, 0), sent_mode);
    packets.send(std::string(100, '2'));
    ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_PACKET, 30), sent_mode);
    packets.send(std::string(100, '3'));
    ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_PACKET, 0), sent_mode);
    packets.send(std::string(100, '4'));
    for (size_t expected : {whole, size_t{0}, size_t{30}, whole}) EXPECT_EQ(read_packet(h).packet().data_len, expected);
  }
}

TEST_F(set_mode, invalid_mode_is_refused_and_the_mode_stays) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET, 40};
  for (int mode : {3, 4, 255}) {
    SCOPED_TRACE(mode);
    ASSERT_EQ(ipq_set_mode(h, static_cast<uint8_t>(mode), 0), sent_mode);
    EXPECT_EQ(read_error(h).error(), EINVAL);
    flow4().send("still forty bytes of every packet");
    const message m = read_packet(h);
    EXPECT_EQ(m.packet().data_len, 40u);
    set_verdict(h, m.id());
    flow4().arrived();
  }
}

TEST_F(set_mode, invalid_mode_before_any_other_is_refused) {
  flow4().rule();
  handle h{ipv4};
  ASSERT_EQ(ipq_set_mode(h, 77, 0), sent_mode);
  EXPECT_EQ(read_error(h).error(), EINVAL);
  ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_PACKET, 0), sent_mode);
  flow4().send("good");
  set_verdict(h, read_packet(h).id());
  EXPECT_EQ(flow4().arrived(), "good");
}

// Programs give their buffer's size as the range, without room for the header.
TEST_F(set_mode, range_equal_to_the_buffer_size_works) {
  flow4().rule();
  constexpr size_t size = 2048;
  handle h{ipv4, IPQ_COPY_PACKET, size};
  for (size_t length : {1u, 500u, 1472u}) {
    flow4().send(std::string(length, 'b'));
    bytes buffer(size);
    ASSERT_GT(ipq_read(h, buffer.data(), buffer.size(), 0), 0);
    EXPECT_EQ(ipq_get_packet(buffer.data())->data_len, length + 28);
    set_verdict(h, ipq_get_packet(buffer.data())->packet_id);
    EXPECT_EQ(flow4().arrived().size(), length);
  }
}

TEST_F(set_mode, may_change_ten_thousand_times) {
  handle h{ipv4};
  for (int round = 0; round < 10'000; ++round) {
    ASSERT_EQ(ipq_set_mode(h, round % 2 == 0 ? IPQ_COPY_META : IPQ_COPY_PACKET, 0), sent_mode);
  }
  EXPECT_TRUE(nothing_to_read(h));
}

}  // namespace
}  // namespace kernel_tests
