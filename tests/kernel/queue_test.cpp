// SPDX-License-Identifier: MIT
// The queue itself: order, limit, what the receive buffer holds, and packets that the kernel takes back.
#include <gtest/gtest.h>

#include "flow.hpp"
#include "packet_bytes.hpp"
#include "process.hpp"

namespace kernel_tests {
namespace {

using queue = flow_test;

// Sends numbered datagrams and expects to read so many of them, the first ones, in order, and no more.
void expect_to_hold(const ipq_handle* h, size_t expected, const flow& packets, size_t sent, size_t size) {
  packets.send_numbered(sent, size);
  for (size_t number = 0; number < expected; ++number) {
    const message m = read_packet(h);
    ASSERT_EQ(std::stoul(udp_payload(m.payload())), number);
    set_verdict(h, m.id(), NF_DROP);
  }
  EXPECT_TRUE(nothing_to_read(h));
}

TEST_F(queue, is_first_in_first_out) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    expect_to_hold(h, 200, packets, 200, 1);
  }
}

TEST_F(queue, holds_1024_small_packets_and_drops_the_rest) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    constexpr size_t needed = 1024 * 1024;  // nearly a KiB each
    if (status_of(h).receive_buffer < needed && !global_root("a receive buffer beyond net.core.rmem_max")) return;
    expect_to_hold(h, 1024, packets, 1100, 10);
    EXPECT_EQ(stats_of(h).lost_no_buffer, 0u);
    if (queue_counters_are_shown()) {
      EXPECT_EQ(stats_of(h).lost_queue_full, 76u);
    }
  }
}

TEST_F(queue, holds_1024_full_size_packets) {
  if (!global_root("a receive buffer beyond net.core.rmem_max")) return;
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    expect_to_hold(h, 1024, packets, 1030, 1452);
    EXPECT_EQ(stats_of(h).lost_no_buffer, 0u);
  }
}

TEST_F(queue, holds_1024_full_size_packets_of_each_family) {
  if (!global_root("a receive buffer beyond net.core.rmem_max")) return;
  flow4().rule();
  flow6().rule();
  handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_PACKET};
  expect_to_hold(four, 1024, flow4(), 1024, 1452);
  expect_to_hold(six, 1024, flow6(), 1024, 1452);
}

TEST_F(queue, buffer_is_as_large_as_permitted_at_least) {
  // What any socket gets that asks for too much.
  const udp_socket greedy{near_ns(), near_address};
  const int too_much = 1 << 30;
  uint32_t permitted = 0;
  socklen_t size = sizeof permitted;
  ASSERT_EQ(setsockopt(greedy.fd(), SOL_SOCKET, SO_RCVBUF, &too_much, sizeof too_much), 0);
  ASSERT_EQ(getsockopt(greedy.fd(), SOL_SOCKET, SO_RCVBUF, &permitted, &size), 0);
  // What 1024 packets of 1500 bytes take: the library need not want more.
  constexpr uint64_t enough = 1024 * 2304;
  handle h{ipv4, IPQ_COPY_PACKET};
  EXPECT_GE(status_of(h).receive_buffer, std::min<uint64_t>(permitted, enough));
}

TEST_F(queue, that_nobody_listens_to_drops) {
  flow4().rule();
  flow6().rule();
  flow4().send("x");
  flow6().send("x");
  EXPECT_TRUE(flow4().nothing_arrived());
  EXPECT_TRUE(flow6().nothing_arrived());
}

TEST_F(queue, loses_the_packets_of_a_device_that_goes_down) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    must_run(packets.rule_command() + " -A OUTPUT -o lo -p udp -j QUEUE");
    handle h{protocol, IPQ_COPY_PACKET};
    packets.send("read");
    const message m = read_packet(h);
    packets.send("unread");
    must_run("ip link set near0 down");
    const message unread = read_packet(h);
    for (const message* gone : {&m, &unread}) {
      set_verdict(h, gone->id());
      EXPECT_EQ(read_error(h).error(), ENOENT);
    }
    // The queue goes on for everything else.
    const char* address = protocol == ipv4 ? "127.0.0.1" : "::1";
    const udp_socket socket{near_ns(), address};
    socket.send(address, socket.port(), "of lo");
    set_verdict(h, read_packet(h).id());
    EXPECT_EQ(socket.receive(), "of lo");
    must_run("ip -batch -",
             "link set near0 up\naddr replace 2001:db8::1/64 dev near0 nodad\n"
             "neigh replace 192.0.2.2 lladdr 02:00:00:00:00:02 nud permanent dev near0\n"
             "neigh replace 2001:db8::2 lladdr 02:00:00:00:00:02 nud permanent dev near0\n");
  }
}

TEST_F(queue, loses_the_packets_of_a_device_that_is_deleted) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send("gone");
  const message m = read_packet(h);
  must_run("ip link del near0");
  set_verdict(h, m.id());
  EXPECT_EQ(read_error(h).error(), ENOENT);
}

// The kernel empties every queue of the namespace when a table takes its hooks away.
TEST_F(queue, loses_packets_with_the_hooks_of_a_table) {
  flow4().rule();
  must_run("nft add table ip temporary");
  must_run("nft add chain ip temporary output { type filter hook output priority 10; }");
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send("gone");
  const message m = read_packet(h);
  must_run("nft delete table ip temporary");
  set_verdict(h, m.id());
  EXPECT_EQ(read_error(h).error(), ENOENT);
  flow4().send("and on");
  set_verdict(h, read_packet(h).id());
  EXPECT_EQ(flow4().arrived(), "and on");
}

TEST_F(queue, keeps_packets_while_rules_change) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send("queued by a rule that is gone");
  const message m = read_packet(h);
  iptables("-F");
  set_verdict(h, m.id());
  EXPECT_EQ(flow4().arrived(), "queued by a rule that is gone");
}

}  // namespace
}  // namespace kernel_tests
