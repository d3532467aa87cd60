// SPDX-License-Identifier: MIT
// Views and decode: what they say of packets of every kind, and that no bytes lead them astray.
#include "ipq/decode.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "ipq/icmp.hpp"
#include "ipq/ipv4.hpp"
#include "ipq/ipv6.hpp"
#include "ipq/tcp.hpp"
#include "ipq/udp.hpp"

namespace ipq {
namespace {

std::vector<std::byte> hex(std::string_view text) {
  std::vector<std::byte> bytes;
  for (std::size_t at = 0; at + 1 < text.size();) {
    if (text[at] == ' ') {
      ++at;
      continue;
    }
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(text.substr(at, 2)), nullptr, 16)));
    at += 2;
  }
  return bytes;
}

// 192.0.2.1 -> 192.0.2.2, TTL 64, with a router alert option, UDP 5000 -> 53 with two bytes.
const auto ipv4_udp =
    hex("46b8 0022 1234 4000 4011 0000 c0000201 c0000202 94040000"
        "1388 0035 000a abcd 6869");
// 2001:db8::1 -> 2001:db8::2, hop limit 7, TCP SYN with MSS 1460 and window scale.
const auto ipv6_tcp =
    hex("6b812345 001c 06 07 20010db8000000000000000000000001 20010db8000000000000000000000002"
        "1388 01bb 00000001 00000002 7002 ffff 1234 0000 020405b4 01030307");

TEST(ipv4_view, reads_every_field) {
  const auto ip = ipv4_view::parse(ipv4_udp);
  ASSERT_TRUE(ip);
  EXPECT_EQ(ip->header_length(), 24u);
  EXPECT_EQ(ip->dscp(), 46);
  EXPECT_EQ(ip->ecn(), 0);
  EXPECT_EQ(ip->total_length(), 34);
  EXPECT_EQ(ip->identification(), 0x1234);
  EXPECT_TRUE(ip->dont_fragment());
  EXPECT_FALSE(ip->is_fragment());
  EXPECT_EQ(ip->fragment(), fragment_state::none);
  EXPECT_EQ(ip->time_to_live(), 64);
  EXPECT_EQ(ip->protocol(), ip_protocol::udp);
  EXPECT_EQ(ip->source().to_string(), "192.0.2.1");
  EXPECT_EQ(ip->destination().to_string(), "192.0.2.2");
  std::size_t options = 0;
  for (const auto& option : ip->options()) {
    EXPECT_EQ(option.kind, 148);
    EXPECT_EQ(option.data.size(), 2u);
    ++options;
  }
  EXPECT_EQ(options, 1u);
  const auto udp = udp_view::parse(ip->payload());
  ASSERT_TRUE(udp);
  EXPECT_EQ(udp->source_port(), 5000);
  EXPECT_EQ(udp->destination_port(), 53);
  EXPECT_EQ(udp->length(), 10);
  EXPECT_EQ(udp->checksum(), 0xabcd);
  EXPECT_EQ(udp->payload().size(), 2u);
}

TEST(ipv4_view, fragments) {
  auto bytes = ipv4_udp;
  bytes[6] = std::byte{0x20};
  EXPECT_EQ(ipv4_view::parse(bytes)->fragment(), fragment_state::first);
  EXPECT_TRUE(decode(bytes)->has_transport);
  bytes[6] = std::byte{0x20};
  bytes[7] = std::byte{0x03};
  EXPECT_EQ(ipv4_view::parse(bytes)->fragment_offset(), 24u);
  EXPECT_EQ(ipv4_view::parse(bytes)->fragment(), fragment_state::later);
  EXPECT_FALSE(decode(bytes)->has_transport) << "a later fragment has no transport header";
}

TEST(ipv4_view, refuses_what_is_no_ipv4_header) {
  const auto with = [](std::size_t at, unsigned value) {
    auto bytes = ipv4_udp;
    bytes[at] = static_cast<std::byte>(value);
    return ipv4_view::parse(bytes).has_value();
  };
  EXPECT_TRUE(with(8, 1));
  EXPECT_FALSE(with(0, 0x66)) << "version";
  EXPECT_FALSE(with(0, 0x44)) << "header length below 20";
  EXPECT_FALSE(with(0, 0x4f)) << "header beyond the bytes";
  EXPECT_FALSE(with(3, 23)) << "total length within the header";
  EXPECT_TRUE(ipv4_view::parse(std::span(ipv4_udp).first(30))->truncated());
  EXPECT_FALSE(ipv4_view::parse(ipv4_udp)->truncated());
}

