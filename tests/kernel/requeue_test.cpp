// SPDX-License-Identifier: MIT
// Where a packet goes on after its verdict: behind the hook, through it again, to the queue again; and marks.
#include <gtest/gtest.h>

#include "flow.hpp"
#include "packet_bytes.hpp"
#include "process.hpp"

namespace kernel_tests {
namespace {

using requeue = flow_test;
using set_vwmark = flow_test;

void set_mark(const ipq_handle* h, ipq_id_t id, unsigned int value, ipq_id_t mark) {
  ASSERT_GT(ipq_set_vwmark(h, id, value, mark, 0, nullptr), 0) << last_error(h);
}

TEST_F(requeue, accept_skips_the_rest_of_the_table) {
  flow4().rule().rule("-A OUTPUT", "DROP");
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send("behind the rule");
  set_verdict(h, read_packet(h).id(), NF_ACCEPT);
  EXPECT_EQ(flow4().arrived(), "behind the rule");
}

TEST_F(requeue, accept_goes_on_behind_the_hook_and_stop_ends_it) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol);
    packets.rule("-t mangle -A OUTPUT").rule("-t filter -A OUTPUT", "DROP");
    handle h{protocol, IPQ_COPY_PACKET};
    packets.send("meets the filter table");
    set_verdict(h, read_packet(h).id(), NF_ACCEPT);
    EXPECT_TRUE(packets.nothing_arrived());
    packets.send("passes it by");
    set_verdict(h, read_packet(h).id(), NF_STOP);
    EXPECT_EQ(packets.arrived(), "passes it by");
    EXPECT_TRUE(nothing_to_read(h));
  }
}

TEST_F(requeue, queue_gives_the_packet_a_new_id_in_the_same_queue) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    packets.send("around");
    message m = read_packet(h);
    for (int round = 0; round < 3; ++round) {
      set_verdict(h, m.id(), NF_QUEUE);
      const message again = read_packet(h);
      EXPECT_NE(again.id(), m.id());
      EXPECT_EQ(again.payload(), m.payload());
      set_verdict(h, m.id());
      EXPECT_EQ(read_error(h).error(), ENOENT) << "the old id is gone";
      m = again;
    }
    set_verdict(h, m.id());
    EXPECT_EQ(packets.arrived(), "around");
    EXPECT_TRUE(packets.nothing_arrived());
  }
}

TEST_F(requeue, queue_means_the_queue_of_the_handle) {
  flow4().rule("-A OUTPUT", "NFQUEUE --queue-num 5");
  handle h{ipv4};
  ASSERT_EQ(ipq_set_queue(h, 5), 0);
  ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_PACKET, 0), sent_mode);
  flow4().send("to five and five again");
  const message first = read_packet(h);
  set_verdict(h, first.id(), NF_QUEUE);
  const message second = read_packet(h);
  EXPECT_NE(second.id(), first.id());
  set_verdict(h, second.id());
  EXPECT_EQ(flow4().arrived(), "to five and five again");
}

TEST_F(requeue, queue_keeps_the_order) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send("one");
  flow4().send("two");
  set_verdict(h, read_packet(h).id(), NF_QUEUE);
  EXPECT_EQ(udp_payload(read_packet(h).payload()), "two");
  EXPECT_EQ(udp_payload(read_packet(h).payload()), "one");
}

TEST_F(requeue, repeat_runs_the_hook_again) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    packets.send("twice");
    const message first = read_packet(h);
    set_verdict(h, first.id(), NF_REPEAT);
    const message second = read_packet(h);
    EXPECT_NE(second.id(), first.id());
    EXPECT_EQ(second.payload(), first.payload());
    set_verdict(h, second.id());
    EXPECT_EQ(packets.arrived(), "twice");
  }
}

TEST_F(requeue, repeat_with_a_mark_passes_a_rule_that_looks_at_marks) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule("-A OUTPUT -m mark ! --mark 17");
    handle h{protocol, IPQ_COPY_PACKET};
    packets.send("marked");
    set_mark(h, read_packet(h).id(), NF_REPEAT, 17);
    EXPECT_EQ(packets.arrived(), "marked");
    EXPECT_TRUE(nothing_to_read(h));
  }
}

