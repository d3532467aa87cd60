// SPDX-License-Identifier: MIT
// Text and packets that somebody made to break things. The seeds are fixed; the sanitizer builds look on.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netdb.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "address_set.hpp"
#include "engine.hpp"
#include "filter.hpp"
#include "random.hpp"
#include "temporary_file.hpp"
#include "test_packets.hpp"

namespace {

int lookups = 0;

}  // namespace

// Stands before the C library's: no filter, however it came to be, may make libpcap ask for a host.
extern "C" __attribute__((visibility("default"))) int getaddrinfo(const char* node, const char* service,
                                                                  const addrinfo* hints, addrinfo** found) {
  if (node != nullptr && (hints == nullptr || (hints->ai_flags & AI_NUMERICHOST) == 0)) {
    addrinfo numeric{};
    if (hints != nullptr) numeric = *hints;
    numeric.ai_flags |= AI_NUMERICHOST;
    static const auto real = reinterpret_cast<decltype(&getaddrinfo)>(dlsym(RTLD_NEXT, "getaddrinfo"));
    const int status = real(node, service, &numeric, found);
    if (status != 0) ++lookups;
    return status;
  }
  static const auto real = reinterpret_cast<decltype(&getaddrinfo)>(dlsym(RTLD_NEXT, "getaddrinfo"));
  return real(node, service, hints, found);
}

