// SPDX-License-Identifier: MIT
#include "firewall/feeds.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

namespace tool::firewall {
namespace {

std::string text(const std::vector<feed>& feeds) {
  std::string made;
  for (const auto& each : feeds) {
    made += fmt::format("{}-{}{} {} [{}] {}\n", each.first, each.last, each.bypass ? " bypass" : "", each.by,
                        each.place, each.rule);
  }
  return made;
}

// As nft 1.0.6 prints the table of nft_rule, on a kernel with the queue statement.
constexpr auto nft_json = R"({"nftables": [
  {"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
  {"table": {"family": "inet", "name": "ipq", "handle": 2}},
  {"chain": {"family": "inet", "table": "ipq", "name": "output", "handle": 1, "type": "filter", "hook": "output"}},
  {"rule": {"family": "inet", "table": "ipq", "chain": "output", "handle": 3, "expr": [
    {"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 53}},
    {"queue": {"num": {"range": [4, 7]}, "flags": ["bypass", "fanout"]}}]}},
  {"rule": {"family": "inet", "table": "ipq", "chain": "output", "handle": 4, "expr": [
    {"queue": {"num": 9, "flags": "bypass"}}]}},
  {"rule": {"family": "inet", "table": "ipq", "chain": "output", "handle": 5, "expr": [{"queue": {"num": 65535}}]}},
  {"rule": {"family": "inet", "table": "ipq", "chain": "output", "handle": 6, "expr": [{"queue": null}]}},
  {"rule": {"family": "inet", "table": "ipq", "chain": "output", "handle": 7, "expr": [{"accept": null}]}}]})";
constexpr auto nft_listing = R"(table inet ipq { # handle 2
	chain output { # handle 1
		type filter hook output priority mangle; policy accept;
		udp dport 53 queue flags bypass,fanout to 4-7 # handle 3
		queue flags bypass to 9 # handle 4
	}
}
)";

TEST(feeds, of_nft) {
  EXPECT_EQ(text(feeds_of_nft(nft_json, nft_listing)),
            "4-7 bypass nft [inet ipq output] udp dport 53 queue flags bypass,fanout to 4-7\n"
            "9-9 bypass nft [inet ipq output] queue flags bypass to 9\n"
            "65535-65535 nft [inet ipq output] \n"
            "0-0 nft [inet ipq output] \n");
}

TEST(feeds, of_a_map_may_be_any) {
  EXPECT_EQ(text(feeds_of_nft(
                R"({"nftables": [{"rule": {"family": "ip", "table": "t", "chain": "c", "handle": 1,
                    "expr": [{"queue": {"num": {"map": {"key": 1, "data": "@m"}}}}]}}]})",
                "")),
            "0-65535 nft [ip t c] \n");
}

TEST(feeds, of_iptables) {
  const std::vector<saved_rule> rules{
      {iptables_kind::legacy, false, "filter", "-A OUTPUT -p udp -m udp --dport 53 -j NFQUEUE --queue-num 3"},
      {iptables_kind::nft, true, "mangle", "-A INPUT -j NFQUEUE --queue-balance 4:7 --queue-bypass --queue-cpu-fanout"},
      {iptables_kind::legacy, false, "filter", "-A INPUT -m comment --comment \"-j NFQUEUE\" -j ACCEPT"},
      {iptables_kind::legacy, false, "filter", "-A OUTPUT -p icmp -j QUEUE"},
      {iptables_kind::legacy, false, "filter", "-A OUTPUT"},
      {iptables_kind::legacy, false, "filter", "-A OUTPUT -j"}};
  EXPECT_EQ(text(feeds_of_iptables(rules)),
            "3-3 iptables-legacy [filter OUTPUT] -p udp -m udp --dport 53 -j NFQUEUE --queue-num 3\n"
            "4-7 bypass ip6tables-nft [mangle INPUT] -j NFQUEUE --queue-balance 4:7 --queue-bypass --queue-cpu-fanout\n"
            "0-0 iptables-legacy [filter OUTPUT] -p icmp -j QUEUE\n");
}