// One packet through every hook that it meets on lo: each verdict queues it again while the verdict is being sent.
TEST_F(requeue, packet_of_loopback_visits_four_hooks) {
  for (const char* chain : {"OUTPUT", "POSTROUTING", "PREROUTING", "INPUT"})
    iptables("-t mangle -A " + std::string{chain} + " -p udp -j QUEUE");
  handle h{ipv4, IPQ_COPY_PACKET};
  udp_socket socket{near_ns(), "127.0.0.1"};
  for (int round = 0; round < 3; ++round) {
    socket.send("127.0.0.1", socket.port(), "around");
    for (unsigned int hook : {3u, 4u, 0u, 1u}) {
      const message m = read_packet(h);
      EXPECT_EQ(m.packet().hook, hook);
      set_verdict(h, m.id());
    }
    EXPECT_EQ(socket.receive(), "around");
  }
}

TEST_F(set_vwmark, mark_is_seen_by_later_hooks) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol);
    packets.rule("-A OUTPUT").rule("-t mangle -A POSTROUTING");
    handle h{protocol, IPQ_COPY_PACKET};
    for (ipq_id_t mark : {1ul, 0x01020304ul, 0xfffffffful}) {
      packets.send("marked");
      const message before = read_packet(h);
      EXPECT_EQ(before.packet().mark, 0u);
      EXPECT_EQ(errno_after([&] { set_mark(h, before.id(), NF_ACCEPT, mark); }), untouched_errno);
      const message behind = read_packet(h);
      EXPECT_EQ(behind.packet().hook, 4u);
      EXPECT_EQ(behind.packet().mark, mark);
      set_verdict(h, behind.id());
      EXPECT_EQ(packets.arrived(), "marked");
    }
  }
}

TEST_F(set_vwmark, mark_0_removes_a_mark) {
  flow4().rule("-t mangle -A OUTPUT", "MARK --set-mark 0x55").rule("-A OUTPUT").rule("-t mangle -A POSTROUTING");
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send("marked by a rule");
  const message marked = read_packet(h);
  EXPECT_EQ(marked.packet().mark, 0x55u);
  set_mark(h, marked.id(), NF_ACCEPT, 0);
  EXPECT_EQ(read_packet(h).packet().mark, 0u);
}

TEST_F(set_vwmark, verdict_without_a_mark_keeps_the_mark) {
  flow4().rule("-t mangle -A OUTPUT", "MARK --set-mark 0x55").rule("-A OUTPUT").rule("-t mangle -A POSTROUTING");
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send("marked by a rule");
  set_verdict(h, read_packet(h).id());
  EXPECT_EQ(read_packet(h).packet().mark, 0x55u);
}

TEST_F(set_vwmark, replaces_the_packet_as_well) {
  flow4().rule("-A OUTPUT").rule("-t mangle -A POSTROUTING");
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send("old");
  const message m = read_packet(h);
  bytes replacement = with_udp_payload(m.payload(), "new and longer");
  ASSERT_GT(ipq_set_vwmark(h, m.id(), NF_ACCEPT, 3, replacement.size(), replacement.data()), 0);
  const message behind = read_packet(h);
  EXPECT_EQ(behind.packet().mark, 3u);
  set_verdict(h, behind.id());
  EXPECT_EQ(flow4().arrived(), "new and longer");
}

TEST_F(set_vwmark, is_refused_as_a_verdict_is) {
  handle h{ipv4, IPQ_COPY_PACKET};
  set_mark(h, 777, NF_ACCEPT, 1);
  EXPECT_EQ(read_error(h).error(), ENOENT);
  set_mark(h, 777, 6, 1);
  EXPECT_EQ(read_error(h).error(), EINVAL);
  EXPECT_TRUE(nothing_to_read(h));
}

TEST_F(set_vwmark, stolen_is_gone_without_an_error) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send("stolen");
  set_mark(h, read_packet(h).id(), NF_STOLEN, 1);
  EXPECT_TRUE(nothing_to_read(h));
  EXPECT_TRUE(flow4().nothing_arrived());
}

}  // namespace
}  // namespace kernel_tests
