// SPDX-License-Identifier: MIT
#include "ipq/rule.hpp"

#include <gtest/gtest.h>

#include "ipq/packet.hpp"

namespace ipq {
namespace {

TEST(feeding_rule, for_one_queue) {
  EXPECT_EQ(nft_statement({}), "queue num 0");
  EXPECT_EQ(iptables_target({}), "-j NFQUEUE --queue-num 0");
  EXPECT_EQ(nft_statement({.first_queue = 65535, .last_queue = 65535}), "queue num 65535");
  EXPECT_EQ(iptables_target({.first_queue = 65535, .last_queue = 65535}), "-j NFQUEUE --queue-num 65535");
}

TEST(feeding_rule, for_a_range) {
  const feeding_rule rule{.first_queue = 4, .last_queue = 7};
  EXPECT_EQ(nft_statement(rule), "queue num 4-7");
  EXPECT_EQ(iptables_target(rule), "-j NFQUEUE --queue-balance 4:7");
}

TEST(feeding_rule, range_that_ends_before_it_begins_is_its_first_queue) {
  const feeding_rule rule{.first_queue = 4, .last_queue = 0, .cpu_fanout = true};
  EXPECT_EQ(nft_statement(rule), "queue num 4");
  EXPECT_EQ(iptables_target(rule), "-j NFQUEUE --queue-num 4");
}

TEST(feeding_rule, flags) {
  EXPECT_EQ(nft_statement({.bypass = true}), "queue num 0 bypass");
  EXPECT_EQ(iptables_target({.bypass = true}), "-j NFQUEUE --queue-num 0 --queue-bypass");
  EXPECT_EQ(nft_statement({.last_queue = 1, .cpu_fanout = true}), "queue num 0-1 fanout");
  EXPECT_EQ(iptables_target({.last_queue = 1, .cpu_fanout = true}),
            "-j NFQUEUE --queue-balance 0:1 --queue-cpu-fanout");
  const feeding_rule both{.last_queue = 1, .bypass = true, .cpu_fanout = true};
  EXPECT_EQ(nft_statement(both), "queue num 0-1 bypass,fanout");
  EXPECT_EQ(iptables_target(both), "-j NFQUEUE --queue-balance 0:1 --queue-bypass --queue-cpu-fanout");
}

TEST(feeding_rule, whole) {
  EXPECT_EQ(nft_rule({.at = hook::input, .first_queue = 2, .last_queue = 3}, "udp dport 53"),
            "table inet ipq {\n"
            "  chain input {\n"
            "    type filter hook input priority mangle; policy accept;\n"
            "    udp dport 53 queue num 2-3\n"
            "  }\n"
            "}\n");
  EXPECT_EQ(iptables_rule({.at = hook::input, .first_queue = 2, .last_queue = 3}, "-p udp --dport 53"),
            "iptables -t mangle -A INPUT -p udp --dport 53 -j NFQUEUE --queue-balance 2:3\n"
            "ip6tables -t mangle -A INPUT -p udp --dport 53 -j NFQUEUE --queue-balance 2:3\n");
}

TEST(feeding_rule, without_a_match_of_one_family) {
  using enum feeding_rule::ip_family;
  EXPECT_EQ(nft_rule({.at = hook::postrouting, .family = ipv6}, {}, "mine"),
            "table ip6 mine {\n"
            "  chain postrouting {\n"
            "    type filter hook postrouting priority mangle; policy accept;\n"
            "    queue num 0\n"
            "  }\n"
            "}\n");
  EXPECT_TRUE(nft_rule({.family = ipv4}).starts_with("table ip ipq {\n"));
  EXPECT_EQ(iptables_rule({.at = hook::prerouting, .family = ipv4}),
            "iptables -t mangle -A PREROUTING -j NFQUEUE --queue-num 0\n");
  EXPECT_EQ(iptables_rule({.at = hook::forward, .family = ipv6}),
            "ip6tables -t mangle -A FORWARD -j NFQUEUE --queue-num 0\n");
}

TEST(hook, names) {
  for (std::uint8_t number = 0; number < 5; ++number) {
    const auto which = static_cast<hook>(number);
    EXPECT_EQ(parse_hook(to_string(which)), which);
  }
  EXPECT_EQ(to_string(hook::forward), "forward");
  EXPECT_EQ(iptables_chain(hook::forward), "FORWARD");
  EXPECT_EQ(parse_hook("PREROUTING"), hook::prerouting);
  for (const auto* wrong : {"", "Input", "ingress", "input ", "OUT"})
    EXPECT_EQ(parse_hook(wrong), std::nullopt) << wrong;
}

}  // namespace
}  // namespace ipq
