// SPDX-License-Identifier: MIT
// What a message says about its packet: hook, devices, hardware address, mark, timestamp.
#include <gtest/gtest.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "child.hpp"
#include "flow.hpp"
#include "packet_bytes.hpp"
#include "process.hpp"

namespace kernel_tests {
namespace {

using metadata = flow_test;
using device_names = flow_test;
using timestamp = flow_test;

constexpr unsigned short ethernet_type = 1, loopback_type = 772;

// Everything but what differs from packet to packet.
ipq_packet_msg_t expected_packet(uint32_t protocol, unsigned int hook, std::string_view indev,
                                 std::string_view outdev) {
  ipq_packet_msg_t packet;
  memset(&packet, 0, sizeof packet);
  packet.hook = hook;
  indev.copy(packet.indev_name, sizeof packet.indev_name);
  outdev.copy(packet.outdev_name, sizeof packet.outdev_name);
  packet.hw_protocol = htons(protocol == ipv4 ? 0x0800 : 0x86dd);
  if (!indev.empty()) {
    packet.hw_type = ethernet_type;
    packet.hw_addrlen = 6;
    const unsigned char far_mac[] = {2, 0, 0, 0, 0, 2};
    memcpy(packet.hw_addr, far_mac, sizeof far_mac);
  }
  return packet;
}

// Reads a packet, accepts it, and compares every byte of its description.
void expect_next(const ipq_handle* h, ipq_packet_msg_t expected) {
  const message m = read_packet(h);
  SCOPED_TRACE("hook " + std::to_string(m.packet().hook));
  expected.packet_id = m.id();
  expected.timestamp_sec = m.packet().timestamp_sec;
  expected.timestamp_usec = m.packet().timestamp_usec;
  expected.data_len = m.packet().data_len;
  EXPECT_EQ(m.packet().hook, expected.hook);
  EXPECT_STREQ(m.packet().indev_name, expected.indev_name);
  EXPECT_STREQ(m.packet().outdev_name, expected.outdev_name);
  EXPECT_EQ(m.packet().hw_protocol, expected.hw_protocol);
  EXPECT_EQ(m.packet().hw_type, expected.hw_type);
  EXPECT_EQ(m.packet().hw_addrlen, expected.hw_addrlen);
  EXPECT_EQ(memcmp(m.packet().hw_addr, expected.hw_addr, sizeof expected.hw_addr), 0);
  EXPECT_EQ(m.packet().mark, expected.mark);
  EXPECT_EQ(memcmp(&m.packet(), &expected, sizeof expected), 0) << "something beside the fields is not zero";
  set_verdict(h, m.id());
}

TEST_F(metadata, of_sent_packets_in_output_and_postrouting) {
  for (auto protocol : {ipv4, ipv6}) {
    for (auto mode : {IPQ_COPY_META, IPQ_COPY_PACKET}) {
      const flow& packets = flow_of(protocol);
      packets.rule("-t mangle -A OUTPUT").rule("-t mangle -A POSTROUTING");
      handle h{protocol, static_cast<uint8_t>(mode)};
      packets.send("out");
      expect_next(h, expected_packet(protocol, 3, "", "near0"));
      expect_next(h, expected_packet(protocol, 4, "", "near0"));
      EXPECT_EQ(packets.arrived(), "out");
      must_run(packets.rule_command() + " -t mangle -F");
    }
  }
}

TEST_F(metadata, of_received_packets_in_prerouting_and_input) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol);
    packets.rule("-t mangle -A PREROUTING").rule("-t mangle -A INPUT");
    handle h{protocol, IPQ_COPY_META};
    packets.send_back("in");
    expect_next(h, expected_packet(protocol, 0, "near0", ""));
    expect_next(h, expected_packet(protocol, 1, "near0", ""));
    EXPECT_EQ(packets.arrived_back(), "in");
  }
}

TEST_F(metadata, of_forwarded_packets) {
  must_run("ip -batch -",
           "link add lan type veth peer name stub\n"
           "link set stub addrgenmode none up\n"
           "link set lan addrgenmode none up\n"
           "addr add 203.0.113.1/24 dev lan\n"
           "addr add 2001:db8:2::1/64 dev lan nodad\n"
           "neigh add 203.0.113.9 lladdr 02:00:00:00:02:09 nud permanent dev lan\n"
           "neigh add 2001:db8:2::9 lladdr 02:00:00:00:02:09 nud permanent dev lan\n");
  for (const char* forwarding : {"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"})
    ASSERT_TRUE(std::ofstream(forwarding) << 1 << std::flush) << forwarding;
  in(far_ns(), [] {
    must_run("ip route add 203.0.113.0/24 via 192.0.2.1");
    return must_run("ip route add 2001:db8:2::/64 via 2001:db8::1");
  });
  for (auto [protocol, beyond] : {std::pair{ipv4, "203.0.113.9"}, {ipv6, "2001:db8:2::9"}}) {
    const flow& packets = flow_of(protocol);
    packets.rule("-t mangle -A FORWARD").rule("-t mangle -A POSTROUTING");
    const device_tap tap{near_ns(), "stub"};
    handle h{protocol, IPQ_COPY_META};
    packets.far_socket().send(beyond, flow::port, "through");
    expect_next(h, expected_packet(protocol, 2, "near0", "lan"));
    expect_next(h, expected_packet(protocol, 4, "", "lan"));
    EXPECT_EQ(udp_payload(tap.next()), "through");
  }
}

