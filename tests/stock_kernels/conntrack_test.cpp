// SPDX-License-Identifier: MIT
// The connection of a packet: what queue_options::conntrack tells about it, and the mark that a verdict gives it.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "stock_test.hpp"
#include "wire/message.hpp"

namespace stock_kernels {
namespace {

using namespace kernel_tests;
using ipq::verdict;
using ipq::wire::bytes;

// nfnetlink_conntrack.h
constexpr uint16_t cta_tuple_orig = 1, cta_status = 3, cta_mark = 8;
constexpr uint16_t cta_tuple_ip = 1, cta_tuple_proto = 2;
constexpr uint16_t cta_ip_v4_src = 1, cta_ip_v4_dst = 2, cta_ip_v6_src = 3, cta_ip_v6_dst = 4;
constexpr uint16_t cta_proto_num = 1, cta_proto_src_port = 2, cta_proto_dst_port = 3;
// enum ip_conntrack_info and enum ip_conntrack_status
constexpr uint32_t established = 0, new_connection = 2, established_reply = 3, status_confirmed = 1 << 3;

// The attribute of that type; throws without one.
bytes attribute(bytes in, uint16_t type) {
  while (const auto found = ipq::wire::next_attribute(in)) {
    if (found->type == type) return found->value;
  }
  throw std::runtime_error("no attribute " + std::to_string(type));
}

template <class T>
T number_in(bytes in, uint16_t type) {
  const bytes value = attribute(in, type);
  if (value.size() != sizeof(T)) throw std::runtime_error("attribute " + std::to_string(type) + " has another size");
  return ipq::wire::load_be<T>(value.data());
}

std::string address_in(bytes in, uint16_t type) {
  const bytes value = attribute(in, type);
  char text[INET6_ADDRSTRLEN];
  return inet_ntop(value.size() == 4 ? AF_INET : AF_INET6, value.data(), text, sizeof text);
}

uint32_t mark_of(const ipq::owned_packet& queued) {
  return number_in<uint32_t>(queued->conntrack, cta_mark);
}

class connection : public flow_test {
 protected:
  // Every packet of the flow, both ways, is tracked and queued.
  void SetUp() override {
    flow_test::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const std::string rules =
        "table inet ipq {\n"
        "  chain output { type filter hook output priority 0; ct state new,established udp dport 5000 queue num 3; }\n"
        "  chain input { type filter hook input priority 0; ct state new,established udp dport 5000 queue num 3; }\n"
        "}\n";
    if (!takes(rules)) GTEST_SKIP() << "this kernel has no connection tracking, or no queue statement, for nft";
    nft(rules);
  }
};

TEST_F(connection, is_told_with_every_packet) {
  ipq::queue q = must_open({.conntrack = true});
  for (const auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol);
    packets.send("first");
    const ipq::owned_packet first = take(q);
    ASSERT_TRUE(first->conntrack_info);
    EXPECT_EQ(*first->conntrack_info, new_connection);
    const bytes tuple = attribute(first->conntrack, cta_tuple_orig);
    const bytes ip = attribute(tuple, cta_tuple_ip), transport = attribute(tuple, cta_tuple_proto);
    EXPECT_EQ(address_in(ip, protocol == ipv4 ? cta_ip_v4_src : cta_ip_v6_src), packets.near_address());
    EXPECT_EQ(address_in(ip, protocol == ipv4 ? cta_ip_v4_dst : cta_ip_v6_dst), packets.far_address());
    EXPECT_EQ(number_in<uint8_t>(transport, cta_proto_num), IPPROTO_UDP);
    EXPECT_EQ(number_in<uint16_t>(transport, cta_proto_src_port), flow::port);
    EXPECT_EQ(number_in<uint16_t>(transport, cta_proto_dst_port), flow::port);
    EXPECT_EQ(number_in<uint32_t>(first->conntrack, cta_status) & status_confirmed, 0u);
    EXPECT_TRUE(ends_with(first.get(), "first"));

    packets.send_back("answer");
    const ipq::owned_packet answer = take(q);
    EXPECT_EQ(answer->conntrack_info, established_reply);
    EXPECT_NE(number_in<uint32_t>(answer->conntrack, cta_status) & status_confirmed, 0u);
    EXPECT_EQ(address_in(attribute(attribute(answer->conntrack, cta_tuple_orig), cta_tuple_ip),
                         protocol == ipv4 ? cta_ip_v4_src : cta_ip_v6_src),
              packets.near_address())
        << "the connection is the sender's, whichever way the packet goes";

    packets.send("second");
    const ipq::owned_packet second = take(q);
    EXPECT_EQ(second->conntrack_info, established);
  }
}

TEST_F(connection, is_told_without_payload_too) {
  ipq::queue q = must_open({.metadata_only = true, .conntrack = true});
  flow4().send("first");
  const ipq::owned_packet queued = take(q);
  EXPECT_EQ(queued->conntrack_info, new_connection);
  EXPECT_FALSE(queued->conntrack.empty());
  EXPECT_TRUE(queued->payload.empty());
}

TEST_F(connection, is_not_told_unasked) {
  ipq::queue q = must_open();
  flow4().send("first");
  const ipq::owned_packet queued = take(q);
  EXPECT_FALSE(queued->conntrack_info);
  EXPECT_TRUE(queued->conntrack.empty());
}

TEST_F(connection, of_an_untracked_packet_is_none) {
  nft("flush chain inet ipq output\n"
      "table inet ipq {\n"
      "  chain raw { type filter hook output priority raw; udp dport 5000 notrack; }\n"
      "  chain output { udp dport 5000 queue num 3; }\n"
      "}\n");
  ipq::queue q = must_open({.conntrack = true});
  flow4().send("untracked");
  const ipq::owned_packet queued = take(q);
  EXPECT_TRUE(queued->conntrack.empty());
  EXPECT_FALSE(queued->conntrack_info);
  EXPECT_EQ(flow4().arrived(), "untracked");
}

TEST_F(connection, gets_the_mark_of_a_verdict) {
  constexpr uint32_t mark = 0x01020304;
  // Behind the queue, for whoever looks there.
  nft("table inet ipq {\n"
      "  counter marked {}\n"
      "  chain seen { type filter hook postrouting priority 0; ct mark 0x01020304 counter name marked; }\n"
      "}\n");
  ipq::queue q = must_open({.conntrack = true});
  for (const auto protocol : {ipv4, ipv6}) {
    flow_of(protocol).send("first");
    const ipq::owned_packet first = take(q, verdict::accept().with_connmark(mark));
    EXPECT_EQ(first->mark, 0u);
    flow_of(protocol).send_back("answer");
    EXPECT_EQ(mark_of(take(q)), mark);
    flow_of(protocol).send("second");
    const ipq::owned_packet second = take(q, verdict::accept().with_connmark(mark + 1));
    EXPECT_EQ(mark_of(second), mark);
    EXPECT_EQ(second->mark, 0u) << "the packet's own mark is another one";
    flow_of(protocol).send("third");
    EXPECT_EQ(mark_of(take(q)), mark + 1);
  }
  // The first of each family, since its verdict was carried out before it came to postrouting.
  EXPECT_NE(must_run("nft list counter inet ipq marked").find("packets 2 "), std::string::npos)
      << must_run("nft list table inet ipq");
}

// The option tells us of connections; their marks can be set without it.
TEST_F(connection, gets_its_mark_without_the_option_too) {
  ipq::queue q = must_open();
  flow4().send("first");
  take(q, verdict::accept().with_connmark(5));
  EXPECT_EQ(flow4().arrived(), "first");
  EXPECT_NE(must_run("cat /proc/thread-self/net/nf_conntrack").find("mark=5"), std::string::npos);
}

TEST_F(connection, gets_the_bits_of_a_mask) {
  ipq::queue q = must_open({.conntrack = true});
  flow4().send("first");
  take(q, verdict::accept().with_connmark(0x0a0b0c0d));
  flow4().send("second");
  take(q, verdict::accept().with_connmark(0xffffff01, 0xff00ff));
  flow4().send("third");
  EXPECT_EQ(mark_of(take(q)), 0x0aff0c01u);
}

// A batch verdict has no room for the connection's mark: each packet takes its own.
TEST_F(connection, of_each_packet_in_a_batch_gets_its_mark) {
  constexpr size_t count = 5;
  ipq::queue q = must_open({.conntrack = true});
  std::vector<std::unique_ptr<udp_socket>> senders;
  for (size_t i = 0; i < count; ++i) {
    senders.push_back(std::make_unique<udp_socket>(near_ns(), near_address));
    senders.back()->send(far_address, flow::port, "first");
  }
  const ipq::batch first = must(q.receive());
  ASSERT_EQ(first.size(), count);
  for (const ipq::packet& each : first) must(q.set_verdict(each, verdict::accept().with_mark(1).with_connmark(9)));
  for (const auto& each : senders) {
    each->send(far_address, flow::port, "second");
    EXPECT_EQ(mark_of(take(q)), 9u);
  }
  for (size_t i = 0; i < 2 * count; ++i) flow4().arrived();
  EXPECT_TRUE(flow4().nothing_arrived());
}

TEST_F(connection, mark_is_there_when_the_packet_is_repeated) {
  nft("flush chain inet ipq output\n"
      "table inet ipq { chain output { udp dport 5000 ct mark != 6 queue num 3; }; }\n");
  ipq::queue q = must_open();
  flow4().send("around");
  take(q, verdict::repeat().with_connmark(6));
  EXPECT_EQ(flow4().arrived(), "around");
  EXPECT_TRUE(nothing_to_read(q));
}

TEST_F(connection, of_a_held_packet_gets_its_mark) {
  ipq::queue q = must_open({.conntrack = true});
  flow4().send("first");
  const ipq::batch got = must(q.receive(ipq::queue::clock::now() + patience));
  ASSERT_EQ(got.size(), 1u);
  must(must(q.hold(got[0])).set_verdict(verdict::accept().with_connmark(8)));
  must(q.flush());
  EXPECT_EQ(flow4().arrived(), "first");
  flow4().send("second");
  EXPECT_EQ(mark_of(take(q)), 8u);
}

// All that can be asked for, beside as much payload as there is room for.
TEST_F(connection, of_the_largest_packet_with_everything_else) {
  nft("table inet ipq { chain output { oif lo udp dport 5001 queue num 3; }; }\n");
  ipq::queue q =
      must_open({.gso = true, .conntrack = true, .uid_gid = true, .security_context = true, .timestamps = true});
  const udp_socket from{near_ns(), "127.0.0.1"}, to{near_ns(), "127.0.0.1", 5001};
  const std::string text(65507, 'x');  // 65535 bytes with its headers
  from.send("127.0.0.1", 5001, text);
  const ipq::owned_packet queued = take(q);
  EXPECT_EQ(queued->conntrack_info, new_connection);
  EXPECT_EQ(
      number_in<uint16_t>(attribute(attribute(queued->conntrack, cta_tuple_orig), cta_tuple_proto), cta_proto_dst_port),
      5001);
  EXPECT_EQ(queued->uid, getuid());
  EXPECT_EQ(queued->payload.size(), 65531u);
  EXPECT_EQ(queued->original_length, 65535u);
  EXPECT_TRUE(queued->truncated);
  EXPECT_EQ(to.receive(), text);
}

// Translated addresses are the connection's: the tuple has the one that the sender wrote, the packet the new one.
TEST_F(connection, of_a_translated_packet) {
  in(far_ns(), [] { return must_run("ip addr add 192.0.2.77/24 dev far0"); });
  nft("table ip ipq_nat { chain output { type nat hook output priority -100; ip daddr 192.0.2.2 dnat to 192.0.2.77; }; "
      "}\n");
  const udp_socket there{far_ns(), "192.0.2.77", flow::port};
  must_run("ip neigh add 192.0.2.77 lladdr 02:00:00:00:00:02 nud permanent dev near0");
  ipq::queue q = must_open({.conntrack = true});
  flow4().send("translated");
  const ipq::owned_packet queued = take(q);
  const bytes ip = attribute(attribute(queued->conntrack, cta_tuple_orig), cta_tuple_ip);
  EXPECT_EQ(address_in(ip, cta_ip_v4_dst), far_address);
  const std::vector<std::byte> destination(queued->payload.begin() + 16, queued->payload.begin() + 20);
  EXPECT_EQ(destination, (std::vector{std::byte{192}, std::byte{0}, std::byte{2}, std::byte{77}}));
  EXPECT_EQ(there.receive(), "translated");
}

}  // namespace
}  // namespace stock_kernels
