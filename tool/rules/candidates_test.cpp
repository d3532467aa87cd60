// SPDX-License-Identifier: MIT
// The index against asking every rule: it may say too much, but never too little.
#include "candidates.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "compiled.hpp"
#include "random.hpp"
#include "test_packets.hpp"

namespace ipq::tool::rules {
namespace {

ruleset compile(const std::string& text) {
  auto made = ruleset::compile(source{"rules", text});
  if (!made) throw std::runtime_error(render(made.error()));
  return std::move(*made);
}

std::string number(random& from, std::uint64_t limit) {
  return std::to_string(from.below(limit));
}

std::string address(random& from) {
  return "10." + number(from, 4) + "." + number(from, 4) + "." + number(from, 8);
}

std::string address6(random& from) {
  return "2001:db8:" + number(from, 3) + "::" + number(from, 8);
}

// Filters of every shape that people write, over few values, so that many match.
std::string filter(random& from) {
  switch (from.below(22)) {
    case 0:
      return "port " + number(from, 50);
    case 1:
      return "tcp dst port " + number(from, 50);
    case 2:
      return "udp src port " + number(from, 50);
    case 3:
      return "host " + address(from);
    case 4:
      return "src host " + address6(from);
    case 5:
      return "dst net 10." + number(from, 4) + "." + number(from, 4) + ".0/24";
    case 6:
      return "src net 2001:db8:" + number(from, 3) + "::/48";
    case 7:
      return "portrange " + number(from, 20) + "-" + std::to_string(20 + from.below(20));
    case 8:
      return "icmp";
    case 9:
      return "not tcp and port " + number(from, 50);
    case 10:
      return "tcp[tcpflags] & tcp-syn != 0 and dst port " + number(from, 50);
    case 11:
      return "ip[8] > " + number(from, 255) + " and udp";
    case 12:
      return "(host " + address(from) + " or port " + number(from, 50) + ") and not icmp";
    case 13:
      return "udp[8:2] = " + number(from, 65536);
    case 14:
      return "greater " + number(from, 100);
    case 15:
      return "ip6 and not port " + number(from, 50);
    case 16:
      return "ip proto " + number(from, 20);
    case 17:
      return "ip[6:2] & 0x1fff != 0 and dst host " + address(from);
    case 18:
      return "tcp src portrange 5-9 or udp dst portrange 30-" + std::to_string(30 + from.below(9));
    case 19:
      return "ip[2:2] - ip[8] > " + number(from, 40) + " and src net 10." + number(from, 4) + ".0.0/16";
    case 20:
      return "ip and (tcp port " + number(from, 50) + " or src host " + address(from) + ")";
    default:
      return "port " + number(from, 50) + " or " + number(from, 50) + " or " + number(from, 50);
  }
}

std::vector<std::byte> any_packet(random& from) {
  packet_plan plan;
  const bool is_ipv6 = from.below(3) == 0;
  const std::string source = is_ipv6 ? address6(from) : address(from);
  const std::string destination = is_ipv6 ? address6(from) : address(from);
  plan.source = source;
  plan.destination = destination;
  constexpr ip_protocol protocols[] = {ip_protocol::tcp, ip_protocol::udp, ip_protocol::icmp, ip_protocol::esp};
  plan.protocol = protocols[from.below(4)];
  plan.source_port = static_cast<std::uint16_t>(from.below(50));
  plan.destination_port = static_cast<std::uint16_t>(from.below(50));
  plan.ttl = static_cast<std::uint8_t>(from.below(256));
  if (!is_ipv6 && from.below(8) == 0) plan.fragment = static_cast<std::uint16_t>(from.below(0x4000));
  const std::string payload(from.below(60), 'x');
  plan.payload = payload;
  auto bytes = make_bytes(plan);
  switch (from.below(6)) {
    case 0:
      bytes.resize(from.below(bytes.size() + 1));
      break;
    case 1:
      for (int each = 0; each < 3; ++each) bytes[from.below(bytes.size())] = static_cast<std::byte>(from.next());
      break;
    case 2:
      bytes[0] = std::byte{0x4f};
      break;  // options that may lead outside of the bytes
    default:
      break;
  }
  return bytes;
}

// The numbers of the rules that match, by asking each.
std::vector<candidate_index::number> asked(const compiled& rules, const packet& which) {
  std::vector<candidate_index::number> all;
  for (std::size_t each = 0; each < rules.rules.size(); ++each) {
    if (rules.rules[each].when.matches(which, {})) all.push_back(static_cast<candidate_index::number>(each));
  }
  return all;
}

std::vector<candidate_index::number> indexed(const compiled& rules, const packet& which,
                                             candidate_index::list& candidates) {
  std::vector<candidate_index::number> all;
  rules.index.look_up(which.payload, candidates);
  candidate_index::number from = 0;
  while (const auto next = candidates.next(from)) {
    EXPECT_GE(*next, from);
    if (rules.rules[*next].when.matches(which, {})) all.push_back(*next);
    from = *next + 1;
  }
  return all;
}

class equivalence : public testing::TestWithParam<int> {};

TEST_P(equivalence, the_index_loses_no_rule) {
  random numbers(static_cast<std::uint64_t>(GetParam()), 0);
  std::string text;
  for (int each = 0; each < 1000; ++each) {
    std::string one;
    do {
      one = filter(numbers);
    } while (!ruleset::compile(source{"rules", "drop : " + one}));  // some reject all packets, which libpcap refuses
    text += "drop : " + one + "\n";
  }
  const ruleset rules = compile(text);
  EXPECT_LT(rules.rules().index.always(), 300u);
  candidate_index::list candidates;
  std::size_t matches = 0;
  for (int each = 0; each < 400; ++each) {
    const auto bytes = any_packet(numbers);
    const packet which = make_packet(bytes);
    const auto expected = asked(rules.rules(), which);
    ASSERT_EQ(indexed(rules.rules(), which, candidates), expected);
    matches += expected.size();
  }
  EXPECT_GT(matches, 4000u);
}

INSTANTIATE_TEST_SUITE_P(seeds, equivalence, testing::Range(1, 4));

TEST(candidates, a_thousand_ports_leave_few_to_ask) {
  std::string text;
  for (int each = 0; each < 1000; ++each) text += "drop : tcp dst port " + std::to_string(each + 1) + "\n";
  const ruleset rules = compile(text);
  EXPECT_EQ(rules.rules().index.always(), 0u);
  EXPECT_EQ(rules.rules().index.tables(), 2u);
  candidate_index::list candidates;
  for (const std::uint16_t port : {std::uint16_t{1}, std::uint16_t{80}, std::uint16_t{1000}}) {
    const auto bytes = make_bytes({.protocol = ip_protocol::tcp, .destination_port = port});
    rules.rules().index.look_up(bytes, candidates);
    EXPECT_EQ(candidates.next(0), port - 1u);
    EXPECT_EQ(candidates.next(port), std::nullopt);
  }
}

TEST(candidates, ranges_and_networks_have_tables_too) {
  std::string text;
  for (int each = 0; each < 200; ++each) {
    text += "drop : dst net 10.0." + std::to_string(each) + ".0/24\n";
    text += "drop : udp dst portrange " + std::to_string(each * 10 + 1) + "-" + std::to_string(each * 10 + 9) + "\n";
  }
  const ruleset rules = compile(text);
  EXPECT_EQ(rules.rules().index.always(), 0u);
}

// Ranges that all overlap would take the square of their number; they are asked one by one.
TEST(candidates, overlapping_ranges_do_not_explode) {
  std::string text;
  for (int each = 1; each < 500; ++each) {
    text += "drop : dst portrange " + std::to_string(each) + "-" + std::to_string(60000 + each) + "\n";
  }
  const ruleset rules = compile(text);
  const auto bytes = make_bytes({.destination_port = 300});
  candidate_index::list candidates;
  EXPECT_EQ(indexed(rules.rules(), make_packet(bytes), candidates).size(), 300u);
}

TEST(candidates, what_has_no_filter_is_asked_always) {
  std::string text = "accept : [mark=1]\ncontinue\nmark 1, continue : [hook=input] udp\n";
  for (int each = 0; each < 10; ++each) text += "drop : port " + std::to_string(each) + "\n";
  EXPECT_EQ(compile(text).rules().index.always(), 2u);
}

TEST(paths, of_a_port) {
  const auto code = program::compile("tcp dst port 80");
  ASSERT_TRUE(code);
  const auto paths = accepting_paths(code->instructions());
  ASSERT_TRUE(paths);
  ASSERT_EQ(paths->size(), 2u);  // over IPv6 and over IPv4
  for (const path& each : *paths) {
    EXPECT_TRUE(std::ranges::any_of(
        each, [](const field_range& range) { return range.of.size == 2 && range.first == 80 && range.last == 80; }));
  }
}

TEST(paths, of_everything_and_of_what_is_too_much) {
  const auto all = program::compile("");
  ASSERT_TRUE(all);
  EXPECT_EQ(accepting_paths(all->instructions()).value().size(), 1u);
  EXPECT_TRUE(accepting_paths(all->instructions()).value()[0].empty());
  // Tests of other bytes, each with two ways to go on: 2^16 ways to the end.
  std::vector<bpf_insn> ladder;
  for (unsigned each = 0; each < 16; ++each) {
    ladder.push_back(BPF_STMT(BPF_LD | BPF_B | BPF_ABS, each));
    ladder.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 0));
  }
  ladder.push_back(BPF_STMT(BPF_RET | BPF_K, 1));
  EXPECT_FALSE(accepting_paths(ladder));
  EXPECT_EQ(accepting_paths(std::span(ladder).subspan(16)).value().size(), 256u);
  const bpf_insn loop[] = {BPF_STMT(BPF_JMP | BPF_JA, 0xffffffff)};
  EXPECT_FALSE(accepting_paths(loop));
}

}  // namespace
}  // namespace ipq::tool::rules
