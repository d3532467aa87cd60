// SPDX-License-Identifier: MIT
// The tests' own ground: the two namespaces, their link and the traffic helpers, without a queue.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>

#include "child.hpp"
#include "packet_bytes.hpp"
#include "traffic.hpp"

namespace kernel_tests {
namespace {

using network = network_test;

TEST_F(network, ping_crosses_the_link_in_both_families) {
  must_run("ping -n -c 1 -W 5 192.0.2.2");
  must_run("ping -n -c 1 -W 5 2001:db8::2");
  in(far_ns(), [] { return must_run("ping -n -c 1 -W 5 192.0.2.1"); });
}

TEST_F(network, datagrams_arrive_in_both_families) {
  for (auto [near, far] : {std::pair{near_address, far_address}, {near_address6, far_address6}}) {
    udp_socket here{near_ns(), near}, there{far_ns(), far, 5000};
    here.send(far, 5000, "hello");
    EXPECT_EQ(there.receive(), "hello");
    there.send(near, here.port(), "back");
    EXPECT_EQ(here.receive(), "back");
    EXPECT_EQ(here.receive_now(), std::nullopt);
  }
}

TEST_F(network, connection_is_made_and_carries_bytes) {
  tcp_listener there{far_ns(), far_address, 5001};
  descriptor here = tcp_connect(near_ns(), far_address, 5001);
  descriptor accepted = there.accept();
  ASSERT_EQ(write(here.get(), "bytes", 5), 5);
  char buffer[5];
  ASSERT_EQ(recv(accepted.get(), buffer, sizeof buffer, MSG_WAITALL), 5);
  EXPECT_EQ((std::string{buffer, 5}), "bytes");
}

TEST_F(network, made_packets_are_correct_and_spoilt_ones_are_not) {
  for (auto [near, far] : {std::pair{near_address, far_address}, {near_address6, far_address6}}) {
    udp_socket there{far_ns(), far, 5002};
    bytes packet = udp_packet(near, 9, far, 5002, "made by hand");
    bytes spoilt = packet;
    spoil_udp_checksum(spoilt);
    send_raw(near_ns(), spoilt);
    send_raw(near_ns(), packet);
    EXPECT_EQ(there.receive(), "made by hand");
    EXPECT_EQ(there.receive_now(), std::nullopt);
    EXPECT_EQ(udp_payload(packet), "made by hand");
    EXPECT_EQ(source_of(packet), near);
    EXPECT_EQ(destination_of(packet), far);
    EXPECT_EQ(destination_port(packet), 5002);
    send_raw(near_ns(), with_udp_payload(packet, "odd"));
    EXPECT_EQ(there.receive(), "odd");
  }
}

TEST_F(network, tap_sees_what_arrives) {
  device_tap tap{far_ns(), "far0"};
  const bytes packet = udp_packet(near_address, 9, far_address, 5003, "seen");
  send_raw(near_ns(), packet);
  const bytes seen = tap.next();
  EXPECT_EQ(udp_payload(seen), "seen");
  EXPECT_EQ(seen.size(), packet.size());
}

TEST_F(network, rules_belong_to_one_namespace) {
  iptables("-A OUTPUT -p udp --dport 5004 -j DROP");
  ip6tables("-A OUTPUT -p udp --dport 5004 -j DROP");
  EXPECT_NE(must_run("iptables-legacy -w -S").find("5004"), std::string::npos);
  EXPECT_NE(must_run("ip6tables-legacy -w -S").find("5004"), std::string::npos);
  EXPECT_EQ(in(far_ns(), [] { return must_run("iptables-legacy -w -S"); }).find("5004"), std::string::npos);
}

TEST_F(network, queue_rule_without_a_listener_drops) {
  iptables("-A OUTPUT -p udp --dport 5005 -j QUEUE");
  udp_socket here{near_ns(), near_address}, there{far_ns(), far_address, 5005}, other{far_ns(), far_address, 5006};
  here.send(far_address, 5005, "lost");
  here.send(far_address, 5006, "not queued");
  EXPECT_EQ(other.receive(), "not queued");
  EXPECT_EQ(there.receive_now(), std::nullopt);
}

TEST_F(network, child_talks_and_ends) {
  child process{[](const child::line& line) {
    line.say("ready");
    line.wait_for_go();
    throw std::runtime_error("as asked");
  }};
  EXPECT_EQ(process.hear(), "ready");
  process.go();
  EXPECT_THROW(process.hear(), std::runtime_error);
  const int status = process.wait();
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

TEST_F(network, failing_command_is_an_exception_with_its_output) {
  try {
    must_run("ip link show dev nonesuch0");
    FAIL() << "the command did not fail";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string{error.what()}.find("nonesuch0"), std::string::npos);
  }
}

}  // namespace
}  // namespace kernel_tests