TEST_F(metadata, of_loopback_has_type_772_and_six_zero_bytes) {
  for (auto [protocol, address] : {std::pair{ipv4, "127.0.0.1"}, {ipv6, "::1"}}) {
    must_run(flow_of(protocol).rule_command() + " -t mangle -A INPUT -i lo -p udp -j QUEUE");
    handle h{protocol, IPQ_COPY_META};
    const udp_socket socket{near_ns(), address};
    socket.send(address, socket.port(), "round");
    ipq_packet_msg_t expected = expected_packet(protocol, 1, "lo", "");
    expected.hw_type = loopback_type;
    memset(expected.hw_addr, 0, sizeof expected.hw_addr);
    expect_next(h, expected);
  }
}

TEST_F(metadata, mark_is_in_host_order) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol);
    packets.rule("-t mangle -A OUTPUT", "MARK --set-mark 0x01020304").rule();
    handle h{protocol, IPQ_COPY_META};
    packets.send("marked");
    ipq_packet_msg_t expected = expected_packet(protocol, 3, "", "near0");
    expected.mark = 0x01020304;
    expect_next(h, expected);
  }
}

TEST_F(device_names, follow_a_renamed_interface) {
  flow4().rule("-A OUTPUT").rule("-t mangle -A PREROUTING");
  handle h{ipv4, IPQ_COPY_META};
  auto round_trip = [&](std::string_view name) {
    flow4().send("out");
    expect_next(h, expected_packet(ipv4, 3, "", name));
    flow4().send_back("in");
    expect_next(h, expected_packet(ipv4, 0, name, ""));
  };
  round_trip("near0");
  for (auto [from, to] :
       {std::pair{"near0", "renamed"}, {"renamed", "a_name_of_15_ch"}, {"a_name_of_15_ch", "near0"}}) {
    const std::string name = to;
    must_run("ip -batch -", std::string{"link set "} + from + " down\nlink set " + from + " name " + name +
                                "\nlink set " + name + " up\naddr replace 2001:db8::1/64 nodad dev " + name +
                                "\nneigh replace 192.0.2.2 lladdr 02:00:00:00:00:02 nud permanent dev " + name +
                                "\nneigh replace 2001:db8::2 lladdr 02:00:00:00:00:02 nud permanent dev " + name +
                                "\n");
    wait_for_link();
    round_trip(to);
  }
}

// As a program does that gives its network up once it has the queue.
TEST_F(device_names, are_those_of_the_queues_namespace_wherever_the_reader_is) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_META};
  flow4().send("out");
  in(far_ns(), [&] { expect_next(h, expected_packet(ipv4, 3, "", "near0")); });
  // What is not remembered has to be asked there, too.
  flow4().send("out");
  child other{[&](const child::line& line) {
    const inside elsewhere{far_ns()};
    const message m = read_packet(h);
    set_verdict(h, m.id());
    line.say(m.packet().outdev_name);
  }};
  EXPECT_EQ(other.hear(), "near0");
}

// And gives its rights up, too.
TEST_F(device_names, need_no_right_once_the_handle_is_made) {
  flow4().rule();
  child program{[&](const child::line& line) {
    const handle h{ipv4, IPQ_COPY_META};
    line.say("ready");
    const inside elsewhere{far_ns()};
    drop_all_capabilities();
    line.say(read_packet(h).packet().outdev_name);
    child::end(0);  // it can't come back
  }};
  ASSERT_EQ(program.hear(), "ready");
  flow4().send("out");
  EXPECT_EQ(program.hear(), "near0");
}

// A name of another namespace would be a wrong one.
TEST_F(device_names, are_empty_where_the_queues_namespace_is_out_of_reach) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_META};
  flow4().send("out");
  child other{[&](const child::line& line) {
    const inside elsewhere{far_ns()};
    drop_all_capabilities();
    line.say("'" + std::string{read_packet(h).packet().outdev_name} + "'");
    child::end(0);  // it can't come back
  }};
  EXPECT_EQ(other.hear(), "''");
}

