// SPDX-License-Identifier: MIT
#include "firewall/translation.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <random>

#include "firewall/selector.hpp"

namespace tool::firewall {
namespace {

std::string lines(const std::vector<std::vector<std::string>>& rules) {
  std::string text;
  for (const auto& rule : rules) text += fmt::format("{}{}", text.empty() ? "" : " || ", fmt::join(rule, " "));
  return rules.empty() ? "(none)" : text;
}

std::string ipv4(std::string_view match) {
  const auto made = translate_match(match);
  return made ? lines(made->ipv4) : made.error().message;
}

std::string ipv6(std::string_view match) {
  const auto made = translate_match(match);
  return made ? lines(made->ipv6) : made.error().message;
}

TEST(translation, of_nothing_is_a_rule_for_every_packet) {
  EXPECT_EQ(ipv4(""), "");
  EXPECT_EQ(ipv6(" \t"), "");
}

TEST(translation, of_ports) {
  EXPECT_EQ(ipv4("udp dport 53"), "-p udp --dport 53");
  EXPECT_EQ(ipv6("udp dport 53"), "-p udp --dport 53");
  EXPECT_EQ(ipv4("tcp sport != 1000-2000"), "-p tcp ! --sport 1000:2000");
  EXPECT_EQ(ipv4("tcp dport { 80, 443, 8000-8080 }"), "-p tcp -m multiport --dports 80,443,8000:8080");
  EXPECT_EQ(ipv4("tcp dport != {80,443}"), "-p tcp -m multiport ! --dports 80,443");
  EXPECT_EQ(ipv4("tcp dport ftp-data"), "-p tcp --dport ftp-data");
  EXPECT_EQ(ipv4("tcp dport {1,2,3,4,5,6,7,8,9,10,11,12,13,14-15,16}"),
            "-p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14:15 || -p tcp -m multiport --dports 16");
  EXPECT_EQ(ipv4("meta l4proto { tcp, udp } th dport 53"),
            "-p tcp -m multiport --dports 53 || -p udp -m multiport --dports 53");
}

TEST(translation, of_addresses) {
  EXPECT_EQ(ipv4("ip saddr 192.0.2.0/24"), "-s 192.0.2.0/24");
  EXPECT_EQ(ipv6("ip saddr 192.0.2.0/24"), "(none)");
  EXPECT_EQ(ipv6("ip6 daddr != 2001:db8::/32"), "! -d 2001:db8::/32");
  EXPECT_EQ(ipv4("ip6 daddr 2001:db8::1"), "(none)");
  EXPECT_EQ(ipv4("ip daddr { 192.0.2.1, 192.0.2.7-192.0.2.9 } udp dport 53"),
            "-p udp -d 192.0.2.1 --dport 53 || -p udp -m iprange --dst-range 192.0.2.7-192.0.2.9 --dport 53");
  EXPECT_EQ(ipv6("ip6 saddr ::1"), "-s ::1");
}

TEST(translation, of_protocols_and_families) {
  EXPECT_EQ(ipv4("ip protocol icmp"), "-p icmp");
  EXPECT_EQ(ipv6("ip6 nexthdr tcp"), "-p tcp");
  EXPECT_EQ(ipv6("meta l4proto 47"), "-p 47");
  EXPECT_EQ(ipv6("meta nfproto ipv4"), "(none)");
  EXPECT_EQ(ipv4("meta protocol ip6"), "(none)");
}

TEST(translation, of_icmp) {
  EXPECT_EQ(ipv4("icmp type echo-request"), "-p icmp --icmp-type 8");
  EXPECT_EQ(ipv6("icmp type echo-request"), "(none)");
  EXPECT_EQ(ipv6("icmpv6 type { echo-request, nd-neighbor-solicit, 200 }"),
            "-p icmpv6 --icmpv6-type 128 || -p icmpv6 --icmpv6-type 135 || -p icmpv6 --icmpv6-type 200");
}

TEST(translation, of_metadata) {
  EXPECT_EQ(ipv4("iifname \"eth*\" oifname != lo"), "-i eth+ ! -o lo");
  EXPECT_EQ(ipv4("meta iif { eth0, eth1 }"), "-i eth0 || -i eth1");
  EXPECT_EQ(ipv4("meta mark 0x1"), "-m mark --mark 0x1");
  EXPECT_EQ(ipv4("mark & 0xff != 0x1"), "-m mark ! --mark 0x1/0xff");
  EXPECT_EQ(ipv4("meta mark and 0xf0 == 0x10"), "-m mark --mark 0x10/0xf0");
  EXPECT_EQ(ipv4("meta skuid 1000"), "-m owner --uid-owner 1000");
  EXPECT_EQ(ipv4("skgid != root"), "-m owner ! --gid-owner root");
  EXPECT_EQ(ipv4("meta length 100-200"), "-m length --length 100:200");
}

TEST(translation, of_connections_and_flags) {
  EXPECT_EQ(ipv4("ct state new,established"), "-m conntrack --ctstate NEW,ESTABLISHED");
  EXPECT_EQ(ipv4("ct state != { invalid }"), "-m conntrack ! --ctstate INVALID");
  EXPECT_EQ(ipv4("ct mark 7"), "-m connmark --mark 7");
  EXPECT_EQ(ipv4("tcp flags syn"), "-p tcp --tcp-flags SYN SYN");
  EXPECT_EQ(ipv4("tcp flags & (syn|ack) == syn"), "-p tcp --tcp-flags SYN,ACK SYN");
  EXPECT_EQ(ipv4("tcp flags & (fin | syn) == 0"), "-p tcp --tcp-flags FIN,SYN NONE");
  EXPECT_EQ(ipv4("tcp flags syn / syn,ack tcp dport 80"), "-p tcp --tcp-flags SYN,ACK SYN --dport 80");
  EXPECT_EQ(ipv4("tcp flags == syn / syn,ack"), "-p tcp --tcp-flags SYN,ACK SYN");
  EXPECT_EQ(ipv4("tcp flags != syn / syn,ack"), "-p tcp ! --tcp-flags SYN,ACK SYN");
  EXPECT_EQ(ipv4("tcp flags & (fin|syn|rst|psh|ack|urg) != syn"), "-p tcp ! --tcp-flags FIN,SYN,RST,PSH,ACK,URG SYN");
}

TEST(translation, counts_are_always_there) {
  EXPECT_EQ(ipv4("udp dport 53 counter"), "-p udp --dport 53");
}

TEST(translation, names_the_part_that_iptables_does_not_know) {
  constexpr auto rest = " can't be put into iptables' words";
  const auto why = [&](std::string_view match) {
    const auto text = ipv4(match);
    return text.ends_with(rest) ? text.substr(0, text.size() - std::string_view(rest).size()) : "translated: " + text;
  };
  EXPECT_EQ(why("fib daddr type local"), "\"fib\"");
  EXPECT_EQ(why("udp dport 53 tcp option maxseg size 1"), "parts that exclude each other");
  EXPECT_EQ(why("tcp option maxseg size 1"), "\"tcp option\"");
  EXPECT_EQ(why("ip ttl 3"), "\"ip ttl\"");
  EXPECT_EQ(why("ct helper \"ftp\""), "\"ct helper\"");
  EXPECT_EQ(why("icmp code 3"), "\"icmp code\"");
  EXPECT_EQ(why("icmp type nonsense"), "the value nonsense");
  EXPECT_EQ(why("ip saddr @set"), "the value @set");
  EXPECT_EQ(why("ip saddr -j"), "the value -j");
  EXPECT_EQ(why("ip saddr example.org"), "the value example.org");
  EXPECT_EQ(why("ip daddr != { 192.0.2.1, 192.0.2.2 }"), "!= of a set");
  EXPECT_EQ(why("udp dport < 1024"), "the value <");
  EXPECT_EQ(why("udp dport"), "a match that ends too early");
  EXPECT_EQ(why("meta"), "a match that ends too early");
  EXPECT_EQ(why("ip saddr 192.0.2.1 ip6 daddr ::1"), "parts that exclude each other");
  EXPECT_EQ(why("tcp dport 1 udp dport 1"), "parts that exclude each other");
  EXPECT_EQ(why("th dport 1"), "\"th\" before a protocol is named");
  EXPECT_EQ(why("tcp flags syn,ack"), "\"tcp flags\" that are one of several");
  EXPECT_EQ(why("ct state == new,established"), "== and != of a list without braces");
  EXPECT_EQ(why("ct state != new,established"), "== and != of a list without braces");
  EXPECT_EQ(why("tcp flags 0"), "\"tcp flags\" of which none is named");
  // nft compares ECE and CWR, too: a SYN that asks for ECN is another one.
  for (const auto* each : {"==", "!="}) {
    EXPECT_EQ(
        why(std::string("tcp flags ") + each + " syn"),
        std::string("\"tcp flags ") + each + "\" without a mask (say 'tcp flags & (fin|syn|rst|psh|ack|urg) == syn')");
  }
  EXPECT_EQ(why("iifname \"e*h\""), "the value e*h");
  EXPECT_EQ(why("iifname \"sixteen_letters_\""), "the value sixteen_letters_");
  EXPECT_EQ(why("meta mark 0x"), "the value 0x");
  EXPECT_EQ(why("udp dport { 1, 2"), "a match that ends too early");
  EXPECT_EQ(translate_match("fib daddr type local").error().code, kernel_lacks);
}

TEST(translation, sets_are_bounded) {
  std::string set = "{ 192.0.2.1";
  for (int i = 0; i < 20; ++i) set += ", 192.0.2.1";
  set += " }";
  EXPECT_EQ(translate_match("ip saddr " + set)->ipv4.size(), 21u);
  EXPECT_EQ(ipv4("ip saddr " + set + " ip daddr " + set),
            "sets that make more than 256 rules can't be put into iptables' words");
}

// Whatever the words are: no option of iptables comes from a value.
TEST(translation, random_words_hurt_nobody) {
  const std::vector<std::string> pieces{
      "ip",   "ip6",  "saddr", "dport", "tcp", "udp",   "{",  "}",  ",",     "!=",  "==", "&",  "(",    ")",     "|",
      "meta", "mark", "0x1",   "53",    "1-2", "\"a\"", "-j", "ct", "state", "new", "/",  "th", "icmp", "flags", "syn"};
  std::mt19937 random(1);
  int translated = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string match;
    for (auto n = random() % 7; n > 0; --n) match += pieces[random() % pieces.size()] + " ";
    if (const auto made = translate_match(match)) {
      ++translated;
      EXPECT_EQ(lines(made->ipv4).find(" -j"), std::string::npos) << match;
    }
  }
  EXPECT_GT(translated, 100);
}

// The kernel, or iptables, would refuse the rule without a reason.
TEST(translation, of_what_is_not_known_at_a_hook) {
  using enum ipq::hook;
  const auto said_at = [](ipq::hook at, const char* match) {
    const auto made = translate_selector({at, match});
    return made ? std::string("taken")
                : fmt::format("{} {}", static_cast<int>(made.error().code), made.error().message);
  };
  for (const char* each : {"meta skuid 0", "meta skgid != 5", "udp dport 5 skuid 0"}) {
    for (const auto at : {prerouting, input, forward}) {
      EXPECT_EQ(said_at(at, each),
                "2 who sent a packet is known of this machine's own ones alone: select output or postrouting");
    }
    for (const auto at : {output, postrouting}) EXPECT_EQ(said_at(at, each), "taken");
  }
  for (const auto at : {prerouting, input}) {
    EXPECT_EQ(said_at(at, "oifname eth0"),
              "2 by which interface a packet leaves is not known yet there: test iifname, or select forward, output or "
              "postrouting");
    EXPECT_EQ(said_at(at, "iifname eth0"), "taken");
  }
  EXPECT_EQ(said_at(output, "iifname lo"), "2 a packet of this machine's own came in by no interface: test oifname");
  EXPECT_EQ(said_at(postrouting, "iifname lo"), "5 iifname at postrouting can't be put into iptables' words");
  EXPECT_EQ(said_at(forward, "iifname eth0 oifname eth1"), "taken");
  EXPECT_EQ(said_at(input, "meta cpu 1"), "5 \"cpu\" can't be put into iptables' words");
}

TEST(selector, knows_the_interfaces_that_it_names) {
  const auto names = [](const char* match) { return selector{.match = match}.interfaces(); };
  using list = std::vector<std::string>;
  EXPECT_EQ(names("meta iifname \"eth0\" udp dport 53 oifname != eth1"), (list{"eth0", "eth1"}));
  EXPECT_EQ(names("oifname { \"a\", b, \"ppp*\" } mark != 1 iifname == c"), (list{"a", "b", "c"}));
  EXPECT_EQ(names("iifname wlan* iif 1 tcp flags { syn, ack }"), list());
  EXPECT_EQ(names("oifname"), list());
  EXPECT_EQ(names("iifname \"no end"), list());
}

TEST(selector, takes_hooks_and_matches) {
  const auto made = parse_selector("output", "udp dport { 53, 5353 } ip daddr 192.0.2.1");
  ASSERT_TRUE(made);
  EXPECT_EQ(made->at, ipq::hook::output);
  EXPECT_EQ(made->text(), "--select output 'udp dport { 53, 5353 } ip daddr 192.0.2.1'");
  EXPECT_TRUE(parse_selector("POSTROUTING", ""));
  EXPECT_TRUE(parse_selector("input", "iifname \"eth0\" tcp flags & (syn|ack) == syn"));
  // Words that are values here, and statements elsewhere.
  EXPECT_TRUE(parse_selector("input", "icmp type redirect"));
  EXPECT_TRUE(parse_selector("input", "ct status dnat"));
  EXPECT_TRUE(parse_selector("input", "ct status != snat,dnat"));
}

TEST(selector, refuses_what_is_more_than_a_match) {
  const auto why = [](std::string_view hook, std::string_view match) {
    const auto made = parse_selector(hook, match);
    if (made) return std::string("taken");
    EXPECT_EQ(made.error().code, wrong_usage);
    return made.error().message;
  };
  EXPECT_EQ(why("ingress", ""),
            "--select ingress: no such hook; there are prerouting, input, forward, output, postrouting");
  EXPECT_EQ(
      why("output", "udp dport 53 accept"),
      "--select output: 'udp dport 53 accept': \"accept\" is no match; what becomes of the packets is not said here");
  EXPECT_NE(why("output", "icmp type redirect redirect").find("\"redirect\" is no match"), std::string::npos);
  EXPECT_NE(why("output", "meta mark set 1").find("\"set\" is no match"), std::string::npos);
  EXPECT_EQ(why("output", "udp dport 53\n} table x {"),
            "--select output: the match has a control character or more than one line");
  EXPECT_EQ(why("output", "udp dport 53; accept"), "--select output: 'udp dport 53; accept': a match can't have \";\"");
  EXPECT_EQ(why("output", "udp dport 53 # x"), "--select output: 'udp dport 53 # x': a match can't have \"#\"");
  EXPECT_EQ(why("output", "udp dport $x"), "--select output: 'udp dport $x': a match can't have \"$\"");
  EXPECT_EQ(why("output", "} {"), "--select output: '} {': unpaired \"}\"");
  EXPECT_EQ(why("output", "udp dport { 53"), "--select output: 'udp dport { 53': a brace is not closed");
  EXPECT_EQ(why("output", "iifname \"eth0"), "--select output: 'iifname \"eth0': a string without its end");
  EXPECT_EQ(why("output", std::string(5000, 'a')), "--select output: the match has more than 4096 characters");
}

}  // namespace
}  // namespace tool::firewall