namespace ipq::tool::rules {
namespace {

using namespace std::chrono_literals;

constexpr const char* seeds[] = {
    "accept",
    "drop : udp port 53",
    "mark 0x10/0xf0, connmark 3/0xf, priority 9, continue : [indev=eth0 hook=output mark=0x1/0xff uid=1000] tcp",
    "queue 5 bypass : (host 192.0.2.1 or port 80) and not icmp",
    "log \"a\\x00\\n\", count web, record \"out put.pcap\" : net 10.0.0.0/8",
    "set src 192.0.2.1, set dst 2001:db8::1, set sport 1, set dport 2, set ttl 3, set dscp 4 : ip6",
    "replace \"abc\" with \"\\xffbc\" : udp",
    "delay 50ms jitter 10ms, loss 10%, duplicate 0.5%, corrupt 1%, reorder 5% within 20ms, rate 1.5 Mbit/s within 1s",
    "drop : (src @SET or dst host @SET) and not src and dst @SET and tcp[tcpflags] & tcp-syn != 0",
    "mark 1, repeat : portrange 1-1024 or ip proto \\tcp # comment",
};

std::string mutate(std::string text, random& from) {
  const std::uint64_t times = 1 + from.below(4) / 3;
  for (std::uint64_t each = 0; each < times; ++each) {
    const std::size_t at = from.below(text.size() + 1);
    switch (from.below(7)) {
      case 0:
        text.insert(at, 1, static_cast<char>(from.next()));
        break;
      case 1:
        text.insert(at, 1, ",:#\"[]()@%/\\!&|-. \n\t\0"[from.below(21)]);
        break;
      case 2:
        text.erase(at, 1 + from.below(5));
        break;
      case 3: {
        const std::string other = seeds[from.below(std::size(seeds))];
        text.insert(at, other.substr(from.below(other.size()), 1 + from.below(20)));
        break;
      }
      case 4:
        if (at < text.size()) text[at] = static_cast<char>(text[at] ^ 1 << from.below(8));
        break;
      case 5:
        text.insert(at, text.substr(from.below(text.size() + 1), from.below(30)));
        break;
      default:
        text.insert(at, std::to_string(from.next() >> from.below(64)));
        break;
    }
  }
  return text;
}

std::vector<std::vector<std::byte>> packets(random& from) {
  std::vector<std::vector<std::byte>> all;
  for (const auto protocol : {ip_protocol::udp, ip_protocol::tcp, ip_protocol::icmp, ip_protocol::esp}) {
    all.push_back(make_bytes({.protocol = protocol, .payload = "xxabcabcx"}));
    all.push_back(make_bytes({.source = "2001:db8::1",
                              .destination = "2001:db8::2",
                              .protocol = protocol == ip_protocol::icmp ? ip_protocol::icmpv6 : protocol}));
  }
  for (std::size_t each = all.size(); each < 60; ++each) {
    auto bytes = all[from.below(8)];
    for (std::uint64_t times = from.below(6); times > 0; --times) {
      bytes[from.below(bytes.size())] = static_cast<std::byte>(from.next());
    }
    if (from.below(2) == 0) bytes.resize(from.below(bytes.size()));
    all.push_back(std::move(bytes));
  }
  all.emplace_back();
  return all;
}

// Whatever the bytes of a decision are, they can be read.
std::size_t look_at(const decision& made) {
  std::size_t sum = made.records.size();
  for (const std::byte each : made.verdict.payload()) sum += std::to_integer<std::size_t>(each);
  for (const std::byte each : made.duplicate) sum += std::to_integer<std::size_t>(each);
  for (const std::string_view each : made.logs) sum += each.size();
  return sum;
}

TEST(hostile, text) {
  random numbers(5, 0);
  const temporary_file addresses("192.0.2.0/24\n");
  const auto traffic = packets(numbers);
  int taken = 0, refused = 0;
  for (int each = 0; each < 12'000; ++each) {
    std::string text;
    for (std::uint64_t lines = 1 + numbers.below(3) / 2; lines > 0; --lines) {
      text += mutate(seeds[numbers.below(std::size(seeds))], numbers) + "\n";
    }
    for (std::size_t at = 0; (at = text.find("@SET", at)) != std::string::npos;) {
      text.replace(at, 4, "@" + addresses.path().filename().string());
    }
    auto made = ruleset::compile(source{"rules", text, addresses.path().parent_path()});
    if (!made) {
      ++refused;
      ASSERT_FALSE(made.error().empty());
      for (const diagnostic& fault : made.error()) {
        ASSERT_FALSE(fault.message.empty());
        ASSERT_LE(fault.column, fault.text.size() + 1) << fault.render();
        for (const char c : fault.render()) {
          ASSERT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20) << text;
        }
      }
      continue;
    }
    ++taken;
    engine judge(std::move(*made), {.seed = 1});
    for (const auto& bytes : traffic) look_at(judge.judge(make_packet(bytes), 0s));
  }
  EXPECT_GT(taken, 300);
  EXPECT_GT(refused, 500);
  EXPECT_EQ(lookups, 0);
}

TEST(hostile, sets) {
  random numbers(6, 0);
  const std::string good =
      "192.0.2.1\n10.0.0.0/8\n192.0.2.5-192.0.2.9 # x\nname:1.2.3.4-1.2.3.5\n2001:db8::/32\n::1-::5 ; y\n";
  int taken = 0;
  for (int each = 0; each < 4000; ++each) {
    const auto made = address_set::parse("set", mutate(good, numbers));
    taken += made.has_value();
    if (made) static_cast<void>(made->contains(ipv4_address{}));
  }
  EXPECT_GT(taken, 200);
  EXPECT_LT(taken, 3800);
}

TEST(hostile, packets) {
  random numbers(7, 0);
  const temporary_file addresses("192.0.2.0/24\n2001:db8::/32\n");
  const std::string name = addresses.path().string();
  auto made = ruleset::compile(
      source{"rules",
             "log, count a, replace \"ab\" with \"xy\", set ttl 9, set dscp 3, continue\n"
             "set src 10.0.0.1, set dport 9, corrupt 50%, duplicate 50%, continue : src @" +
                 name +
                 " or udp\n"
                 "set dst 2001:db8::9, set sport 9, continue : dst @" +
                 name +
                 " or tcp\n"
                 "drop : ip[40:4] > 5 and not icmp\nrate 1 Mbit/s, delay 1ms : tcp[tcpflags] & tcp-syn != 0\n"
                 "mark 1 : port 53\nmark 2 : udp[8:2] = 5\nmark 3 : ip6 and less 60\nmark 4 : net 10.0.0.0/8"});
  ASSERT_TRUE(made) << render(made.error());
  engine judge(std::move(*made), {.seed = 2});
  for (int round = 0; round < 300; ++round) {
    for (const auto& bytes : packets(numbers)) {
      // Of the exact size, so that the sanitizer sees a read behind it.
      const std::vector<std::byte> exact(bytes);
      packet which = make_packet(exact);
      which.checksum_not_ready = numbers.below(2) == 0;
      which.truncated = numbers.below(4) == 0;
      which.gso = numbers.below(4) == 0;
      which.original_length = static_cast<std::uint32_t>(numbers.next() >> numbers.below(64));
      look_at(judge.judge(which, time(static_cast<time::rep>(numbers.next() >> 1))));
    }
  }
  EXPECT_GT(judge.counts()[1].packets, 1000u);
  EXPECT_GT(judge.counts()[1].not_applied, 100u);
}

}  // namespace
}  // namespace ipq::tool::rules
