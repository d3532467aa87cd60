// SPDX-License-Identifier: MIT
// The queue statement of nftables, and iptables-nft's QUEUE that becomes one, as the source of packets.
#include <gtest/gtest.h>
#include <net/if.h>

#include <vector>

#include "kernel/packet_bytes.hpp"
#include "stock_test.hpp"

namespace stock_kernels {
namespace {

using namespace kernel_tests;
using ipq::verdict;

// "table FAMILY ipq { chain CHAIN { type filter hook HOOK priority PRIORITY; STATEMENTS } }"
std::string chain(std::string_view family, std::string_view hook, int priority, std::string_view statements) {
  return "table " + std::string{family} + " ipq { chain " + std::string{hook} + std::to_string(priority + 1000) +
         " { type filter hook " + std::string{hook} + " priority " + std::to_string(priority) + "; " +
         std::string{statements} + "; }; }\n";
}

// Real traffic, and what both fixtures below have in common.
class queued_flow : public flow_test {
 protected:
  // Through the C library: one packet accepted, one dropped, one edited.
  void expect_the_c_library_works(uint32_t protocol) const {
    const flow& packets = flow_of(protocol);
    handle h{protocol, IPQ_COPY_PACKET};
    packets.send("accepted");
    message m = read_packet(h);
    EXPECT_EQ(m.packet().hook, 3u);
    EXPECT_STREQ(m.packet().outdev_name, "near0");
    EXPECT_EQ(udp_payload(m.payload()), "accepted");
    set_verdict(h, m.id());
    EXPECT_EQ(packets.arrived(), "accepted");
    packets.send("dropped");
    set_verdict(h, read_packet(h).id(), NF_DROP);
    EXPECT_TRUE(packets.nothing_arrived());
    packets.send("edited");
    m = read_packet(h);
    set_verdict(h, m.id(), NF_ACCEPT, with_udp_payload(m.payload(), "and longer"));
    EXPECT_EQ(packets.arrived(), "and longer");
    EXPECT_TRUE(nothing_to_read(h));
  }
};

class nft_statement : public queued_flow {
 protected:
  void SetUp() override {
    queued_flow::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (!takes(chain("inet", "output", 0, "queue num 3"))) GTEST_SKIP() << "this kernel has no queue statement for nft";
  }
};

TEST_F(nft_statement, feeds_the_c_library) {
  for (const auto& [family, protocols] :
       {std::pair{"ip", std::vector{ipv4}}, {"ip6", {ipv6}}, {"inet", {ipv4, ipv6}}}) {
    SCOPED_TRACE(family);
    nft(chain(family, "output", 0, "udp dport 5000 queue num 0"));
    for (const auto protocol : protocols) expect_the_c_library_works(protocol);
    nft("delete table " + std::string{family} + " ipq");
  }
}

TEST_F(nft_statement, feeds_both_families_handles_from_one_queue) {
  nft(chain("inet", "output", 0, "udp dport 5000 queue num 0"));
  handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_PACKET};
  flow6().send("six");
  flow4().send("four");
  const message m4 = read_packet(four), m6 = read_packet(six);
  EXPECT_EQ(udp_payload(m4.payload()), "four");
  EXPECT_EQ(udp_payload(m6.payload()), "six");
  set_verdict(four, m4.id());
  set_verdict(six, m6.id());
  EXPECT_EQ(flow4().arrived(), "four");
  EXPECT_EQ(flow6().arrived(), "six");
}

TEST_F(nft_statement, feeds_the_cpp_library_at_every_hook) {
  nft(chain("inet", "output", 0, "udp dport 5000 queue num 3"));
  nft(chain("inet", "postrouting", 0, "udp dport 5000 queue num 3"));
  nft(chain("inet", "prerouting", 0, "udp dport 5000 queue num 3"));
  nft(chain("inet", "input", 0, "udp dport 5000 queue num 3"));
  ipq::queue q = must_open();
  const uint32_t near0 = if_nametoindex("near0");
  for (const auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol);
    packets.send("out");
    for (const int hook : {3, 4}) {
      const ipq::owned_packet queued = take(q);
      EXPECT_EQ(queued->hook, hook);
      EXPECT_EQ(queued->family, protocol);
      EXPECT_EQ(queued->queue, number);
      EXPECT_EQ(queued->outdev, near0);
      EXPECT_EQ(queued->indev, 0u);
      EXPECT_TRUE(ends_with(queued.get(), "out"));
    }
    EXPECT_EQ(packets.arrived(), "out");
    packets.send_back("in");
    for (const int hook : {0, 1}) {
      const ipq::owned_packet queued = take(q);
      EXPECT_EQ(queued->hook, hook);
      EXPECT_EQ(queued->indev, near0);
      EXPECT_EQ(queued->outdev, 0u);
    }
    EXPECT_EQ(packets.arrived_back(), "in");
  }
}