TEST(ipv4_view, bytes_behind_the_end_are_left_out) {
  auto padded = ipv4_udp;
  padded.resize(60);
  EXPECT_EQ(ipv4_view::parse(padded)->bytes().size(), 34u);
  EXPECT_EQ(decode(padded)->end, 34u);
}

TEST(ipv6_view, reads_every_field) {
  const auto ip = ipv6_view::parse(ipv6_tcp);
  ASSERT_TRUE(ip);
  EXPECT_EQ(ip->dscp(), 46);
  EXPECT_EQ(ip->ecn(), 0);
  EXPECT_EQ(ip->flow_label(), 0x12345u);
  EXPECT_EQ(ip->payload_length(), 28);
  EXPECT_EQ(ip->next_header(), ip_protocol::tcp);
  EXPECT_EQ(ip->hop_limit(), 7);
  EXPECT_EQ(ip->source().to_string(), "2001:db8::1");
  EXPECT_EQ(ip->destination().to_string(), "2001:db8::2");
  const auto tcp = tcp_view::parse(ip->payload());
  ASSERT_TRUE(tcp);
  EXPECT_EQ(tcp->source_port(), 5000);
  EXPECT_EQ(tcp->destination_port(), 443);
  EXPECT_EQ(tcp->sequence_number(), 1u);
  EXPECT_EQ(tcp->acknowledgment_number(), 2u);
  EXPECT_EQ(tcp->header_length(), 28u);
  EXPECT_TRUE(tcp->syn());
  EXPECT_FALSE(tcp->ack() || tcp->fin() || tcp->rst());
  EXPECT_EQ(tcp->window(), 0xffff);
  std::vector<int> kinds;
  for (const auto& option : tcp->options()) kinds.push_back(option.kind);
  EXPECT_EQ(kinds, (std::vector<int>{2, 3}));
}

TEST(ipv6_view, walks_extension_headers) {
  // hop-by-hop, routing without segments left, a fragment header that cuts nothing, destination options, ICMPv6 echo.
  const auto bytes =
      hex("60000000 0028 00 40 20010db8000000000000000000000001 20010db8000000000000000000000002"
          "2b00010400000000 2c00000000000000 3c00000000000009 3a00010400000000 8000 0000 0001 0002");
  const auto chain = ipv6_view::parse(bytes)->walk();
  EXPECT_TRUE(chain.complete);
  EXPECT_EQ(chain.headers, 4);
  EXPECT_EQ(chain.transport, ip_protocol::icmpv6);
  EXPECT_EQ(chain.transport_offset, 72u);
  EXPECT_EQ(chain.fragment, fragment_state::atomic);
  EXPECT_EQ(chain.identification, 9u);
  EXPECT_FALSE(chain.routed);
  const auto found = decode(bytes);
  ASSERT_TRUE(found && found->has_transport);
  EXPECT_EQ(found->payload_offset, 80u);
  const auto echo = icmpv6_view::parse(std::span(bytes).subspan(72));
  EXPECT_TRUE(echo->is_echo());
  EXPECT_EQ(echo->identifier(), 1);
  EXPECT_EQ(echo->sequence(), 2);
}

TEST(ipv6_view, later_fragment_has_no_transport) {
  const auto bytes =
      hex("60000000 0010 2c 40 20010db8000000000000000000000001 20010db8000000000000000000000002"
          "1100010100000007 0102030405060708");
  const auto chain = ipv6_view::parse(bytes)->walk();
  EXPECT_EQ(chain.fragment, fragment_state::later);
  EXPECT_EQ(chain.fragment_offset, 256u);
  EXPECT_TRUE(chain.more_fragments);
  EXPECT_EQ(chain.transport, ip_protocol::udp);
  EXPECT_FALSE(decode(bytes)->has_transport);
}

TEST(ipv6_view, walk_is_bounded) {
  std::vector<std::byte> bytes =
      hex("60000000 ffff 00 40 20010db8000000000000000000000001 20010db8000000000000000000000002");
  for (int i = 0; i < 17; ++i) {
    for (const auto byte : hex("0000010400000000")) bytes.push_back(byte);
  }
  const auto chain = ipv6_view::parse(bytes)->walk();
  EXPECT_FALSE(chain.complete);
  EXPECT_EQ(chain.headers, ipv6_view::most_extension_headers);
  EXPECT_FALSE(decode(bytes)->has_transport);
}

