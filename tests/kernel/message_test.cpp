// SPDX-License-Identifier: MIT
// The bytes of packet messages, as ipq_read stores them, and the functions that look at them.
#include <gtest/gtest.h>

#include <cstring>

#include "flow.hpp"
#include "packet_bytes.hpp"
#include "process.hpp"

namespace kernel_tests {
namespace {

using packet_message = flow_test;

constexpr size_t header_sizes = 112;  // nlmsghdr and ipq_packet_msg_t

size_t round_up_4(size_t size) {
  return (size + 3) / 4 * 4;
}

static_assert(sizeof(nlmsghdr) == 16 && sizeof(nlmsgerr) == 20);
static_assert(sizeof(ipq_packet_msg_t) == 96 && sizeof(ipq_verdict_msg_t) == 24 && sizeof(ipq_mode_msg_t) == 16);
static_assert(offsetof(ipq_packet_msg_t, packet_id) == 0 && offsetof(ipq_packet_msg_t, mark) == 8);
static_assert(offsetof(ipq_packet_msg_t, timestamp_sec) == 16 && offsetof(ipq_packet_msg_t, timestamp_usec) == 24);
static_assert(offsetof(ipq_packet_msg_t, hook) == 32 && offsetof(ipq_packet_msg_t, indev_name) == 36);
static_assert(offsetof(ipq_packet_msg_t, outdev_name) == 52 && offsetof(ipq_packet_msg_t, hw_protocol) == 68);
static_assert(offsetof(ipq_packet_msg_t, hw_type) == 70 && offsetof(ipq_packet_msg_t, hw_addrlen) == 72);
static_assert(offsetof(ipq_packet_msg_t, hw_addr) == 73 && offsetof(ipq_packet_msg_t, data_len) == 88);
static_assert(offsetof(ipq_packet_msg_t, payload) == 96);
static_assert(offsetof(ipq_handle, fd) == 0 && offsetof(ipq_handle, blocking) == 4);
static_assert(offsetof(ipq_handle, local) == 8 && offsetof(ipq_handle, peer) == 20);

TEST_F(packet_message, is_112_bytes_and_the_packet_rounded_up_to_4) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    for (const std::string payload : {"", "1", "12", "123", "1234", "12345"}) {
      SCOPED_TRACE(payload);
      packets.send(payload);
      bytes buffer(large_enough, 0xa5);
      const ssize_t length = ipq_read(h, buffer.data(), buffer.size(), 0);
      const size_t packet_size = packets.header_size() + payload.size();
      ASSERT_EQ(length, static_cast<ssize_t>(header_sizes + round_up_4(packet_size)));
      const auto& header = *reinterpret_cast<const nlmsghdr*>(buffer.data());
      EXPECT_EQ(header.nlmsg_len, static_cast<uint32_t>(length));
      EXPECT_EQ(header.nlmsg_type, IPQM_PACKET);
      EXPECT_EQ(header.nlmsg_flags, 0);
      EXPECT_EQ(header.nlmsg_seq, 0u);
      EXPECT_EQ(header.nlmsg_pid, 0u);
      const ipq_packet_msg_t& packet = *ipq_get_packet(buffer.data());
      ASSERT_EQ(packet.data_len, packet_size);
      EXPECT_EQ(udp_payload({packet.payload, packet.payload + packet.data_len}), payload);
      const bytes behind(buffer.begin() + length, buffer.end());
      EXPECT_EQ(behind, bytes(behind.size(), 0xa5)) << "bytes behind the message were written";
      set_verdict(h, packet.packet_id);
      EXPECT_EQ(packets.arrived(), payload);
    }
  }
}

TEST_F(packet_message, of_metadata_is_112_bytes) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_META};
  flow4().send("not copied");
  const message m = read_packet(h);
  EXPECT_EQ(m.data.size(), header_sizes);
  EXPECT_EQ(m.header().nlmsg_len, header_sizes);
  EXPECT_EQ(m.packet().data_len, 0u);
}

TEST_F(packet_message, carries_every_byte_of_the_packet) {
  flow4().rule();
  flow6().rule();
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol);
    handle h{protocol, IPQ_COPY_PACKET};
    std::string payload;
    for (int byte = 0; byte < 1400; ++byte) payload += static_cast<char>(byte * 7);
    packets.send(payload);
    const message m = read_packet(h);
    const bytes expected = udp_packet(packets.near_address(), flow::port, packets.far_address(), flow::port, payload);
    ASSERT_EQ(m.payload().size(), expected.size());
    EXPECT_EQ(udp_payload(m.payload()), payload);
    EXPECT_EQ(source_of(m.payload()), packets.near_address());
    EXPECT_EQ(destination_of(m.payload()), packets.far_address());
    EXPECT_EQ(destination_port(m.payload()), flow::port);
    bytes corrected = m.payload();
    make_correct(corrected);
    EXPECT_EQ(m.payload(), corrected) << "a length or a checksum of the copy is not complete";
  }
}