TEST_F(nft_statement, bypasses_a_queue_that_nobody_has_only_when_told_to) {
  nft(chain("inet", "output", 0, "udp dport 5000 queue num 9"));
  flow4().send("lost");
  flow6().send("lost");
  EXPECT_TRUE(flow4().nothing_arrived());
  EXPECT_TRUE(flow6().nothing_arrived());
  nft("delete table inet ipq");
  nft(chain("inet", "output", 0, "udp dport 5000 queue num 9 bypass"));
  flow4().send("passed by");
  flow6().send("passed by");
  EXPECT_EQ(flow4().arrived(), "passed by");
  EXPECT_EQ(flow6().arrived(), "passed by");
}

TEST_F(nft_statement, spreads_over_the_queues_that_an_expression_names) {
  nft(chain("ip", "output", 0, "udp dport 5000 queue flags bypass to numgen inc mod 4"));
  std::vector<ipq::queue> queues;
  for (const int each : {1, 2, 3}) queues.push_back(must(ipq::queue::open({.number = static_cast<uint16_t>(each)})));
  handle zero{ipv4, IPQ_COPY_PACKET};
  constexpr int rounds = 3;
  for (int i = 0; i < 4 * rounds; ++i) flow4().send("one of many");
  for (ipq::queue& each : queues) {
    int received = 0;
    while (auto got = each.try_receive()) {
      for (const ipq::packet& queued : *got) must(each.set_verdict(queued, verdict::accept()));
      received += static_cast<int>(got->size());
    }
    EXPECT_EQ(received, rounds);
  }
  for (int i = 0; i < rounds; ++i) set_verdict(zero, read_packet(zero).id());
  for (int i = 0; i < 4 * rounds; ++i) EXPECT_EQ(flow4().arrived(), "one of many");
  EXPECT_TRUE(flow4().nothing_arrived());
}

TEST_F(nft_statement, is_met_again_after_repeat_unless_the_mark_says_otherwise) {
  nft(chain("ip", "output", 0, "udp dport 5000 mark != 7 queue num 3"));
  ipq::queue q = must_open();
  flow4().send("around");
  const ipq::owned_packet first = take(q, verdict::repeat());
  const ipq::owned_packet second = take(q, verdict::repeat().with_mark(7));
  EXPECT_NE(second->id, first->id);
  EXPECT_EQ(flow4().arrived(), "around");
  EXPECT_TRUE(nothing_to_read(q));
}

TEST_F(nft_statement, accept_meets_later_chains_and_stop_does_not) {
  nft(chain("ip", "output", 0, "udp dport 5000 queue num 3"));
  nft(chain("ip", "output", 10, "udp dport 5000 drop"));
  ipq::queue q = must_open();
  flow4().send("accepted");
  take(q, verdict::accept());
  EXPECT_TRUE(flow4().nothing_arrived());
  flow4().send("stopped");
  take(q, verdict::stop());
  EXPECT_EQ(flow4().arrived(), "stopped");
}

