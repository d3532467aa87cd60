// SPDX-License-Identifier: MIT
#include "print.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ipq/address.hpp"
#include "ipq/ip.hpp"

namespace tool {
namespace {

using namespace std::chrono_literals;

using bytes = std::vector<std::byte>;

bytes operator+(bytes a, const bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

template <class... Numbers>
bytes octets(Numbers... numbers) {
  return {static_cast<std::byte>(numbers)...};
}

bytes be16(unsigned value) {
  return octets(value >> 8, value);
}
bytes be32(std::uint32_t value) {
  return be16(value >> 16) + be16(value & 0xffff);
}
bytes zeros(std::size_t count) {
  return bytes(count);
}

// 192.0.2.1 > 192.0.2.2
bytes ipv4(unsigned protocol, const bytes& payload, unsigned fragment = 0) {
  return octets(0x45, 0) + be16(20 + static_cast<unsigned>(payload.size())) + be16(7) + be16(fragment) +
         octets(64, protocol) + be16(0) + octets(192, 0, 2, 1, 192, 0, 2, 2) + payload;
}

// 2001:db8::1 > 2001:db8::2
bytes ipv6(unsigned next, const bytes& payload) {
  const auto address = [](unsigned last) { return octets(0x20, 1, 0xd, 0xb8) + zeros(11) + octets(last); };
  return octets(0x60, 0, 0, 0) + be16(static_cast<unsigned>(payload.size())) + octets(next, 64) + address(1) +
         address(2) + payload;
}

bytes udp(unsigned from, unsigned to, const bytes& payload) {
  return be16(from) + be16(to) + be16(8 + static_cast<unsigned>(payload.size())) + be16(0) + payload;
}

bytes tcp(unsigned flags, const bytes& options, const bytes& payload) {
  const auto words = static_cast<unsigned>(5 + options.size() / 4);
  return be16(40000) + be16(80) + be32(1000) + be32(2000) + octets(words << 4, flags) + be16(512) + be16(0) + be16(9) +
         options + payload;
}

bytes icmp(unsigned type, unsigned code, std::uint32_t rest, const bytes& payload) {
  return octets(type, code) + be16(0) + be32(rest) + payload;
}

ipq::packet packet_of(const bytes& payload, bool six = false) {
  ipq::packet made;
  made.id = 12;
  made.family = six ? 10 : 2;
  made.hw_protocol = six ? 0x86dd : 0x0800;
  made.hook = 3;
  made.outdev = 2;
  made.payload = payload;
  made.original_length = static_cast<std::uint32_t>(payload.size());
  return made;
}

std::string_view name_of(std::uint32_t index) {
  constexpr std::string_view names[] = {"", "lo", "eth0", "et\x1bh1"};
  return index < std::size(names) ? names[index] : "";
}

constexpr print_style timeless{.time = false};

std::string line(const ipq::packet& packet, const print_style& style = timeless) {
  fmt::memory_buffer out;
  print_line(out, packet, name_of, style);
  return fmt::to_string(out);
}
std::string line4(const bytes& payload) {
  return line(packet_of(payload));
}
std::string line6(const bytes& payload) {
  return line(packet_of(payload, true));
}

TEST(print, tells_what_the_kernel_says_before_the_packet) {
  const bytes payload = ipv4(17, udp(5000, 53, zeros(33)));
  ipq::packet packet = packet_of(payload);
  EXPECT_EQ(line(packet), "output eth0 IP 192.0.2.1.5000 > 192.0.2.2.53: UDP, length 33");
  packet.mark = 7;
  packet.uid = 1000;
  EXPECT_EQ(line(packet), "output eth0 mark 0x7 uid 1000 IP 192.0.2.1.5000 > 192.0.2.2.53: UDP, length 33");
  packet.hook = 2;
  packet.indev = 1;
  packet.physindev = 9;
  packet.physoutdev = 2;
  EXPECT_TRUE(line(packet).starts_with("forward lo>eth0 port if9>eth0 mark 0x7 uid 1000 IP ")) << line(packet);
  packet.hook = 77;
  packet.indev = packet.outdev = packet.physindev = packet.physoutdev = packet.mark = 0;
  packet.uid.reset();
  EXPECT_TRUE(line(packet).starts_with("hook 77 IP 192.0.2.1.5000")) << line(packet);
}

TEST(print, time_and_colours) {
  const bytes payload = ipv4(17, udp(5000, 53, {}));
  fmt::memory_buffer out;
  std::tm noon{};
  noon.tm_year = 120;
  noon.tm_mday = 5;
  noon.tm_hour = 12;
  noon.tm_min = 2;
  noon.tm_sec = 1;
  const auto then = wall_clock::from_time_t(std::mktime(&noon)) + std::chrono::microseconds(42);
  print_line(out, packet_of(payload), name_of, {.colours = true}, then);
  EXPECT_EQ(fmt::to_string(out),
            "\x1b[2m12:02:01.000042 output eth0 \x1b[0mIP \x1b[1m192.0.2.1.5000 > 192.0.2.2.53: UDP, length 0\x1b[0m");
}

TEST(print, tcp_as_tcpdump_does) {
  EXPECT_EQ(line4(ipv4(6, tcp(0x02, octets(2, 4, 5, 0xb4, 4, 2, 8, 10) + be32(7) + be32(0) + octets(1, 3, 3, 7), {}))),
            "output eth0 IP 192.0.2.1.40000 > 192.0.2.2.80: Flags [S], seq 1000, win 512, options [mss 1460,sackOK,TS "
            "val 7 ecr 0,wscale 7], length 0");
  EXPECT_EQ(line4(ipv4(6, tcp(0x18, {}, zeros(10)))),
            "output eth0 IP 192.0.2.1.40000 > 192.0.2.2.80: Flags [P.], seq 1000:1010, ack 2000, win 512, length 10");
  EXPECT_EQ(line4(ipv4(6, tcp(0x10, {}, {}))),
            "output eth0 IP 192.0.2.1.40000 > 192.0.2.2.80: Flags [.], ack 2000, win 512, length 0");
  EXPECT_EQ(line4(ipv4(6, tcp(0x00, {}, {}))),
            "output eth0 IP 192.0.2.1.40000 > 192.0.2.2.80: Flags [none], win 512, length 0");
  EXPECT_EQ(line4(ipv4(6, tcp(0xff, {}, {}))),
            "output eth0 IP 192.0.2.1.40000 > 192.0.2.2.80: Flags [FSRP.UEW], seq 1000, ack 2000, win 512, urg 9, "
            "length 0");
  EXPECT_EQ(line6(ipv6(6, tcp(0x10, octets(1, 1, 5, 10) + be32(1) + be32(2), {}))),
            "output eth0 IP6 2001:db8::1.40000 > 2001:db8::2.80: Flags [.], ack 2000, win 512, options [sack 1 {1:2}], "
            "length 0");
}

TEST(print, icmp) {
  const std::string start = "output eth0 IP 192.0.2.1 > 192.0.2.2: ICMP ";
  EXPECT_EQ(line4(ipv4(1, icmp(8, 0, 0x00050001, zeros(56)))), start + "echo request, id 5, seq 1, length 64");
  EXPECT_EQ(line4(ipv4(1, icmp(0, 0, 0x00050001, zeros(56)))), start + "echo reply, id 5, seq 1, length 64");
  EXPECT_EQ(line4(ipv4(1, icmp(3, 3, 0, ipv4(17, udp(1, 53, {}))))),
            start + "192.0.2.2 udp port 53 unreachable, length 36");
  EXPECT_EQ(line4(ipv4(1, icmp(3, 1, 0, ipv4(17, udp(1, 53, {}))))), start + "host 192.0.2.2 unreachable, length 36");
  EXPECT_EQ(line4(ipv4(1, icmp(3, 4, 1400, ipv4(17, udp(1, 53, {}))))),
            start + "192.0.2.2 unreachable - need to frag (mtu 1400), length 36");
  EXPECT_EQ(line4(ipv4(1, icmp(3, 3, 0, octets(0x45)))), start + "[|ip] unreachable, length 9");
  EXPECT_EQ(line4(ipv4(1, icmp(11, 0, 0, {}))), start + "time exceeded in-transit, length 8");
  EXPECT_EQ(line4(ipv4(1, icmp(99, 1, 0, {}))), start + "type 99, code 1, length 8");
}

TEST(print, icmpv6) {
  const std::string start = "output eth0 IP6 2001:db8::1 > 2001:db8::2: ICMP6, ";
  EXPECT_EQ(line6(ipv6(58, icmp(128, 0, 0x00050001, zeros(4)))), start + "echo request, id 5, seq 1, length 12");
  EXPECT_EQ(line6(ipv6(58, icmp(135, 0, 0, octets(0xfe, 0x80) + zeros(13) + octets(9)))),
            start + "neighbor solicitation, who has fe80::9, length 24");
  EXPECT_EQ(line6(ipv6(58, icmp(136, 0, 0, zeros(15)))), start + "neighbor advertisement, tgt is [|icmp6], length 23");
  EXPECT_EQ(line6(ipv6(58, icmp(2, 0, 1280, {}))), start + "packet too big, mtu 1280, length 8");
  EXPECT_EQ(line6(ipv6(58, icmp(1, 4, 0, ipv6(17, udp(1, 53, {}))))),
            start + "destination unreachable, 2001:db8::2 udp port 53 (code 4), length 56");
}

TEST(print, fragments) {
  EXPECT_EQ(line4(ipv4(17, udp(5000, 53, zeros(1472)), 0x2000)),
            "output eth0 IP 192.0.2.1.5000 > 192.0.2.2.53: UDP, length 1472 (frag 7:1480@0+)");
  EXPECT_EQ(line4(ipv4(17, zeros(100), 185)),
            "output eth0 IP 192.0.2.1 > 192.0.2.2: udp, length 100 (frag 7:100@1480)");
  const auto fragment = [](unsigned offset_and_more) { return octets(17, 0) + be16(offset_and_more) + be32(77); };
  EXPECT_EQ(line6(ipv6(44, fragment(1) + udp(5000, 53, {}))),
            "output eth0 IP6 2001:db8::1.5000 > 2001:db8::2.53: UDP, length 0 (frag 77:8@0+)");
  EXPECT_EQ(line6(ipv6(44, fragment(1480) + zeros(5))),
            "output eth0 IP6 2001:db8::1 > 2001:db8::2: udp, length 5 (frag 77:5@1480)");
}

TEST(print, what_is_cut_or_malformed) {
  bytes payload = ipv4(17, udp(5000, 53, zeros(72)));
  payload.resize(40);
  ipq::packet cut = packet_of(payload);
  cut.original_length = 100;
  cut.truncated = true;
  EXPECT_EQ(line(cut), "output eth0 IP 192.0.2.1.5000 > 192.0.2.2.53: UDP, length 72 (40 of 100 bytes)");
  payload.resize(24);
  EXPECT_EQ(line4(payload), "output eth0 IP 192.0.2.1 > 192.0.2.2: [|udp], length 80 (24 of 100 bytes)");
  payload.resize(19);
  EXPECT_EQ(line4(payload), "output eth0 IP [bad header], length 19");
  EXPECT_EQ(line4({}), "output eth0 IP (no bytes asked for)");
  bytes short_header = tcp(2, {}, {});
  short_header[12] = std::byte{0x10};
  EXPECT_EQ(line4(ipv4(6, short_header)), "output eth0 IP 192.0.2.1 > 192.0.2.2: tcp [bad header], length 20");
  EXPECT_EQ(line6(ipv6(60, octets(17, 9, 0, 0))),
            "output eth0 IP6 2001:db8::1 > 2001:db8::2: [|ext-header 60], length 4");
  EXPECT_EQ(line4(ipv4(47, zeros(4))), "output eth0 IP 192.0.2.1 > 192.0.2.2: GRE, length 4");
  EXPECT_EQ(line4(ipv4(200, zeros(4))), "output eth0 IP 192.0.2.1 > 192.0.2.2: ip-proto-200, length 4");
  ipq::packet arp = packet_of(payload);
  arp.family = 7;
  arp.hw_protocol = 0x0806;
  EXPECT_EQ(line(arp), "output eth0 ethertype 0x0806, length 19");
}

TEST(print, bytes_as_tcpdump_x) {
  const bytes payload = ipv4(17, udp(5000, 53, octets(1, 2, 3)));
  EXPECT_EQ(line(packet_of(payload), {.time = false, .bytes = true}),
            "output eth0 IP 192.0.2.1.5000 > 192.0.2.2.53: UDP, length 3\n"
            "\t0x0000:  4500 001f 0007 0000 4011 0000 c000 0201\n"
            "\t0x0010:  c000 0202 1388 0035 000b 0000 0102 03");
}

TEST(print, names_cannot_move_the_cursor) {
  const bytes payload = ipv4(17, udp(5000, 53, {}));
  ipq::packet packet = packet_of(payload);
  packet.outdev = 3;
  EXPECT_TRUE(line(packet).starts_with("output et?h1 IP")) << line(packet);
}

std::string json(const ipq::packet& packet, const print_style& style = timeless) {
  fmt::memory_buffer out;
  print_json(out, packet, name_of, style);
  return fmt::to_string(out);
}

TEST(print, json) {
  const bytes payload = ipv4(17, udp(5000, 53, octets(1, 2, 3)));
  ipq::packet packet = packet_of(payload);
  packet.mark = 7;
  packet.uid = 0;
  EXPECT_EQ(json(packet, {.time = false, .bytes = true}),
            R"({"queue":0,"id":12,"hook":"output","outdev":"eth0","mark":7,"uid":0,"length":31,)"
            R"("ip":{"version":4,"source":"192.0.2.1","destination":"192.0.2.2","protocol":17,"ttl":64,"dscp":0},)"
            R"("udp":{"source_port":5000,"destination_port":53,"length":11},)"
            R"("payload":"4500001f0007000040110000c0000201c000020213880035000b0000010203"})");
  const bytes syn = ipv6(6, tcp(2, {}, {}));
  EXPECT_EQ(json(packet_of(syn, true)),
            R"({"queue":0,"id":12,"hook":"output","outdev":"eth0","length":60,)"
            R"("ip":{"version":6,"source":"2001:db8::1","destination":"2001:db8::2","protocol":6,"ttl":64,"dscp":0},)"
            R"("tcp":{"source_port":40000,"destination_port":80,"flags":"S","sequence":1000,"acknowledgment":2000,)"
            R"("window":512}})");
  const bytes ping = ipv4(1, icmp(8, 0, 0x00050001, {}));
  EXPECT_EQ(nlohmann::json::parse(json(packet_of(ping)))["icmp"].dump(), R"({"code":0,"id":5,"sequence":1,"type":8})");
  const bytes later = ipv4(17, zeros(100), 185);
  EXPECT_EQ(nlohmann::json::parse(json(packet_of(later)))["ip"]["fragment"], "later");
  const bytes bad = octets(0x45, 0);
  EXPECT_EQ(json(packet_of(bad)), R"({"queue":0,"id":12,"hook":"output","outdev":"eth0","length":2,"malformed":true})");
  fmt::memory_buffer out;
  print_json(out, packet, name_of, {}, wall_clock::time_point(std::chrono::milliseconds(1500)));
  EXPECT_EQ(nlohmann::json::parse(fmt::to_string(out))["time"], 1.5);
}

// Every cut and every changed byte of every kind of packet: printed without a fault (the sanitizers watch), as one line
// of printable characters, and as JSON.
TEST(print, any_bytes) {
  const bytes whole[] = {
      ipv4(17, udp(5000, 53, octets(1, 2, 3))),
      ipv4(6, tcp(2, octets(2, 4, 5, 0xb4, 4, 2, 8, 10) + be32(7) + be32(0) + octets(1, 3, 3, 7), octets(9))),
      ipv4(1, icmp(3, 3, 0, ipv4(17, udp(1, 53, {})))),
      ipv6(58, icmp(1, 4, 0, ipv6(6, tcp(2, {}, {})))),
      ipv6(58, icmp(135, 0, 0, zeros(16))),
      ipv6(44, octets(17, 0, 0, 1, 0, 0, 0, 7) + udp(5000, 53, {})),
      ipv6(0, octets(60, 0, 0, 0, 0, 0, 0, 0) + octets(43, 0, 0, 0, 0, 0, 0, 0) + octets(17, 0, 0, 1, 0, 0, 0, 0)),
  };
  std::size_t printed = 0;
  const auto try_it = [&](const bytes& payload) {
    // Exactly as many bytes as there are, so that the sanitizers see what reads beyond.
    const bytes exact(payload);
    for (const bool six : {false, true}) {
      const std::string text = line(packet_of(exact, six));
      ASSERT_TRUE(std::ranges::all_of(text, [](char c) { return c >= ' ' && c < 0x7f; })) << text;
      ASSERT_TRUE(nlohmann::json::accept(json(packet_of(exact, six)))) << text;
      ++printed;
    }
  };
  for (const bytes& each : whole) {
    for (std::size_t size = 0; size <= each.size(); ++size)
      try_it(bytes(each.begin(), each.begin() + static_cast<long>(size)));
    for (std::size_t at = 0; at < each.size(); ++at) {
      for (const unsigned value : {0u, 1u, 4u, 0x0fu, 0x2cu, 0x7fu, 0x80u, 0xffu}) {
        bytes changed = each;
        changed[at] = static_cast<std::byte>(value);
        try_it(changed);
      }
    }
  }
  EXPECT_GT(printed, 5000u);
}

TEST(print, times_before_1970_too) {
  const bytes payload = ipv4(17, udp(1, 2, {}));
  for (const auto& [when, wanted] : {std::pair(-1ns, ".999999 "), {-999'995us, ".000005 "}, {-5s, ".000000 "}}) {
    fmt::memory_buffer out;
    const wall_clock::time_point at(std::chrono::duration_cast<wall_clock::duration>(when));
    print_line(out, packet_of(payload), {}, {.time = true}, at);
    const std::string text = fmt::to_string(out);
    EXPECT_EQ(text.substr(8, 8), wanted) << text;
  }
}

}  // namespace
}  // namespace tool
