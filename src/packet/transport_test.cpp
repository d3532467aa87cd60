// SPDX-License-Identifier: MIT
// Views of TCP, UDP, ICMP and ICMPv6: every field, what is refused, and that damaged bytes lead nowhere.
#include <gtest/gtest.h>

#include <cstddef>
#include <random>
#include <string_view>
#include <vector>

#include "ipq/icmp.hpp"
#include "ipq/tcp.hpp"
#include "ipq/udp.hpp"

namespace ipq {
namespace {

std::vector<std::byte> hex(std::string_view text) {
  std::vector<std::byte> bytes;
  int high = -1;
  for (const char c : text) {
    if (c == ' ') continue;
    const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
    if (high < 0) {
      high = digit;
    } else {
      bytes.push_back(static_cast<std::byte>(high << 4 | digit));
      high = -1;
    }
  }
  return bytes;
}

// A SYN with a maximum segment size of 1460, "no operation" and a window scale of 7, and three bytes.
const std::vector<std::byte> tcp = hex("c350 0050 01020304 0a0b0c0d 7f52 fff0 abcd 0011 020405b4 01 030307 616263");
const std::vector<std::byte> udp = hex("0035 c350 000b beef 616263");
const std::vector<std::byte> icmp = hex("0800 f7fa 1234 0005 616263");

TEST(tcp_view, reads_every_field) {
  const auto view = tcp_view::parse(tcp);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->source_port(), 50000);
  EXPECT_EQ(view->destination_port(), 80);
  EXPECT_EQ(view->sequence_number(), 0x01020304u);
  EXPECT_EQ(view->acknowledgment_number(), 0x0a0b0c0du);
  EXPECT_EQ(view->header_length(), 28u);
  EXPECT_EQ(view->flags(), 0x52);
  EXPECT_TRUE(view->syn());
  EXPECT_TRUE(view->ack());
  EXPECT_FALSE(view->fin());
  EXPECT_FALSE(view->rst());
  EXPECT_EQ(view->window(), 0xfff0);
  EXPECT_EQ(view->checksum(), 0xabcd);
  EXPECT_EQ(view->urgent_pointer(), 0x11);
  EXPECT_EQ(view->bytes().size(), tcp.size());
  EXPECT_EQ(view->header().size(), 28u);
  EXPECT_EQ(view->payload().size(), 3u);
  std::vector<std::pair<int, std::size_t>> options;
  for (const auto& option : view->options()) options.emplace_back(option.kind, option.data.size());
  EXPECT_EQ(options, (std::vector<std::pair<int, std::size_t>>{{2, 2}, {3, 1}}));
}

TEST(tcp_view, flags_are_told_apart) {
  auto bytes = tcp;
  const auto with = [&](int flags) {
    bytes[13] = static_cast<std::byte>(flags);
    return *tcp_view::parse(bytes);
  };
  EXPECT_TRUE(with(tcp_fin).fin() && !with(0xff & ~tcp_fin).fin());
  EXPECT_TRUE(with(tcp_syn).syn() && !with(0xff & ~tcp_syn).syn());
  EXPECT_TRUE(with(tcp_rst).rst() && !with(0xff & ~tcp_rst).rst());
  EXPECT_TRUE(with(tcp_ack).ack() && !with(0xff & ~tcp_ack).ack());
  EXPECT_EQ(with(tcp_psh | tcp_urg | tcp_ece | tcp_cwr).flags(), 0xe8);
}

TEST(tcp_view, refuses_what_is_no_whole_header) {
  auto bytes = tcp;
  bytes[12] = std::byte{0x40};  // 16 bytes
  EXPECT_FALSE(tcp_view::parse(bytes));
  bytes[12] = std::byte{0xf0};  // 60, but 31 are there
  EXPECT_FALSE(tcp_view::parse(bytes));
  bytes[12] = std::byte{0x50};
  EXPECT_EQ(tcp_view::parse(bytes)->payload().size(), 11u);
  for (std::size_t size = 0; size < 28; ++size) EXPECT_FALSE(tcp_view::parse(std::span(tcp).first(size))) << size;
  EXPECT_TRUE(tcp_view::parse(std::span(tcp).first(28))->payload().empty());
}

TEST(udp_view, reads_every_field) {
  const auto view = udp_view::parse(udp);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->source_port(), 53);
  EXPECT_EQ(view->destination_port(), 50000);
  EXPECT_EQ(view->length(), 11);
  EXPECT_EQ(view->checksum(), 0xbeef);
  EXPECT_EQ(view->bytes().size(), 11u);
  EXPECT_EQ(view->header().size(), 8u);
  EXPECT_EQ(view->payload().size(), 3u);
}