// What comes behind a queue statement in its chain is never reached: the statement ends the chain, as with iptables.
TEST_F(nft_statement, accept_skips_the_rest_of_its_chain) {
  nft(chain("ip", "output", 0, "udp dport 5000 queue num 3; udp dport 5000 drop"));
  ipq::queue q = must_open();
  flow4().send("behind the rule");
  take(q);
  EXPECT_EQ(flow4().arrived(), "behind the rule");
}

TEST_F(nft_statement, verdict_queue_sends_on_to_another_queue) {
  nft(chain("ip", "output", 0, "udp dport 5000 queue num 3"));
  ipq::queue q = must_open(), other = must_open({.number = 4});
  flow4().send("on");
  take(q, verdict::queue(4));
  const ipq::owned_packet queued = take(other);
  EXPECT_EQ(queued->queue, 4);
  EXPECT_EQ(flow4().arrived(), "on");
  flow4().send("bypassed");
  take(q, verdict::queue(9, true));
  EXPECT_EQ(flow4().arrived(), "bypassed");
}

TEST_F(nft_statement, deleted_table_takes_its_packets_with_it) {
  nft(chain("ip", "output", 0, "udp dport 5000 queue num 3"));
  ipq::queue q = must_open();
  for (int i = 0; i < 3; ++i) flow4().send("waits");
  const ipq::batch waiting = must(q.receive());
  ASSERT_EQ(waiting.size(), 3u);
  nft("delete table ip ipq");
  // Three verdicts that differ, so that each is told of its own packet.
  for (uint32_t i = 0; i < 3; ++i) must(q.set_verdict(waiting[i], verdict::accept().with_mark(i)));
  const ipq::batch told = must(q.receive(ipq::queue::clock::now() + patience));
  EXPECT_TRUE(told.empty());
  ASSERT_EQ(told.events().size(), 3u);
  for (const ipq::event& each : told.events()) EXPECT_EQ(each.what, ipq::event::kind::gone);
  EXPECT_EQ(q.stats().gone, 3u);
  EXPECT_TRUE(flow4().nothing_arrived());
  // The queue lives on, and the next table feeds it.
  nft(chain("ip", "output", 0, "udp dport 5000 queue num 3"));
  flow4().send("next");
  take(q);
  EXPECT_EQ(flow4().arrived(), "next");
}

class iptables_nft : public queued_flow {
 protected:
  static std::string command(uint32_t protocol) { return protocol == ipv4 ? "iptables-nft" : "ip6tables-nft"; }
};

// iptables 1.8.9 asks the kernel for a target named QUEUE, which no kernel has. One that asks for the statement works.
TEST_F(iptables_nft, target_queue_feeds_queue_0_or_is_refused) {
  for (const auto protocol : {ipv4, ipv6}) {
    const outcome added = run(split(command(protocol) + " -A OUTPUT -p udp --dport 5000 -j QUEUE"));
    if (added.status == 0) {
      expect_the_c_library_works(protocol);
    } else {
      EXPECT_NE(added.output.find("RULE_APPEND failed (No such file or directory)"), std::string::npos) << added.output;
    }
  }
}

TEST_F(iptables_nft, target_nfqueue_feeds_queue_0) {
  for (const auto protocol : {ipv4, ipv6}) {
    must_run(command(protocol) + " -A OUTPUT -p udp --dport 5000 -j NFQUEUE --queue-num 0");
    expect_the_c_library_works(protocol);
  }
}

TEST_F(iptables_nft, target_nfqueue_with_number_and_bypass) {
  for (const auto protocol : {ipv4, ipv6}) {
    must_run(command(protocol) + " -A OUTPUT -p udp --dport 5000 -j NFQUEUE --queue-num 3 --queue-bypass");
    flow_of(protocol).send("nobody");
    EXPECT_EQ(flow_of(protocol).arrived(), "nobody");
    ipq::queue q = must_open();
    flow_of(protocol).send("queued");
    const ipq::owned_packet queued = take(q);
    EXPECT_EQ(queued->family, protocol);
    EXPECT_EQ(flow_of(protocol).arrived(), "queued");
  }
}

}  // namespace
}  // namespace stock_kernels