TEST(option_range, ends_at_nonsense) {
  const auto kinds = [](std::string_view text) {
    const auto bytes = hex(text);
    std::vector<int> found;
    for (const auto& option : option_range(bytes)) found.push_back(option.kind);
    return found;
  };
  EXPECT_EQ(kinds("0101 020405b4 0402"), (std::vector<int>{2, 4}));
  EXPECT_EQ(kinds("0402 00 0402"), (std::vector<int>{4})) << "end of list";
  EXPECT_EQ(kinds("0402 0301"), (std::vector<int>{4})) << "length below 2";
  EXPECT_EQ(kinds("0402 0307 00"), (std::vector<int>{4})) << "length beyond the header";
  EXPECT_EQ(kinds("05"), (std::vector<int>{}));
}

TEST(address, text_both_ways) {
  EXPECT_EQ(ipv4_address::parse("192.0.2.255")->to_string(), "192.0.2.255");
  for (const char* bad : {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", " 1.2.3.4", "1.2.3.4 ", "1..2.3"}) {
    EXPECT_FALSE(ipv4_address::parse(bad)) << bad;
  }
  for (const char* text : {"::", "::1", "2001:db8::1", "1:2:3:4:5:6:7:8", "fe80::1:0:0:1", "::ffff:192.0.2.1"}) {
    ASSERT_TRUE(ipv6_address::parse(text)) << text;
    EXPECT_EQ(ipv6_address::parse(text)->to_string(), text);
  }
  EXPECT_EQ(ipv6_address::parse("2001:DB8:0:0:1:0:0:1")->to_string(), "2001:db8::1:0:0:1");
  for (const char* bad :
       {"", ":", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "fe80::1%lo", "[::1]", "g::"}) {
    EXPECT_FALSE(ipv6_address::parse(bad)) << bad;
  }
}

/// Reads everything that there is to read; the sanitizers look on.
std::size_t read_all(std::span<const std::byte> bytes) {
  std::size_t touched = 0;
  const auto touch = [&](std::span<const std::byte> part) {
    for (const auto byte : part) touched += std::to_integer<std::size_t>(byte);
  };
  const auto options = [&](const option_range& range) {
    for (const auto& option : range) touch(option.data);
  };
  if (const auto ip = ipv4_view::parse(bytes)) {
    touch(ip->payload());
    options(ip->options());
    touched += ip->source().bytes[0] + ip->fragment_offset();
  }
  if (const auto ip = ipv6_view::parse(bytes)) {
    touch(ip->payload());
    const auto chain = ip->walk();
    EXPECT_LE(chain.transport_offset, bytes.size());
    EXPECT_LE(chain.headers, ipv6_view::most_extension_headers + 1u);
  }
  const auto found = decode(bytes);
  if (!found) return touched;
  EXPECT_LE(found->transport_offset, found->payload_offset);
  EXPECT_LE(found->payload_offset, found->end);
  EXPECT_LE(found->end, bytes.size());
  const auto segment = bytes.subspan(found->transport_offset, found->end - found->transport_offset);
  if (const auto tcp = tcp_view::parse(segment)) {
    options(tcp->options());
    touch(tcp->payload());
  }
  if (const auto udp = udp_view::parse(segment)) touch(udp->payload());
  if (const auto icmp = icmp_view::parse(segment)) touch(icmp->payload());
  return touched;
}

TEST(decode, every_beginning_of_a_packet) {
  for (const auto& whole : {ipv4_udp, ipv6_tcp}) {
    for (std::size_t size = 0; size <= whole.size(); ++size) {
      const std::vector<std::byte> beginning(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      read_all(beginning);
      EXPECT_EQ(decode(beginning).has_value(), size >= (whole == ipv4_udp ? 24u : 40u)) << size;
    }
  }
}

TEST(decode, changed_bytes_lead_nowhere) {
  std::minstd_rand random(1);
  for (int round = 0; round < 200'000; ++round) {
    std::vector<std::byte> bytes = round % 2 == 0 ? ipv4_udp : ipv6_tcp;
    for (auto changes = random() % 6; changes > 0; --changes) {
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    }
    bytes.resize(random() % 4 == 0 ? random() % (bytes.size() + 1) : bytes.size());
    read_all(bytes);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace ipq