TEST_F(packet_message, of_a_ping_is_icmp) {
  iptables("-A OUTPUT -p icmp -j QUEUE");
  handle h{ipv4, IPQ_COPY_PACKET};
  background_command ping{split("ping -n -c 1 -W 10 -s 32 192.0.2.2")};
  const message m = read_packet(h);
  EXPECT_EQ(m.packet().data_len, 60u);
  EXPECT_EQ(transport_protocol(m.payload()), IPPROTO_ICMP);
  EXPECT_EQ(m.payload().at(20), 8) << "ICMP type";
  set_verdict(h, m.id());
  ping.wait_for_success();
}

TEST_F(packet_message, of_a_ping_is_icmpv6) {
  ip6tables("-A OUTPUT -p icmpv6 --icmpv6-type echo-request -j QUEUE");
  handle h{ipv6, IPQ_COPY_PACKET};
  background_command ping{split("ping -n -c 1 -W 10 -s 32 2001:db8::2")};
  const message m = read_packet(h);
  EXPECT_EQ(m.packet().data_len, 80u);
  EXPECT_EQ(transport_protocol(m.payload()), IPPROTO_ICMPV6);
  EXPECT_EQ(m.payload().at(40), 128) << "ICMPv6 type";
  set_verdict(h, m.id());
  ping.wait_for_success();
}

TEST_F(packet_message, of_tcp_passes_a_whole_connection) {
  for (auto [protocol, command, address] :
       {std::tuple{ipv4, "iptables-legacy", far_address}, {ipv6, "ip6tables-legacy", far_address6}}) {
    for (const char* chain : {"INPUT", "OUTPUT"})
      must_run(std::string{command} + " -w -A " + chain + " -p tcp -j QUEUE");
    handle h{protocol, IPQ_COPY_PACKET};
    acceptor passer{h};
    tcp_listener there{far_ns(), address, 6000};
    descriptor here = tcp_connect(near_ns(), address, 6000);
    descriptor accepted = there.accept();
    const std::string sent(100'000, 'b');
    std::string received(sent.size(), '\0');
    ASSERT_EQ(write(here.get(), sent.data(), sent.size()), static_cast<ssize_t>(sent.size()));
    ASSERT_EQ(recv(accepted.get(), received.data(), received.size(), MSG_WAITALL), static_cast<ssize_t>(sent.size()));
    EXPECT_EQ(received, sent);
    EXPECT_GT(passer.finish(), 4u);
  }
}

TEST_F(packet_message, may_be_looked_at_much_later) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  std::vector<message> kept;
  for (int number = 0; number < 5; ++number) {
    flow4().send("packet " + std::to_string(number));
    kept.push_back(read_packet(h));
    set_verdict(h, kept.back().id());
  }
  h.destroy();
  for (size_t number = 0; number < kept.size(); ++number) {
    const unsigned char* buffer = kept[number].data.data();
    EXPECT_EQ(ipq_message_type(buffer), IPQM_PACKET);
    EXPECT_EQ(static_cast<const void*>(ipq_get_packet(buffer)), buffer + sizeof(nlmsghdr));
    EXPECT_EQ(udp_payload(kept[number].payload()), "packet " + std::to_string(number));
  }
}

TEST_F(packet_message, functions_are_casts_of_any_buffer) {
  alignas(nlmsghdr) unsigned char buffer[128]{};
  auto& header = *reinterpret_cast<nlmsghdr*>(buffer);
  header.nlmsg_type = 0x1234;
  EXPECT_EQ(ipq_message_type(buffer), 0x1234);
  EXPECT_EQ(static_cast<void*>(ipq_get_packet(buffer)), buffer + 16);
  const int error = -ENOENT;
  memcpy(buffer + 16, &error, sizeof error);
  EXPECT_EQ(ipq_get_msgerr(buffer), ENOENT);
  EXPECT_EQ(errno_after([&] { ipq_get_msgerr(buffer); }), untouched_errno);
}

}  // namespace
}  // namespace kernel_tests