TEST_F(device_names, follow_an_exchange_of_names) {
  must_run("ip -batch -",
           "link add near1 type veth peer name stub1\n"
           "link set stub1 up\n"
           "link set near1 up\n"
           "addr add 198.51.100.1/24 dev near1\n"
           "neigh add 198.51.100.2 lladdr 02:00:00:00:01:02 nud permanent dev near1\n");
  iptables("-A OUTPUT -p udp -j QUEUE");
  handle h{ipv4, IPQ_COPY_META};
  const udp_socket sender{near_ns(), "0.0.0.0"};
  auto outdev = [&](const char* address) {
    sender.send(address, flow::port, "where?");
    const message m = read_packet(h);
    set_verdict(h, m.id(), NF_DROP);
    return std::string{m.packet().outdev_name};
  };
  EXPECT_EQ(outdev("192.0.2.2"), "near0");
  EXPECT_EQ(outdev("198.51.100.2"), "near1");
  must_run("ip -batch -",
           "link set near0 down\n"
           "link set near1 down\n"
           "link set near0 name other\n"
           "link set near1 name near0\n"
           "link set other name near1\n"
           "link set near0 up\n"
           "link set near1 up\n");
  EXPECT_EQ(outdev("192.0.2.2"), "near1");
  EXPECT_EQ(outdev("198.51.100.2"), "near0");
}

TEST_F(device_names, follow_an_interface_made_anew_with_the_same_index) {
  must_run("ip -batch -",
           "link add before index 77 address 02:00:00:00:07:01 type veth peer name stub\n"
           "link set stub up\nlink set before up\naddr add 198.51.100.1/24 dev before\n"
           "neigh add 198.51.100.2 lladdr 02:00:00:00:07:02 nud permanent dev before\n");
  iptables("-A OUTPUT -p udp -j QUEUE");
  handle h{ipv4, IPQ_COPY_META};
  const udp_socket sender{near_ns(), "0.0.0.0"};
  sender.send("198.51.100.2", flow::port, "x");
  expect_next(h, expected_packet(ipv4, 3, "", "before"));
  must_run("ip -batch -",
           "link del before\n"
           "link add after index 77 address 02:00:00:00:07:01 type veth peer name stub\n"
           "link set stub up\nlink set after up\naddr add 198.51.100.1/24 dev after\n"
           "neigh add 198.51.100.2 lladdr 02:00:00:00:07:02 nud permanent dev after\n");
  sender.send("198.51.100.2", flow::port, "x");
  expect_next(h, expected_packet(ipv4, 3, "", "after"));
}

TEST_F(device_names, know_an_interface_that_is_newer_than_the_handle) {
  iptables("-A OUTPUT -p udp -j QUEUE");
  handle h{ipv4, IPQ_COPY_META};
  const udp_socket sender{near_ns(), "0.0.0.0"};
  for (const char* name : {"newer", "newest"}) {
    const std::string device = name;
    must_run("ip -batch -", "link add " + device + " type veth peer name stub\nlink set stub up\nlink set " + device +
                                " up\naddr add 198.51.100.1/24 dev " + device +
                                "\nneigh add 198.51.100.2 lladdr 02:00:00:00:01:02 nud permanent dev " + device + "\n");
    sender.send("198.51.100.2", flow::port, "x");
    expect_next(h, expected_packet(ipv4, 3, "", name));
    must_run(std::string{"ip link del "} + name);
  }
}

TEST_F(timestamp, of_received_packets_is_the_time_of_reception) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol);
    packets.rule("-A INPUT");
    handle h{protocol, IPQ_COPY_META};
    timeval before, after;
    message m;
    // The kernel switches timestamps on in the background, a moment after it is asked to.
    wait_until("a packet with a timestamp", [&] {
      gettimeofday(&before, nullptr);
      packets.send_back("when?");
      m = read_packet(h);
      gettimeofday(&after, nullptr);
      set_verdict(h, m.id());
      return m.packet().timestamp_sec != 0;
    });
    const timeval stamp{m.packet().timestamp_sec, m.packet().timestamp_usec};
    EXPECT_LT(stamp.tv_usec, 1'000'000);
    EXPECT_FALSE(timercmp(&stamp, &before, <)) << stamp.tv_sec << "." << stamp.tv_usec;
    EXPECT_FALSE(timercmp(&stamp, &after, >)) << stamp.tv_sec << "." << stamp.tv_usec;
  }
}

TEST_F(timestamp, of_local_packets_is_zero) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol);
    packets.rule("-t mangle -A OUTPUT").rule("-t mangle -A POSTROUTING");
    handle h{protocol, IPQ_COPY_META};
    packets.send("no clock");
    for ([[maybe_unused]] const char* hook : {"OUTPUT", "POSTROUTING"}) {
      const message m = read_packet(h);
      EXPECT_EQ(m.packet().timestamp_sec, 0);
      EXPECT_EQ(m.packet().timestamp_usec, 0);
      set_verdict(h, m.id());
    }
  }
}

}  // namespace
}  // namespace kernel_tests