TEST(udp_view, length_decides_as_far_as_bytes_are_there) {
  auto bytes = udp;
  const auto payload_with = [&](int length) -> std::size_t {
    bytes[5] = static_cast<std::byte>(length);
    return udp_view::parse(bytes)->payload().size();
  };
  EXPECT_EQ(payload_with(9), 1u) << "bytes behind it are padding";
  EXPECT_EQ(payload_with(8), 0u);
  EXPECT_EQ(payload_with(200), 3u) << "a packet that is cut";
  EXPECT_EQ(payload_with(0), 3u) << "a jumbogram";
  for (const int length : {1, 7}) {
    bytes[5] = static_cast<std::byte>(length);
    EXPECT_FALSE(udp_view::parse(bytes)) << length;
  }
  for (std::size_t size = 0; size < 8; ++size) EXPECT_FALSE(udp_view::parse(std::span(udp).first(size))) << size;
}

TEST(icmp_view, reads_every_field) {
  const auto view = icmp_view::parse(icmp);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->type(), 8);
  EXPECT_EQ(view->code(), 0);
  EXPECT_EQ(view->checksum(), 0xf7fa);
  EXPECT_EQ(view->identifier(), 0x1234);
  EXPECT_EQ(view->sequence(), 5);
  EXPECT_EQ(view->bytes().size(), 11u);
  EXPECT_EQ(view->header().size(), 8u);
  EXPECT_EQ(view->payload().size(), 3u);
  for (std::size_t size = 0; size < 8; ++size) EXPECT_FALSE(icmp_view::parse(std::span(icmp).first(size))) << size;
}

TEST(icmp_view, kinds_of_messages_are_those_of_its_version) {
  auto bytes = icmp;
  for (int type = 0; type < 256; ++type) {
    bytes[0] = static_cast<std::byte>(type);
    const auto four = *icmp_view::parse(bytes);
    EXPECT_EQ(four.is_echo(), type == 8 || type == 0) << type;
    EXPECT_EQ(four.is_error(), type == 3 || type == 4 || type == 5 || type == 11 || type == 12) << type;
    const auto six = *icmpv6_view::parse(bytes);
    EXPECT_EQ(six.is_echo(), type == 128 || type == 129) << type;
    EXPECT_EQ(six.is_error(), type < 128) << type;
  }
}

TEST(transport_views, damaged_bytes_lead_nowhere) {
  std::minstd_rand random(3);
  std::size_t touched = 0;
  const auto touch = [&](std::span<const std::byte> part) {
    for (const auto byte : part) touched += std::to_integer<std::size_t>(byte);
  };
  const auto read = [&](const auto& view) {
    if (!view) return;
    touch(view->bytes());
    touch(view->header());
    touch(view->payload());
    EXPECT_EQ(view->header().size() + view->payload().size(), view->bytes().size());
  };
  for (int round = 0; round < 100'000; ++round) {
    const auto& whole = round % 3 == 0 ? tcp : round % 3 == 1 ? udp : icmp;
    // Exactly as long as it says, so that the sanitizers see the byte behind it.
    std::vector<std::byte> bytes(whole.begin(),
                                 whole.begin() + static_cast<std::ptrdiff_t>(random() % (whole.size() + 1)));
    for (auto changes = random() % 4; changes > 0 && !bytes.empty(); --changes) {
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    }
    bytes.shrink_to_fit();
    const auto segment = tcp_view::parse(bytes);
    read(segment);
    if (segment) {
      for (const auto& option : segment->options()) touch(option.data);
    }
    read(udp_view::parse(bytes));
    read(icmp_view::parse(bytes));
    read(icmpv6_view::parse(bytes));
    if (HasFailure()) return;
  }
  EXPECT_GT(touched, 0u);
}

}  // namespace
}  // namespace ipq