TEST(saved_rule, words_are_without_their_quotes) {
  using words = std::vector<std::string>;
  EXPECT_EQ(split_rule("-A OUTPUT -p udp"), (words{"-A", "OUTPUT", "-p", "udp"}));
  EXPECT_EQ(split_rule("-A O --comment \"two words\" -j X"), (words{"-A", "O", "--comment", "two words", "-j", "X"}));
  EXPECT_EQ(split_rule("--comment \"a \\\"b\\\" \\\\ c\" \"\""), (words{"--comment", "a \"b\" \\ c", ""}));
  EXPECT_EQ(split_rule(""), words{});
  EXPECT_EQ(split_rule("\"without end"), words{"without end"});
}

TEST(saved_rule, belongs_to_the_table_above_it) {
  const auto rules = read_saved_rules(iptables_kind::nft, true,
                                      "# a comment\n*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j QUEUE\n-A INPUT\n"
                                      "COMMIT\n*filter\n-A OUTPUT");
  ASSERT_EQ(rules.size(), 3u);
  EXPECT_EQ(rules[0].table + " " + rules[0].text, "mangle -A OUTPUT -j QUEUE");
  EXPECT_EQ(rules[1].table + " " + rules[1].text, "mangle -A INPUT");
  EXPECT_EQ(rules[2].table + " " + rules[2].text, "filter -A OUTPUT");
  EXPECT_EQ(rules[2].program(), "ip6tables-nft");
}

TEST(saved_rule, tag_is_a_comment_of_that_form) {
  const auto tag = [](std::string text) { return tag_of({.text = std::move(text)}); };
  EXPECT_EQ(tag("-A O -m comment --comment ipq:1:2 -j NFQUEUE"), "ipq:1:2");
  EXPECT_EQ(tag("-A O -m comment --comment \"ipq:1:2\" -j NFQUEUE"), "ipq:1:2");
  EXPECT_EQ(tag("-A O -m comment --comment \"ipq:1:2 -j\""), "");
  EXPECT_EQ(tag("-A O -m comment --comment"), "");
  EXPECT_EQ(tag("-A O -j NFQUEUE"), "");
}

TEST(feeds, that_nobody_serves) {
  const auto ranges = [](std::uint16_t first, std::uint16_t last, std::vector<std::uint16_t> served) {
    std::string made;
    for (const auto& each : unserved({.first = first, .last = last}, std::move(served))) {
      made += fmt::format("{}-{} ", each.first, each.last);
    }
    return made;
  };
  EXPECT_EQ(ranges(3, 3, {}), "3-3 ");
  EXPECT_EQ(ranges(3, 3, {3}), "");
  EXPECT_EQ(ranges(0, 65535, {0, 65535}), "1-65534 ");
  EXPECT_EQ(ranges(0, 65535, {}), "0-65535 ");
  EXPECT_EQ(ranges(4, 9, {7, 5, 1, 12}), "4-4 6-6 8-9 ");
}

TEST(feeds, of_damaged_text_hurt_nobody) {
  std::mt19937 random(1);
  const std::string whole = nft_json;
  std::size_t found = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = whole;
    damaged[random() % damaged.size()] = static_cast<char>(random());
    if (i % 3 == 0) damaged.resize(random() % damaged.size());
    found += feeds_of_nft(damaged, nft_listing).size();
  }
  EXPECT_GT(found, 1000u);
  for (const auto* odd : {"", "[]", "{}", "{\"nftables\": 1}", "{\"nftables\": [1, {\"rule\": 1}, {\"rule\": {}}]}",
                          "{\"nftables\": [{\"rule\": {\"expr\": [1, {\"queue\": {\"num\": -1, \"flags\": 7}}]}}]}"}) {
    EXPECT_LE(feeds_of_nft(odd, odd).size(), 1u) << odd;
  }
}

}  // namespace
}  // namespace tool::firewall
