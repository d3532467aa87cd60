// SPDX-License-Identifier: MIT
// The reader on files that are as they should be: every format, link type and way of deciding.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "ipq/capture.hpp"
#include "ipq/owned_packet.hpp"
#include "unit/capture_bytes.hpp"

namespace ipq {
namespace {

using namespace std::chrono_literals;
using test::capture_bytes;
using test::ethernet;
using test::udp4;
using test::udp6;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct capture_reader_test : testing::Test {
  test::test_folder folder;

  capture_reader open(std::string_view bytes, capture_options options = {}) {
    auto opened = capture_reader::open(folder.write("capture", bytes), options);
    EXPECT_TRUE(opened) << opened.error().message();
    return *std::move(opened);
  }
  /// All packets of a source, which gets `answer` for each.
  static std::vector<owned_packet> take(capture_reader& from, const verdict& answer = verdict::accept()) {
    std::vector<owned_packet> all;
    const auto ended = serve(from, [&](const packet& each) {
      all.emplace_back(each);
      return answer;
    });
    EXPECT_TRUE(ended) << ended.error().message();
    return all;
  }
  std::vector<owned_packet> take(std::string_view bytes, const capture_options& options = {}) {
    auto from = open(bytes, options);
    return take(from);
  }
};

TEST_F(capture_reader_test, reads_pcap_of_both_byte_orders_and_both_fractions) {
  for (const bool swapped : {false, true}) {
    for (const bool nanoseconds : {false, true}) {
      SCOPED_TRACE(testing::Message() << swapped << nanoseconds);
      auto from = open(capture_bytes(swapped)
                           .pcap(101, nanoseconds)
                           .frame(udp4(10), 1'700'000'000, 123'456)
                           .frame(udp6(20), 0xffffffff, 0)
                           .data);
      const auto all = from.receive();
      ASSERT_TRUE(all);
      ASSERT_EQ(all->size(), 2u);
      const packet& first = (*all)[0];
      EXPECT_EQ(first.id, 1u);
      EXPECT_EQ(first.family, 2);
      EXPECT_EQ(first.hw_protocol, 0x0800);
      EXPECT_EQ(first.hook, 2);
      EXPECT_EQ(text_of(first.payload), udp4(10));
      EXPECT_EQ(first.original_length, 38u);
      EXPECT_FALSE(first.truncated);
      ASSERT_TRUE(first.timestamp);
      EXPECT_EQ(first.timestamp->seconds, 1'700'000'000);
      EXPECT_EQ(first.timestamp->microseconds, nanoseconds ? 123 : 123'456);
      EXPECT_EQ(from.frame_of(first)->time.count(), 1'700'000'000'000'000'000 + (nanoseconds ? 123'456 : 123'456'000));
      EXPECT_EQ(from.frame_of(first)->number, 1u);
      EXPECT_EQ(from.frame_of(first)->offset, 24u);
      EXPECT_EQ((*all)[1].family, 10);
      EXPECT_EQ((*all)[1].hw_protocol, 0x86dd);
      EXPECT_EQ((*all)[1].timestamp->seconds, 4'294'967'295);
      EXPECT_EQ(from.frame_of((*all)[1])->offset, 24u + 16 + 38);
    }
  }
}

TEST_F(capture_reader_test, reads_pcapng_of_both_byte_orders_with_interfaces_of_several_link_types) {
  for (const bool swapped : {false, true}) {
    SCOPED_TRACE(swapped);
    capture_bytes file(swapped);
    const std::string nanoseconds = file.option(9, std::string(1, 9));
    const std::string binary = file.option(9, std::string(1, static_cast<char>(0x80 | 10)));  // 1/1024 s
    file.section().interface(1, "eth0").interface(101, "tun0", nanoseconds).interface(101, {}, binary);
    file.packet(udp4(1), 1, 1'500'000'000'000'000'001).packet(ethernet(0x0800) + udp4(2), 0, 2'000'001);
    file.block(5, std::string(12, '\0')).packet(udp6(3), 2, 512);
    file.section().interface(101, "tun0").interface(101, "wan,%\x01").packet(udp4(4), 0).packet(udp4(5), 1);
    auto from = open(file.data);
    const auto all = take(from);
    ASSERT_EQ(all.size(), 5u);
    EXPECT_EQ(from.interface_name(all[0]->indev), "tun0");
    EXPECT_EQ(from.interface_name(all[1]->indev), "eth0");
    EXPECT_EQ(from.interface_name(all[2]->indev), "");
    EXPECT_EQ(all[2]->indev, 0u);
    EXPECT_EQ(all[3]->indev, all[0]->indev) << "a name has one index in all sections";
    EXPECT_EQ(from.interface_name(all[4]->indev), "wan,%\x01");
    EXPECT_EQ(from.interface_name(77), "");
    EXPECT_EQ(all[0]->timestamp->seconds, 1'500'000'000);
    EXPECT_EQ(all[1]->timestamp->seconds, 2);
    EXPECT_EQ(all[1]->timestamp->microseconds, 1);
    EXPECT_EQ(all[2]->timestamp->microseconds, 500'000);
  }
}

// Who adds to a time must not leave the range of 64 bits.
TEST_F(capture_reader_test, takes_times_that_nobody_lives_to_see_for_the_last_that_are_counted) {
  capture_bytes file;
  const auto nanoseconds = [&](std::uint64_t seconds_more) {
    return file.option(9, std::string(1, 9)) +
           file.option(14, std::string(reinterpret_cast<const char*>(&seconds_more), sizeof seconds_more));
  };
  file.section().interface(101, "late", nanoseconds(0)).interface(101, "early", nanoseconds(std::uint64_t{1} << 63));
  file.packet(udp4(1), 0, 0x7fffffffffffffff).packet(udp4(1), 0, ~std::uint64_t{0}).packet(udp4(1), 1, 1);
  file.packet(udp4(1), 0, (std::uint64_t{1} << 62) - 1);
  auto from = open(file.data);
  const auto all = from.receive();
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 4u);
  constexpr std::chrono::nanoseconds farthest{std::int64_t{1} << 62};
  EXPECT_EQ(from.frame_of((*all)[0])->time, farthest);
  EXPECT_EQ(from.frame_of((*all)[1])->time, farthest);
  EXPECT_EQ(from.frame_of((*all)[2])->time, -farthest);
  EXPECT_EQ(from.frame_of((*all)[3])->time, farthest - 1ns);
}

TEST_F(capture_reader_test, reads_simple_and_old_packet_blocks) {
  capture_bytes file, simple, old;
  simple.add<std::uint32_t>(38).add_text(udp4(10)).add<std::uint16_t>(0);
  old.add<std::uint16_t>(1).add<std::uint16_t>(7).add<std::uint32_t>(0).add<std::uint32_t>(3'000'000);
  old.add<std::uint32_t>(30).add<std::uint32_t>(60).add_text(udp4(32).substr(0, 30)).add<std::uint16_t>(0);
  file.section().interface(101, "a").interface(101, "b").block(3, simple.data).block(2, old.data);
  auto from = open(file.data);
  const auto all = take(from);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(text_of(all[0]->payload), udp4(10));
  EXPECT_EQ(from.interface_name(all[0]->indev), "a");
  EXPECT_EQ(from.interface_name(all[1]->indev), "b");
  EXPECT_EQ(all[1]->timestamp->seconds, 3);
  EXPECT_TRUE(all[1]->truncated);
  EXPECT_EQ(all[1]->original_length, 60u);
}

TEST_F(capture_reader_test, takes_metadata_from_ethernet_and_its_tags) {
  auto from = open(capture_bytes()
                       .pcap(1)
                       .frame(ethernet(0x0800) + udp4(1) + "padding")
                       .frame(ethernet(0x86dd, {0x88a8a00a, 0x8100a014}) + udp6(2))
                       .frame(ethernet(0x0806) + "who has")
                       .frame(ethernet(0x0800, {0x8100a014}))
                       .frame("short")
                       .frame("")
                       .data);
  const auto all = take(from);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(text_of(all[0]->payload), udp4(1)) << "without the padding";
  EXPECT_FALSE(all[0]->truncated);
  EXPECT_EQ(all[0]->hw_addr_length, 6);
  EXPECT_EQ(all[0]->hw_addr, (std::array<std::uint8_t, 8>{2, 0, 0, 0, 0, 1, 0, 0}));
  EXPECT_EQ(text_of(all[0]->l2_header), ethernet(0x0800));
  EXPECT_FALSE(all[0]->vlan);
  ASSERT_TRUE(all[1]->vlan);
  EXPECT_EQ(all[1]->vlan->protocol, 0x88a8);
  EXPECT_EQ(all[1]->vlan->tci, 0xa00a);
  EXPECT_EQ(all[1]->l2_header.size(), 22u);
  EXPECT_EQ(text_of(all[1]->payload), udp6(2));
  const auto counts = from.counts();
  EXPECT_EQ(counts.frames, 6u);
  EXPECT_EQ(counts.not_ip, 3u);
  EXPECT_EQ(counts.malformed, 1u);
  EXPECT_EQ(from.stats().malformed, 1u);
}

TEST_F(capture_reader_test, cuts_padding_off_behind_an_ipv6_packet_with_nothing_in_it) {
  std::string empty = udp6(0).substr(0, 40);
  empty[4] = empty[5] = 0;
  empty[6] = 59;  // no next header
  std::string not_yet_cut = udp6(20);
  not_yet_cut[4] = not_yet_cut[5] = 0;
  const auto all = take(
      capture_bytes().pcap(1).frame(ethernet(0x86dd) + empty + "pading").frame(ethernet(0x86dd) + not_yet_cut).data);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(text_of(all[0]->payload), empty);
  EXPECT_EQ(all[0]->original_length, 40u);
  EXPECT_EQ(all[1]->payload.size(), 68u) << "a length of 0 says nothing there";
}

TEST_F(capture_reader_test, takes_metadata_from_cooked_headers) {
  capture_bytes one(true), two(true);
  one.add<std::uint16_t>(4).add<std::uint16_t>(1).add<std::uint16_t>(6).add_text("abcdef").add<std::uint16_t>(0);
  two.add<std::uint16_t>(0x86dd).add<std::uint16_t>(0).add<std::uint32_t>(7).add<std::uint16_t>(1);
  two.add<std::uint8_t>(4).add<std::uint8_t>(200).add_text("abcdefgh");
  const auto first = take(capture_bytes().pcap(113).frame(one.data + "\x08" + '\0' + udp4(1)).data);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0]->hw_addr_length, 6);
  EXPECT_EQ(first[0]->hw_addr[0], 'a');
  EXPECT_EQ(text_of(first[0]->payload), udp4(1));
  auto from = open(capture_bytes().pcap(276).frame(two.data + udp6(1)).frame(two.data + udp6(2)).data);
  const auto second = take(from);
  ASSERT_EQ(second.size(), 2u);
  EXPECT_EQ(second[0]->hw_addr_length, 8) << "a length that lies is cut";
  EXPECT_EQ(from.interface_name(second[0]->indev), "if7");
  EXPECT_EQ(second[1]->indev, second[0]->indev);
}

TEST_F(capture_reader_test, takes_vlan_tags_from_behind_cooked_headers) {
  for (const auto protocol : std::to_array<std::uint16_t>({0x8100, 0x88a8, 0x9100})) {
    SCOPED_TRACE(protocol);
    capture_bytes one(true), two(true), tag(true);
    one.add<std::uint16_t>(0).add<std::uint16_t>(1).add<std::uint16_t>(6).add_text("abcdef  ").add(protocol);
    two.add(protocol).add<std::uint16_t>(0).add<std::uint32_t>(7).add<std::uint16_t>(1);
    two.add<std::uint8_t>(4).add<std::uint8_t>(6).add_text("abcdef  ");
    tag.add<std::uint16_t>(0xa00a).add<std::uint16_t>(0x8100).add<std::uint16_t>(5).add<std::uint16_t>(0x0800);
    const std::string tagged = ethernet(0x0800, {std::uint32_t{protocol} << 16 | 0xa00a, 0x81000005});
    for (const auto& [link, header] :
         {std::pair{113u, one.data + tag.data}, {276u, two.data + tag.data}, {1u, tagged}}) {
      const auto all = take(capture_bytes().pcap(link).frame(header + udp4(3)).data);
      ASSERT_EQ(all.size(), 1u) << link;
      EXPECT_EQ(text_of(all[0]->payload), udp4(3));
      ASSERT_TRUE(all[0]->vlan);
      EXPECT_EQ(all[0]->vlan->protocol, protocol) << "the outermost";
      EXPECT_EQ(all[0]->vlan->tci, 0xa00a);
      EXPECT_EQ(text_of(all[0]->l2_header), link == 1 ? header : "");
      auto cut = open(capture_bytes().pcap(link).frame(header.substr(0, header.size() - 3)).data);
      EXPECT_TRUE(take(cut).empty()) << "the header ends within a tag";
    }
  }
}

TEST_F(capture_reader_test, knows_the_families_of_loopback_in_every_byte_order) {
  for (const bool swapped : {false, true}) {
    capture_bytes null(swapped), loop(true);
    const auto all = take(capture_bytes(swapped)
                              .pcap(0)
                              .frame(null.add<std::uint32_t>(2).data + udp4(1))
                              .frame(capture_bytes(swapped).add<std::uint32_t>(30).data + udp6(1))
                              .frame(capture_bytes(swapped).add<std::uint32_t>(16).data + "x")
                              .data);
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[1]->family, 10);
    for (const std::uint32_t family : {10u, 24u, 28u, 30u}) {
      const std::string here = capture_bytes(swapped).add(family).data,
                        big_endian = capture_bytes(true).add(family).data;
      EXPECT_EQ(take(capture_bytes(swapped).pcap(0).frame(here + udp6(1)).data).size(), 1u) << family;
      EXPECT_EQ(take(capture_bytes(swapped).pcap(108).frame(big_endian + udp6(1)).data).size(), 1u) << family;
    }
    EXPECT_EQ(take(capture_bytes(swapped).pcap(108).frame(loop.add<std::uint32_t>(24).data + udp6(1)).data).size(), 1u);
  }
  // A family in the other byte order than the file's: it was written on another machine than captured.
  for (const bool swapped : {false, true}) {
    const std::string there = capture_bytes(!swapped).add<std::uint32_t>(2).data,
                      there_6 = capture_bytes(!swapped).add<std::uint32_t>(30).data,
                      neither = capture_bytes(!swapped).add<std::uint32_t>(0x10002).data;
    const auto file = capture_bytes(swapped).pcap(0).frame(there + udp4(1)).frame(there_6 + udp6(1));
    EXPECT_EQ(take(file.data).size(), 2u) << swapped;
    EXPECT_TRUE(take(capture_bytes(swapped).pcap(0).frame(neither + udp4(1)).data).empty()) << swapped;
  }
  for (const auto type : {12u, 14u, 101u}) EXPECT_EQ(take(capture_bytes().pcap(type).frame(udp6(1)).data).size(), 1u);
  EXPECT_EQ(take(capture_bytes().pcap(228).frame(udp4(1)).frame(udp6(1)).data).size(), 1u);
  EXPECT_EQ(take(capture_bytes().pcap(229).frame(udp4(1)).frame(udp6(1)).data).size(), 1u);
}

TEST_F(capture_reader_test, marks_what_the_capture_cut) {
  const auto all = take(capture_bytes()
                            .pcap(1)
                            .frame(ethernet(0x0800) + udp4(100).substr(0, 40), 0, 0, 14 + 128)
                            .frame(ethernet(0x0800) + udp4(4) + "cut", 0, 0, 60)
                            .frame(ethernet(0x0800) + udp4(100).substr(0, 40))
                            .data);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_TRUE(all[0]->truncated);
  EXPECT_EQ(all[0]->original_length, 128u);
  EXPECT_EQ(all[0]->payload.size(), 40u);
  EXPECT_FALSE(all[1]->truncated) << "only padding was cut";
  EXPECT_FALSE(all[2]->truncated) << "it is wrong, and was no longer";
  EXPECT_EQ(all[2]->original_length, 40u);
}

TEST_F(capture_reader_test, puts_hook_and_interface_where_the_options_say) {
  const auto bytes = capture_bytes().pcap(101).frame(udp4(1)).data;
  auto from = open(bytes, {.hook = 3, .interface = "wan"});
  const auto all = take(from);
  EXPECT_EQ(all[0]->hook, 3);
  EXPECT_EQ(all[0]->indev, 0u);
  EXPECT_EQ(from.interface_name(all[0]->outdev), "wan");
  for (const capture_options& bad :
       {capture_options{.hook = 5}, capture_options{.pace = -1}, capture_options{.pace = 0. / 0.},
        capture_options{.unanswered = verdict::accept().with_payload(all[0]->payload)}}) {
    const auto refused = capture_reader::open(folder / "capture", bad);
    ASSERT_FALSE(refused);
    EXPECT_TRUE(refused.error().is(EINVAL)) << refused.error().message();
  }
}

TEST_F(capture_reader_test, unpacks_gzip_and_zstandard_also_in_several_pieces) {
  capture_bytes file;
  file.pcap(101);
  for (unsigned i = 0; i < 5000; ++i) file.frame(udp4(i % 700, static_cast<char>(i * 7)), i);
  const std::string plain = folder.write("plain", file.data);
  const std::string half = std::to_string(file.data.size() / 2);
  for (const std::string pack : {"gzip -c", "zstd -qc"}) {
    const std::string command = "{ head -c " + half + " " + plain + " | " + pack + "; tail -c +$((" + half + " + 1)) " +
                                plain + " | " + pack + "; } >" + (folder / "packed");
    if (std::system(command.c_str()) != 0) GTEST_SKIP() << "there is no " << pack;
    auto from = capture_reader::open(folder / "packed");
    ASSERT_TRUE(from) << from.error().message();
    const auto all = take(*from);
    ASSERT_EQ(all.size(), 5000u) << pack;
    EXPECT_EQ(text_of(all[4999]->payload), udp4(4999 % 700, static_cast<char>(4999u * 7)));
    EXPECT_LT(from->counts().bytes, file.data.size() / 2);
    EXPECT_EQ(from->counts().bytes, from->counts().file_size);
  }
}

TEST_F(capture_reader_test, unpacks_gzip_that_is_filled_up_with_zeros) {
  folder.write("plain", capture_bytes().pcap(101).frame(udp4(1)).frame(udp4(2)).data);
  const auto pack = [&](std::string_view fillings) {
    return "cd " + (folder / ".") + " && { gzip -c plain; " + std::string(fillings) + "; } >packed";
  };
  if (std::system(pack("head -c 200000 /dev/zero").c_str()) != 0) GTEST_SKIP() << "there is no gzip";
  EXPECT_EQ(take(folder.read("packed")).size(), 2u);
  ASSERT_EQ(std::system(pack("head -c 7 /dev/zero; gzip -c plain | tail -c +1").c_str()), 0);
  auto twice = capture_reader::open(folder / "packed");
  ASSERT_TRUE(twice);
  EXPECT_EQ(twice->receive()->size(), 2u);
  ASSERT_EQ(std::system(pack("head -c 7 /dev/zero; echo garbage").c_str()), 0);
  auto garbage = capture_reader::open(folder / "packed");
  ASSERT_TRUE(garbage);
  EXPECT_EQ(garbage->receive()->size(), 2u);
  EXPECT_TRUE(garbage->receive().error().is(EBADMSG));
}

// As pzstd writes it: each frame behind one that says how long it is.
TEST_F(capture_reader_test, unpacks_zstandard_that_begins_with_a_frame_to_skip) {
  const std::string plain = folder.write("plain", capture_bytes().pcap(101).frame(udp4(1)).frame(udp4(2)).data);
  if (std::system(("zstd -qc " + plain + " >" + (folder / "packed")).c_str()) != 0) GTEST_SKIP() << "there is no zstd";
  const std::string packed = folder.read("packed");
  for (const char kind : {'\x50', '\x5f'}) {
    folder.write("capture", kind + std::string("\x2a\x4d\x18\x04\0\0\0size", 11) + packed);
    auto from = capture_reader::open(folder / "capture");
    ASSERT_TRUE(from) << from.error().message();
    EXPECT_EQ(take(*from).size(), 2u);
  }
}

// ---- verdicts

TEST_F(capture_reader_test, counts_verdicts_and_what_got_none) {
  capture_bytes file;
  file.pcap(101);
  for (int i = 0; i < 8; ++i) file.frame(udp4(1));
  auto from = open(file.data);
  const auto all = from.receive();
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 8u);
  EXPECT_TRUE(from.set_verdict((*all)[0], verdict::accept()));
  EXPECT_TRUE(from.set_verdict((*all)[1], verdict::drop()));
  EXPECT_TRUE(from.set_verdict((*all)[2], verdict::repeat()));
  EXPECT_TRUE(from.set_verdict((*all)[3], verdict::stop()));
  const packet copy = (*all)[4];
  EXPECT_TRUE(from.set_verdict(copy, verdict::queue(7)));
  EXPECT_TRUE(from.set_verdict(copy, verdict::drop()).error().is(EALREADY));
  EXPECT_TRUE(from.set_verdict({.id = 99}, verdict::drop()).error().is(EINVAL));
  // As from another capture.
  EXPECT_TRUE(from.set_verdict({.id = (*all)[5].id}, verdict::drop()).error().is(EINVAL));
  auto held = from.hold((*all)[5]);
  ASSERT_TRUE(held);
  EXPECT_TRUE(from.hold((*all)[5]).error().is(EALREADY));
  auto forgotten = from.hold((*all)[6]);
  ASSERT_TRUE(forgotten);
  EXPECT_TRUE(from.receive().error().is(ENODATA));
  EXPECT_TRUE(from.try_receive().error().is(ENODATA)) << "for ever";
  EXPECT_EQ(from.stats().undecided, 2u);
  EXPECT_TRUE(std::move(*held).set_verdict(verdict::accept()));
  { const auto dropped_here = *std::move(forgotten); }
  const auto stats = from.stats();
  EXPECT_EQ(stats.received, 8u);
  EXPECT_EQ(stats.accepted, 2u);
  EXPECT_EQ(stats.dropped, 3u);
  EXPECT_EQ(stats.repeated, 1u);
  EXPECT_EQ(stats.stopped, 1u);
  EXPECT_EQ(stats.requeued, 1u);
  EXPECT_EQ(stats.unanswered, 2u);
  EXPECT_EQ(stats.undecided, 0u);
  EXPECT_FALSE(stats.in_kernel);
}

TEST_F(capture_reader_test, refuses_replacements_that_would_lose_bytes) {
  auto from = open(capture_bytes().pcap(101).frame(udp4(100).substr(0, 60), 0, 0, 128).frame(udp4(1)).data);
  const auto all = from.receive();
  const std::vector<std::byte> bytes(65532);
  const auto short_one = std::span(bytes).first(40);
  EXPECT_TRUE(from.set_verdict((*all)[0], verdict::accept().with_payload(short_one)).error().is(EMSGSIZE));
  EXPECT_TRUE(from.set_verdict((*all)[1], verdict::accept().with_payload(bytes)).error().is(EINVAL));
  EXPECT_TRUE(from.set_verdict((*all)[0], verdict::accept()));
  EXPECT_TRUE(from.set_verdict((*all)[1], verdict::accept().with_payload(short_one)));
}

TEST_F(capture_reader_test, held_packets_outlive_their_reader_and_do_nothing_then) {
  std::optional<held_packet> held;
  {
    auto from = open(capture_bytes().pcap(101).frame(udp4(1)).data);
    held.emplace(*from.hold(from.receive().value()[0]));
  }
  EXPECT_TRUE(std::move(*held).set_verdict(verdict::accept()).error().is(ENODEV));
}

TEST_F(capture_reader_test, stops_for_ever) {
  auto from = open(capture_bytes().pcap(101).frame(udp4(1)).data);
  from.stop();
  EXPECT_TRUE(from.receive().error().is(ECANCELED));
  EXPECT_TRUE(from.receive().error().is(ECANCELED));
  EXPECT_TRUE(serve(from, [](const packet&) { return verdict::accept(); }));
}

// ---- time and waiting

bool is_readable(int fd, int timeout = 0) {
  pollfd asked{fd, POLLIN, 0};
  return ::poll(&asked, 1, timeout) == 1;
}

TEST_F(capture_reader_test, paces_by_the_captures_time) {
  const auto bytes = capture_bytes().pcap(101).frame(udp4(1), 100).frame(udp4(2), 101).frame(udp4(3), 100).data;
  auto from = open(bytes, {.pace = 10});  // 100 ms
  ASSERT_EQ(from.receive()->size(), 1u);
  const auto begun = capture_reader::clock::now();
  EXPECT_TRUE(from.try_receive().error().is(ETIMEDOUT));
  EXPECT_FALSE(is_readable(from.fd()));
  EXPECT_TRUE(from.receive(begun + 5ms).error().is(ETIMEDOUT));
  EXPECT_TRUE(is_readable(from.fd(), 10'000));
  const auto rest = from.receive();
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->size(), 2u) << "what is earlier than the one before is due";
  EXPECT_GE(capture_reader::clock::now() - begun, 50ms);
  EXPECT_TRUE(from.receive().error().is(ENODATA));
  EXPECT_TRUE(is_readable(from.fd())) << "the end is there";

  capture_bytes simple, mixed;
  simple.add<std::uint32_t>(30).add_text(udp4(2)).add<std::uint16_t>(0);
  mixed.section().interface(101).block(3, simple.data).packet(udp4(1), 0, 1'000'000'000'000'000).block(3, simple.data);
  auto timeless = open(mixed.data, {.pace = 1});
  EXPECT_EQ(timeless.try_receive()->size(), 3u) << "what has no time is due at once, and begins none";

  auto years = open(capture_bytes().pcap(101).frame(udp4(1), 0).frame(udp4(2), 4'000'000'000).data, {.pace = 1e-300});
  ASSERT_EQ(years.receive()->size(), 1u);
  std::jthread stopper([&] {
    std::this_thread::sleep_for(20ms);
    years.stop();
  });
  EXPECT_TRUE(years.receive().error().is(ECANCELED));
}

TEST_F(capture_reader_test, waits_for_a_pipe_and_says_when_it_is_readable) {
  const std::string path = folder / "pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const int writer = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(writer, 0);
  const auto write = [&](std::string_view bytes) {
    ASSERT_EQ(::write(writer, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  };
  auto opened = capture_reader::open(path, {.passed = folder / "passed"});
  ASSERT_TRUE(opened) << opened.error().message();
  capture_reader& from = *opened;
  EXPECT_FALSE(is_readable(from.fd()));
  EXPECT_TRUE(from.try_receive().error().is(ETIMEDOUT));
  const auto file = capture_bytes().pcap(101).frame(udp4(1)).frame(udp4(2)).data;
  write(std::string_view(file).substr(0, 50));
  EXPECT_TRUE(is_readable(from.fd()));
  EXPECT_TRUE(from.receive(capture_reader::clock::now() + 5ms).error().is(ETIMEDOUT));
  EXPECT_FALSE(is_readable(from.fd()));
  std::jthread later([&] {
    std::this_thread::sleep_for(10ms);
    write(std::string_view(file).substr(50));
  });
  const auto first = from.receive();
  ASSERT_TRUE(first);
  const std::size_t in_first = first->size();
  for (const packet& each : *first) EXPECT_TRUE(from.set_verdict(each, verdict::accept()));
  later.join();
  ::close(writer);
  EXPECT_EQ(take(from).size(), 2 - in_first);
  EXPECT_TRUE(is_readable(from.fd()));
  EXPECT_EQ(folder.read("passed"), file);
}

TEST_F(capture_reader_test, is_readable_as_long_as_there_is_something_to_unpack) {
  capture_bytes file;
  file.pcap(101);
  // More than is unpacked at once, and less than a pipe holds when it is packed.
  for (unsigned i = 0; i < 3000; ++i) file.frame(udp4(1000, static_cast<char>(i * 7)), i);
  folder.write("plain", file.data);
  for (const std::string pack : {"gzip -c", "zstd -qc"}) {
    SCOPED_TRACE(pack);
    const std::string command = pack + " " + (folder / "plain") + " >" + (folder / "packed");
    if (std::system(command.c_str()) != 0) GTEST_SKIP() << "there is no " << pack;
    const std::string packed = folder.read("packed");
    ASSERT_LT(packed.size(), 65'536u);
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    ASSERT_EQ(::write(ends[1], packed.data(), packed.size()), static_cast<ssize_t>(packed.size()));
    auto from = capture_reader::open("/dev/fd/" + std::to_string(ends[0]));
    ASSERT_TRUE(from) << from.error().message();
    std::size_t packets = 0, empty = 0, calls = 0;
    while (is_readable(from->fd()) && calls < 1000) {
      ++calls;
      if (const auto all = from->try_receive()) {
        packets += all->size();
      } else {
        ASSERT_TRUE(all.error().is(ETIMEDOUT)) << all.error().message();
        ++empty;
      }
    }
    EXPECT_EQ(packets, 3000u);
    EXPECT_LE(empty, 1u) << "it is not said to be readable again and again";
    ::close(ends[1]);
    EXPECT_TRUE(is_readable(from->fd())) << "the end is there";
    EXPECT_TRUE(from->try_receive().error().is(ENODATA));
    ::close(ends[0]);
  }
}

/// The most memory that this process has had, in KiB.
long peak() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return used.ru_maxrss;
}

TEST_F(capture_reader_test, needs_no_more_memory_for_a_longer_stream) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  capture_bytes head, body;
  head.pcap(101);
  for (unsigned i = 0; i < 1000; ++i) body.frame(udp4(i % 1400), i);
  constexpr unsigned repeats = 400;  // 300 MB
  auto from = capture_reader::open("/dev/fd/" + std::to_string(ends[0]));
  ASSERT_TRUE(from) << from.error().message();
  ::close(ends[0]);
  const auto before = peak();
  std::thread writer([&] {
    const auto put = [&](const std::string& bytes) {
      for (std::size_t at = 0; at < bytes.size();) {
        const ssize_t count = ::write(ends[1], bytes.data() + at, bytes.size() - at);
        if (count <= 0) return;
        at += static_cast<std::size_t>(count);
      }
    };
    put(head.data);
    for (unsigned i = 0; i < repeats; ++i) put(body.data);
    ::close(ends[1]);
  });
  EXPECT_TRUE(serve(*from, [](const packet&) { return verdict::accept(); }));
  writer.join();
  EXPECT_EQ(from->stats().received, 1000u * repeats);
  EXPECT_LT(peak() - before, 16 * 1024) << "KiB more than before";
}

TEST_F(capture_reader_test, needs_no_more_memory_for_what_is_small_when_packed) {
  capture_bytes body;
  for (unsigned i = 0; i < 1000; ++i) body.frame(udp4(i % 1400), i);
  folder.write("head", capture_bytes().pcap(101).data);
  folder.write("body", body.data);
  constexpr unsigned repeats = 100;  // 75 MB
  for (const std::string pack : {"gzip -c", "zstd -qc"}) {
    const auto made = "cd " + (folder / ".") + " && { " + pack + " head && " + pack +
                      " body >piece && for i in $(seq 100); do cat piece; done; } >packed";
    if (std::system(made.c_str()) != 0) GTEST_SKIP() << "there is no " << pack;
    EXPECT_LT(std::filesystem::file_size(folder / "packed"), 8u << 20);
    auto from = capture_reader::open(folder / "packed");
    ASSERT_TRUE(from) << from.error().message();
    const auto before = peak();
    EXPECT_TRUE(serve(*from, [](const packet&) { return verdict::accept(); })) << pack;
    EXPECT_EQ(from->stats().received, 1000u * repeats);
    EXPECT_LT(peak() - before, 16 * 1024) << "KiB more than before, " << pack;
  }
}

TEST_F(capture_reader_test, gives_many_batches_whatever_the_sizes) {
  capture_bytes file;
  file.section().interface(101, "eth0");
  for (unsigned i = 0; i < 3000; ++i) file.packet(udp4(i * 37 % 2000), 0, i);
  // A packet that is larger than the buffer, and a block that is larger than any packet.
  file.packet(udp4(10) + std::string(262'000, 'p'), 0, 1).block(0xabc, std::string(3 << 20, 'b'));
  file.packet(udp4(5), 0, 2);
  auto from = open(file.data, {.passed = folder / "passed"});
  std::uint64_t count = 0;
  EXPECT_TRUE(serve(from, [&](const packet& each) {
    if (count < 3000) {
      EXPECT_EQ(each.payload.size(), 28 + count * 37 % 2000);
    }
    EXPECT_EQ(each.id, ++count);
    return verdict::accept();
  }));
  EXPECT_EQ(count, 3002u);
  EXPECT_EQ(from.stats().accepted, 3002u);
}

}  // namespace
}  // namespace ipq
