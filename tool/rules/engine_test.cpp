// SPDX-License-Identifier: MIT
// Every action: what the decision says, and what is counted.
#include "engine.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "ipq/decode.hpp"
#include "ipq/ipv4.hpp"
#include "ipq/ipv6.hpp"
#include "ipq/tcp.hpp"
#include "ipq/udp.hpp"
#include "test_packets.hpp"

namespace ipq::tool::rules {
namespace {

using namespace std::chrono_literals;

engine make_engine(const std::string& text, engine_options options = {}) {
  auto made = ruleset::compile(source{"rules", text});
  if (!made) throw std::runtime_error(render(made.error()));
  return engine(std::move(*made), std::move(options));
}

const std::vector<std::byte> dns = make_bytes({});
const std::vector<std::byte> dns6 = make_bytes({.source = "2001:db8::1", .destination = "2001:db8::2"});
const std::vector<std::byte> web = make_bytes({.protocol = ip_protocol::tcp, .destination_port = 80});
const std::vector<std::byte> ping = make_bytes({.protocol = ip_protocol::icmp});

std::uint32_t verdict_of(engine& judge, const packet& which) {
  return judge.judge(which, 0s).verdict.value();
}

TEST(engine, the_first_line_that_matches_decides) {
  engine judge = make_engine("drop : udp port 53\naccept : udp\ndrop");
  EXPECT_EQ(verdict_of(judge, make_packet(dns)), 0u);
  EXPECT_EQ(judge.judge(make_packet(dns), 0s).rule, 0u);
  const auto other = make_bytes({.destination_port = 54});
  EXPECT_EQ(judge.judge(make_packet(other), 0s).verdict.value(), 1u);
  EXPECT_EQ(judge.judge(make_packet(other), 0s).rule, 1u);
  EXPECT_EQ(judge.judge(make_packet(web), 0s).rule, 2u);
}

TEST(engine, what_no_line_matches) {
  engine accepting = make_engine("drop : udp");
  EXPECT_EQ(verdict_of(accepting, make_packet(web)), 1u);
  EXPECT_EQ(accepting.judge(make_packet(web), 0s).rule, decision::no_rule);
  EXPECT_EQ(accepting.unmatched().packets, 2u);
  EXPECT_EQ(accepting.unmatched().bytes, 2 * web.size());
  engine dropping = make_engine("accept : udp", {.otherwise = ipq::verdict::drop()});
  EXPECT_EQ(verdict_of(dropping, make_packet(web)), 0u);
  EXPECT_EQ(verdict_of(dropping, make_packet(dns)), 1u);
}

TEST(engine, a_line_without_a_verdict_accepts) {
  engine judge = make_engine("mark 7\ndrop", {.otherwise = ipq::verdict::drop()});
  EXPECT_EQ(verdict_of(judge, make_packet(web)), 1u);
}

TEST(engine, verdicts) {
  engine judge = make_engine(
      "queue 5 : udp port 1\nqueue 0xffff bypass : udp port 2\nmark 1, repeat : udp port 3\ndrop, count gone : udp "
      "port 4");
  const auto to = [&](std::uint16_t port) {
    const auto bytes = make_bytes({.destination_port = port});
    return verdict_of(judge, make_packet(bytes));
  };
  EXPECT_EQ(to(1), 0x50003u);
  EXPECT_EQ(to(2), 0xffff8003u);
  EXPECT_EQ(to(3), 4u);
  EXPECT_EQ(to(4), 0u);
  EXPECT_EQ(judge.named_counts()[0].packets, 1u);
}

TEST(engine, marks) {
  engine judge = make_engine("mark 0x10/0xf0, connmark 3, priority 9");
  packet which = make_packet(dns);
  which.mark = 0xabcd;
  const auto& made = judge.judge(which, 0s).verdict;
  EXPECT_EQ(made.mark(), 0xab1du);
  EXPECT_EQ(made.connmark(), 3u);
  EXPECT_EQ(made.connmark_mask(), 0xffffffff);
  EXPECT_EQ(made.priority(), 9u);
  engine whole = make_engine("mark 5, mark 0x100/0xf00");
  EXPECT_EQ(whole.judge(which, 0s).verdict.mark(), 0x105u);
  engine part = make_engine("connmark 1/0xf, continue\nconnmark 0x20/0xf0");
  EXPECT_EQ(part.judge(which, 0s).verdict.connmark(), 0x21u);
  EXPECT_EQ(part.judge(which, 0s).verdict.connmark_mask(), 0xffu);
  engine plain = make_engine("accept");
  EXPECT_FALSE(plain.judge(which, 0s).verdict.mark());
  EXPECT_FALSE(plain.judge(which, 0s).verdict.connmark());
}

TEST(engine, continue_goes_on_and_what_it_did_stays) {
  engine judge = make_engine(
      "mark 1, log \"first\", record a, continue : udp\n"
      "mark 2/2, log, record b, record a, count seen, continue\n"
      "accept : [mark=3]\n"
      "drop");
  const auto& made = judge.judge(make_packet(dns), 0s);
  EXPECT_EQ(made.rule, 2u);
  EXPECT_EQ(made.verdict.mark(), 3u);
  EXPECT_EQ(std::vector(made.logs.begin(), made.logs.end()), (std::vector<std::string_view>{"first", ""}));
  EXPECT_EQ(std::vector(made.records.begin(), made.records.end()), (std::vector<std::size_t>{0, 1}));
  EXPECT_EQ(judge.judge(make_packet(web), 0s).rule, 3u);
  EXPECT_EQ(judge.counts()[0].packets, 1u);
  EXPECT_EQ(judge.counts()[1].packets, 2u);
  EXPECT_EQ(judge.counts()[1].bytes, dns.size() + web.size());
  EXPECT_EQ(judge.counts()[2].packets, 1u);
  EXPECT_EQ(judge.counts()[3].packets, 1u);
  EXPECT_EQ(judge.named_counts()[0].packets, 2u);
  EXPECT_EQ(judge.named_counts()[0].bytes, dns.size() + web.size());
}

TEST(engine, later_lines_see_the_packet_as_it_was_changed) {
  std::string text = "set dport 99, continue : udp port 53\n";
  for (int each = 1; each < 99; ++each) text += "drop : udp dst port " + std::to_string(each) + "\n";
  engine judge = make_engine(text + "set ttl 1 : udp dst port 99\ndrop");
  const auto& made = judge.judge(make_packet(dns), 0s);
  EXPECT_EQ(made.rule, 99u);
  const auto ip = ipv4_view::parse(made.verdict.payload());
  ASSERT_TRUE(ip);
  EXPECT_EQ(ip->time_to_live(), 1);
  EXPECT_EQ(udp_view::parse(ip->payload())->destination_port(), 99);
  EXPECT_TRUE(has_right_checksums(made.verdict.payload()));
}

TEST(engine, sets_fields_and_keeps_checksums) {
  engine judge = make_engine(
      "set src 198.51.100.7, set dst 198.51.100.8, set sport 1, set dport 65535, set ttl 0, set dscp 46 : ip\n"
      "set src 2001:db8::7, set dst 2001:db8::8, set sport 1, set dport 65535, set ttl 0, set dscp 46 : ip6");
  for (const auto* bytes : {&dns, &web}) {
    const auto& made = judge.judge(make_packet(*bytes), 0s);
    EXPECT_FALSE(made.not_applied);
    EXPECT_TRUE(has_right_checksums(made.verdict.payload()));
    const auto ip = ipv4_view::parse(made.verdict.payload());
    ASSERT_TRUE(ip);
    EXPECT_EQ(ip->source().to_string(), "198.51.100.7");
    EXPECT_EQ(ip->destination().to_string(), "198.51.100.8");
    EXPECT_EQ(ip->time_to_live(), 0);
    EXPECT_EQ(ip->dscp(), 46);
    EXPECT_EQ(read_be16(ip->payload(), 0), 1);
    EXPECT_EQ(read_be16(ip->payload(), 2), 65535);
  }
  const auto& made = judge.judge(make_packet(dns6), 0s);
  EXPECT_TRUE(has_right_checksums(made.verdict.payload()));
  const auto ip = ipv6_view::parse(made.verdict.payload());
  ASSERT_TRUE(ip);
  EXPECT_EQ(ip->source().to_string(), "2001:db8::7");
  EXPECT_EQ(ip->destination().to_string(), "2001:db8::8");
  EXPECT_EQ(ip->hop_limit(), 0);
  EXPECT_EQ(ip->dscp(), 46);
}

TEST(engine, what_cannot_be_changed_is_counted_and_goes_on) {
  engine judge = make_engine("set dst 192.0.2.9, set dport 5, set ttl 3, delay 1ms");
  const auto& made = judge.judge(make_packet(ping), 0s);
  EXPECT_TRUE(made.not_applied);
  EXPECT_EQ(made.delay, 1ms);
  EXPECT_EQ(ipv4_view::parse(made.verdict.payload())->time_to_live(), 3);
  EXPECT_TRUE(has_right_checksums(made.verdict.payload()));
  EXPECT_EQ(judge.counts()[0].not_applied, 1u);

  packet cut = make_packet(dns);
  cut.truncated = true;
  cut.original_length = 1500;
  const auto& refused = judge.judge(cut, 0s);
  EXPECT_TRUE(refused.not_applied);
  EXPECT_TRUE(refused.verdict.payload().empty());
  EXPECT_EQ(refused.verdict.value(), 1u);
  EXPECT_EQ(judge.counts()[0].not_applied, 2u);  // once a packet, whatever the number of changes
  EXPECT_EQ(judge.counts()[0].bytes, ping.size() + 1500);
  EXPECT_FALSE(judge.judge(make_packet(dns), 0s).not_applied);
}

std::string payload_of(std::span<const std::byte> bytes) {
  const auto where = decode(bytes);
  const auto payload = bytes.subspan(where->payload_offset);
  return {reinterpret_cast<const char*>(payload.data()), payload.size()};
}

TEST(engine, replaces_bytes_everywhere) {
  engine judge = make_engine(R"(replace "ab" with "\x00\"", replace "\xff\\" with "\n\t" : udp or tcp)");
  for (const auto protocol : {ip_protocol::udp, ip_protocol::tcp}) {
    const auto bytes = make_bytes({.protocol = protocol, .payload = "abcababa\xff\\"});
    const auto& made = judge.judge(make_packet(bytes), 0s);
    using namespace std::string_literals;
    EXPECT_EQ(payload_of(made.verdict.payload()), "\0\"c\0\"\0\"a\n\t"s);
    EXPECT_TRUE(has_right_checksums(made.verdict.payload()));
  }
  // Nothing to replace: the packet goes on as it is, and that is no failure.
  const auto& untouched = judge.judge(make_packet(dns), 0s);
  EXPECT_TRUE(untouched.verdict.payload().empty());
  EXPECT_FALSE(untouched.not_applied);
}

TEST(engine, finishes_checksums_that_the_kernel_left) {
  auto bytes = web;
  write_be16(bytes, 36, 0x1234);
  packet which = make_packet(bytes);
  which.checksum_not_ready = true;
  engine judge = make_engine("set ttl 9");
  EXPECT_TRUE(has_right_checksums(judge.judge(which, 0s).verdict.payload()));
}

TEST(engine, delays) {
  engine fixed = make_engine("delay 50ms");
  EXPECT_EQ(fixed.judge(make_packet(dns), 5s).delay, 50ms);
  engine sum = make_engine("delay 1.5ms, continue\ndelay 250 us");
  EXPECT_EQ(sum.judge(make_packet(dns), 0s).delay, 1750us);
  engine jitter = make_engine("delay 10ms jitter 20ms");
  time least = 1h, most{};
  int at_once = 0;
  for (int each = 0; each < 4000; ++each) {
    const time by = jitter.judge(make_packet(dns), 0s).delay;
    ASSERT_GE(by, 0s);
    ASSERT_LE(by, 30ms);
    at_once += by == 0s;
    least = std::min(least, by);
    most = std::max(most, by);
  }
  EXPECT_EQ(least, 0s);
  EXPECT_GT(most, 29ms);
  EXPECT_NEAR(at_once, 1000, 120);  // a quarter would be due before it came
  engine dropping = make_engine("delay 10ms, drop");
  EXPECT_EQ(dropping.judge(make_packet(dns), 0s).delay, 0s);
}

int times(int of, engine& judge, bool (*happened)(const decision&)) {
  int count = 0;
  for (int each = 0; each < of; ++each) count += happened(judge.judge(make_packet(dns), 0s));
  return count;
}

TEST(engine, loses) {
  engine judge = make_engine("count before, loss 10%, count after, mark 4 : udp\ndrop");
  EXPECT_NEAR(times(10'000, judge, [](const decision& made) { return made.lost; }), 1000, 120);
  EXPECT_EQ(judge.counts()[0].packets, 10'000u);
  EXPECT_EQ(judge.named_counts()[0].packets, 10'000u);
  EXPECT_EQ(judge.named_counts()[1].packets, 10'000 - judge.counts()[0].lost);
  engine always = make_engine("loss 100%, continue");
  const auto& made = always.judge(make_packet(dns), 0s);
  EXPECT_TRUE(made.lost);
  EXPECT_EQ(made.verdict.value(), 0u);
  EXPECT_EQ(made.rule, 0u);
  engine never = make_engine("loss 0%");
  EXPECT_EQ(times(1000, never, [](const decision& one) { return one.lost; }), 0);
}

TEST(engine, duplicates) {
  engine judge = make_engine("duplicate 50%");
  EXPECT_NEAR(times(4000, judge, [](const decision& made) { return made.duplicates == 1; }), 2000, 160);
  engine always = make_engine("set ttl 5, duplicate 100%, duplicate 100%, delay 1ms");
  const auto& made = always.judge(make_packet(dns), 0s);
  EXPECT_EQ(made.duplicates, 2u);
  EXPECT_TRUE(std::ranges::equal(made.duplicate, made.verdict.payload()));
  EXPECT_EQ(made.delay, 1ms);

  engine plain = make_engine("duplicate 100%");
  EXPECT_TRUE(std::ranges::equal(plain.judge(make_packet(dns), 0s).duplicate, dns));
  EXPECT_TRUE(plain.judge(make_packet(dns), 0s).verdict.payload().empty());

  // A copy is not for the kernel to finish.
  auto bytes = web;
  write_be16(bytes, 36, 0);
  packet unfinished = make_packet(bytes);
  unfinished.checksum_not_ready = true;
  EXPECT_TRUE(has_right_checksums(plain.judge(unfinished, 0s).duplicate));

  packet cut = make_packet(dns);
  cut.truncated = true;
  const auto& refused = plain.judge(cut, 0s);
  EXPECT_EQ(refused.duplicates, 0u);
  EXPECT_TRUE(refused.not_applied);
  EXPECT_EQ(plain.counts()[0].not_applied, 1u);
}

TEST(engine, duplicates_what_no_firewall_is_left_for) {
  engine judge = make_engine("duplicate 100%");
  std::string copied;
  for (std::uint8_t hook = 0; hook <= 4; ++hook) {
    packet which = make_packet(dns);
    which.hook = hook;
    const auto& made = judge.judge(which, 0s);
    copied += made.duplicates == 1 ? 'x' : '.';
    EXPECT_EQ(made.duplicate.empty(), made.duplicates == 0);
    EXPECT_EQ(made.not_applied, made.duplicates == 0);
    EXPECT_EQ(made.verdict.value(), 1u);
    // A bridge would flood its copy, a neighbour's copy of that, and so on.
    which.family = 7;
    EXPECT_EQ(judge.judge(which, 0s).duplicates, 0u);
  }
  EXPECT_EQ(copied, "...xx");
  EXPECT_EQ(judge.counts()[0].not_applied, 8u);
}

TEST(engine, corrupts_one_bit_and_leaves_the_checksum_wrong) {
  engine judge = make_engine("corrupt 100%");
  for (const auto* bytes : {&dns, &web, &ping, &dns6}) {
    for (int each = 0; each < 100; ++each) {
      const auto& made = judge.judge(make_packet(*bytes), 0s);
      const auto payload = made.verdict.payload();
      ASSERT_EQ(payload.size(), bytes->size());
      int bits = 0;
      for (std::size_t at = 0; at < payload.size(); ++at) {
        bits += std::popcount(std::to_integer<unsigned>(payload[at] ^ (*bytes)[at]));
      }
      EXPECT_EQ(bits, 1);
      const std::size_t header = bytes == &dns6 ? 40 : 20;
      EXPECT_TRUE(std::ranges::equal(payload.first(header), std::span(*bytes).first(header)));
    }
  }
  // With a change beside it: that one's checksum is kept, the corruption's is not.
  engine both = make_engine("corrupt 100%, set dst 192.0.2.77, continue\nset sport 7, duplicate 100%");
  const auto& made = both.judge(make_packet(web), 0s);
  const auto clean = [&] {
    engine without = make_engine("set dst 192.0.2.77, set sport 7");
    const auto payload = without.judge(make_packet(web), 0s).verdict.payload();
    return std::vector(payload.begin(), payload.end());
  }();
  int bits = 0;
  for (std::size_t at = 0; at < clean.size(); ++at) {
    bits += std::popcount(std::to_integer<unsigned>(made.verdict.payload()[at] ^ clean[at]));
  }
  EXPECT_EQ(bits, 1);
  EXPECT_TRUE(std::ranges::equal(made.duplicate, made.verdict.payload()));

  const auto bare = make_bytes({.protocol = ip_protocol::esp, .payload = ""});
  EXPECT_TRUE(judge.judge(make_packet(bare), 0s).not_applied);
}

// The kernel cuts them and makes checksums of what it finds, so that nobody would notice.
TEST(engine, leaves_segments_that_are_not_cut_yet_uncorrupted) {
  engine judge = make_engine("corrupt 100%, set ttl 5");
  packet several = make_packet(web);
  several.gso = true;
  const auto& made = judge.judge(several, 0s);
  EXPECT_TRUE(made.not_applied);
  EXPECT_EQ(judge.counts()[0].not_applied, 1u);
  const auto payload = made.verdict.payload();
  EXPECT_TRUE(has_right_checksums(payload));
  EXPECT_TRUE(std::ranges::equal(payload.subspan(20), std::span(web).subspan(20)));
  // One segment whose checksum is not ready: what is written back has one, and the kernel leaves it.
  auto bytes = web;
  write_be16(bytes, 36, 0);
  packet unfinished = make_packet(bytes);
  unfinished.checksum_not_ready = true;
  EXPECT_FALSE(judge.judge(unfinished, 0s).not_applied);
  EXPECT_FALSE(has_right_checksums(judge.judge(unfinished, 0s).verdict.payload()));
}

TEST(engine, reorders) {
  engine judge = make_engine("reorder 25% within 20ms");
  int held = 0;
  for (int each = 0; each < 4000; ++each) {
    const time by = judge.judge(make_packet(dns), 0s).delay;
    ASSERT_LE(by, 20ms);
    held += by > 0s;
  }
  EXPECT_NEAR(held, 1000, 130);
}

TEST(engine, a_rate_of_packets) {
  engine judge = make_engine("rate 100/s within 25ms");
  const auto at = [&](time now) -> std::pair<bool, time> {
    const auto& made = judge.judge(make_packet(dns), now);
    return {made.lost, made.delay};
  };
  EXPECT_EQ(at(1s), std::pair(false, time(0s)));
  EXPECT_EQ(at(1s), std::pair(false, time(10ms)));
  EXPECT_EQ(at(1s), std::pair(false, time(20ms)));
  EXPECT_EQ(at(1s), std::pair(true, time(0s)));         // would wait 30 ms
  EXPECT_EQ(at(1005ms), std::pair(false, time(25ms)));  // what was lost took no place
  EXPECT_EQ(at(1005ms), std::pair(true, time(0s)));
  EXPECT_EQ(at(2s), std::pair(false, time(0s)));
  EXPECT_EQ(judge.counts()[0].lost, 2u);
}

TEST(engine, a_rate_of_bits) {
  engine judge = make_engine("rate 1 Mbit/s");
  const std::string payload(125 - 28, 'x');  // 1000 bits with the headers
  const auto bytes = make_bytes({.payload = payload});
  for (int each = 0; each < 1000; ++each) ASSERT_EQ(judge.judge(make_packet(bytes), 0s).delay, each * 1ms);
  EXPECT_EQ(judge.judge(make_packet(bytes), 0s).delay, 1s);
  EXPECT_TRUE(judge.judge(make_packet(bytes), 0s).lost);  // more than a second, unless `within` says so
  packet huge = make_packet(bytes);
  huge.original_length = 0xffffffff;
  engine slow = make_engine("rate 0.001 bit/s within 60min");
  EXPECT_EQ(slow.judge(huge, 0s).delay, 0s);
  EXPECT_TRUE(slow.judge(huge, 1s).lost);
}

TEST(engine, time_does_not_go_back) {
  engine judge = make_engine("rate 10/s");
  EXPECT_EQ(judge.judge(make_packet(dns), 10s).delay, 0s);
  EXPECT_EQ(judge.judge(make_packet(dns), 3s).delay, 100ms);  // as if at 10 s
}

std::vector<std::tuple<std::uint32_t, time, std::uint32_t, std::vector<std::byte>>> story(engine& judge) {
  std::vector<std::tuple<std::uint32_t, time, std::uint32_t, std::vector<std::byte>>> all;
  for (int each = 0; each < 200; ++each) {
    const auto& made = judge.judge(make_packet(each % 2 == 0 ? dns : web), each * 1ms);
    const auto payload = made.verdict.payload();
    all.emplace_back(made.verdict.value(), made.delay, made.duplicates, std::vector(payload.begin(), payload.end()));
  }
  return all;
}

constexpr const char* everything_random =
    "loss 10%, delay 10ms jitter 5ms, duplicate 20%, corrupt 30%, reorder 5% within 50ms, rate 2000/s";

TEST(engine, the_seed_decides) {
  engine one = make_engine(everything_random, {.seed = 7}), same = make_engine(everything_random, {.seed = 7}),
         other = make_engine(everything_random, {.seed = 8});
  const auto told = story(one);
  EXPECT_EQ(story(same), told);
  EXPECT_NE(story(other), told);
}

// The same on every machine and with every compiler: these numbers are for ever.
TEST(engine, decisions_of_seed_1) {
  engine judge = make_engine("loss 50%, delay 0ms jitter 1s", {.seed = 1});
  std::string lost;
  time sum{};
  for (int each = 0; each < 24; ++each) {
    const auto& made = judge.judge(make_packet(dns), 0s);
    lost += made.lost ? 'x' : '.';
    sum += made.delay;
  }
  EXPECT_EQ(lost, "x..xx...x.x..xxxx.....xx");
  EXPECT_EQ(sum.count(), 2324564033);
}

TEST(engine, lines_do_not_disturb_each_others_chances) {
  engine one = make_engine("loss 50% : udp", {.seed = 3});
  engine two = make_engine("loss 50% : udp\nloss 50% : tcp", {.seed = 3});
  for (int each = 0; each < 100; ++each) {
    static_cast<void>(two.judge(make_packet(web), 0s));
    ASSERT_EQ(one.judge(make_packet(dns), 0s).lost, two.judge(make_packet(dns), 0s).lost);
  }
}

TEST(engine, metadata) {
  const auto names = [](std::uint32_t index) -> std::string_view {
    return index == 2 ? "eth0" : index == 3 ? "eth1" : index == 4 ? "br0" : "";
  };
  packet which = make_packet(dns);
  which.indev = 2;
  which.outdev = 3;
  which.physindev = 4;
  which.hook = 2;
  which.queue = 5;
  which.mark = 0x12;
  which.uid = 1000;
  const auto matches = [&](const std::string& test) {
    engine judge = make_engine("drop : " + test, {.names = names});
    return judge.judge(which, 0s).rule == 0;
  };
  for (const char* test : {"[indev=eth0]",
                           "[indev=eth*]",
                           "[indev=\"eth0\"]",
                           "[outdev!=eth0]",
                           "[physindev=br0]",
                           "[physoutdev!=br0]",
                           "[hook=forward]",
                           "[hook!=input]",
                           "[family=ipv4]",
                           "[family!=bridge]",
                           "[queue=5]",
                           "[mark=0x12]",
                           "[mark=0x10/0xf0]",
                           "[mark!=0x13]",
                           "[uid=1000]",
                           "[uid!=0]",
                           "[gid!=0]",
                           "[indev=eth0 outdev=eth1] udp",
                           "[ hook=forward  mark=18 ]udp port 53",
                           "[indev=*]",
                           "[physoutdev!=*]"}) {
    EXPECT_TRUE(matches(test)) << test;
  }
  for (const char* test : {"[indev=eth]", "[indev=eth1]", "[outdev=br*]", "[physoutdev=br0]", "[physoutdev=*]",
                           "[hook=input]", "[family=ipv6]", "[queue=4]", "[mark=2]", "[mark=0x20/0xf0]", "[uid=0]",
                           "[uid!=1000]", "[gid=0]", "[indev=eth0 outdev=eth0]", "[indev=eth0] tcp"}) {
    EXPECT_FALSE(matches(test)) << test;
  }
  engine nameless = make_engine("drop : [indev=eth0]");
  EXPECT_EQ(verdict_of(nameless, which), 1u);
}

TEST(engine, counts_go_on_after_a_reload) {
  engine before = make_engine("count a, continue : udp\ncount b");
  static_cast<void>(before.judge(make_packet(dns), 0s));
  static_cast<void>(before.judge(make_packet(web), 0s));
  engine after = make_engine("count new, count b");
  after.continue_from(before);
  static_cast<void>(after.judge(make_packet(dns), 0s));
  EXPECT_EQ(after.named_counts()[0].packets, 1u);
  EXPECT_EQ(after.named_counts()[1].packets, 3u);
}

TEST(engine, impairments_of_unchanged_lines_go_on_after_a_reload) {
  engine before = make_engine("loss 50%, continue : tcp\nrate 1/s within 10s : udp");
  EXPECT_EQ(before.judge(make_packet(dns), 5s).delay, 0s);
  EXPECT_EQ(before.judge(make_packet(dns), 5s).delay, 1s);
  // Another line before it, and a blank more around it.
  engine after = make_engine("delay 1s : tcp\n  rate 1/s within 10s : udp # the same\nrate 1/s within 10s : udp");
  after.continue_from(before);
  EXPECT_EQ(after.judge(make_packet(dns), 5s).delay, 2s);
  engine another = make_engine("rate 2/s within 10s : udp");
  another.continue_from(before);
  EXPECT_EQ(another.judge(make_packet(dns), 5s).delay, 0s);
}

TEST(engine, dice_are_not_thrown_again_after_a_reload) {
  const auto throw_some = [](engine& judge) {
    std::string made;
    for (int i = 0; i < 64; ++i) made += judge.judge(make_packet(dns), 0s).lost ? '1' : '0';
    return made;
  };
  engine whole = make_engine("loss 50% : udp");
  const std::string first = throw_some(whole), second = throw_some(whole);
  engine before = make_engine("loss 50% : udp");
  EXPECT_EQ(throw_some(before), first);
  engine same = make_engine("loss 50% : udp");
  same.continue_from(before);
  EXPECT_EQ(throw_some(same), second);
  // Nor do lines that are new begin where others began.
  engine changed = make_engine("loss 50.0% : udp");
  changed.continue_from(before);
  const std::string third = throw_some(changed);
  EXPECT_NE(third, first);
  engine again = make_engine("loss 50.00% : udp");
  again.continue_from(changed);
  const std::string fourth = throw_some(again);
  EXPECT_NE(fourth, first);
  EXPECT_NE(fourth, third);
}

TEST(engine, judges_without_payload) {
  engine judge = make_engine("set ttl 3, corrupt 100%, duplicate 100% : [mark=1]\ndrop : ip");
  packet bare;
  bare.mark = 1;
  const auto& made = judge.judge(bare, 0s);
  EXPECT_EQ(made.verdict.value(), 1u);
  EXPECT_TRUE(made.not_applied);
  bare.mark = 0;
  EXPECT_EQ(judge.judge(bare, 0s).rule, decision::no_rule);
}

}  // namespace
}  // namespace ipq::tool::rules
