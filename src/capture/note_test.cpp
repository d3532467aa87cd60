// SPDX-License-Identifier: MIT
#include "capture/note.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace ipq::capture {
namespace {

using namespace std::chrono_literals;

std::string written(const packet& about, const verdict& given, const interface_names& names = {},
                    std::optional<std::chrono::nanoseconds> took = {}) {
  std::string text;
  write_note(text, about, given, names, took);
  return text;
}

TEST(note, reads_well) {
  EXPECT_EQ(written({.id = 17, .hook = 2}, verdict::accept().with_mark(1), {.in = "eth0", .out = "eth1"}, 31us),
            "verdict accept, mark 0x1, id 17, queue 0, hook forward, in eth0, out eth1, took 31 us");
  EXPECT_EQ(written({.id = 1, .hook = 9}, verdict::queue(5, true)), "verdict queue 5 bypass, id 1, queue 0, hook 9");
  EXPECT_EQ(written({}, verdict::drop(), {}, 999ns), "verdict drop, id 0, queue 0, hook prerouting, took 999 ns");
  EXPECT_EQ(written({}, verdict::stop(), {}, -1ns), "verdict stop, id 0, queue 0, hook prerouting, took 0 ns");
}

TEST(note, comes_back_as_it_was_written) {
  packet about{.id = 0xffffffff, .queue = 65535, .hook = 4, .mark = 7, .priority = 8};
  about.uid = 0;
  about.gid = 100;
  about.cgroup_classid = 0x10001;
  about.conntrack_info = 2;
  about.gso = about.checksum_not_ready = about.checksum_not_verified = true;
  about.hw_addr = {0xde, 0xad, 0, 1, 2, 3};
  about.hw_addr_length = 6;
  const std::array<std::byte, 1> bytes{};
  const std::vector<verdict> verdicts{verdict::accept(), verdict::drop(),   verdict::repeat(),
                                      verdict::stop(),   verdict::queue(0), verdict::queue(65535, true)};
  for (const verdict& each : verdicts) {
    const auto given = each.with_mark(0).with_priority(0xffffffff).with_connmark(3).with_payload(bytes);
    const interface_names names{.in = "a", .out = "b", .physin = "c", .physout = "d"};
    const std::string text = written(about, given, names, 12'345'678ns);
    const auto read = parse_note(text);
    ASSERT_TRUE(read) << text;
    EXPECT_TRUE(read->changed);
    EXPECT_EQ(read->given.value(), given.value());
    EXPECT_EQ(read->given.mark(), 0u);
    EXPECT_EQ(read->given.priority(), 0xffffffffu);
    EXPECT_EQ(read->given.connmark(), 3u);
    EXPECT_EQ(read->names.in, "a");
    EXPECT_EQ(read->names.physout, "d");
    EXPECT_EQ(read->about.uid, 0u);
    EXPECT_EQ(read->about.hw_addr, about.hw_addr);
    EXPECT_EQ(read->took, 12'345us);
    EXPECT_EQ(written(read->about, given, read->names, read->took), text);
  }
}

TEST(note, a_time_that_is_none_does_not_cost_the_rest) {
  const auto read = parse_note(written({.id = 3}, verdict::drop(), {}, std::chrono::nanoseconds::max()));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->about.id, 3u);
}

TEST(note, has_the_bits_of_a_connmark_that_are_set) {
  const std::string text = written({}, verdict::accept().with_connmark(3, 0xf));
  EXPECT_EQ(text, "verdict accept, connmark 0x3/0xf, id 0, queue 0, hook prerouting");
  const auto read = parse_note(text);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->given.connmark(), 3u);
  EXPECT_EQ(read->given.connmark_mask(), 0xfu);
  EXPECT_EQ(parse_note("verdict accept, connmark 0x3")->given.connmark_mask(), 0xffffffffu);
}

TEST(note, has_what_no_link_header_says) {
  std::array<std::byte, 16> tagged{};
  tagged[12] = std::byte{0x81};
  packet about{.family = 7, .vlan = vlan_tag{0x88a8, 0xa00a}};
  const std::string text = written(about, verdict::accept());
  EXPECT_EQ(text, "verdict accept, id 0, queue 0, hook prerouting, vlan 0x88a8/0xa00a, family 7");
  const auto read = parse_note(text);
  ASSERT_TRUE(read && read->about.vlan);
  EXPECT_EQ(read->about.vlan->protocol, 0x88a8);
  EXPECT_EQ(read->about.vlan->tci, 0xa00a);
  EXPECT_EQ(read->about.family, 7);
  about.family = 2;
  about.l2_header = tagged;
  EXPECT_EQ(written(about, verdict::accept()), "verdict accept, id 0, queue 0, hook prerouting, link header");
  about.l2_header = std::span(tagged).first(13);
  EXPECT_TRUE(written(about, verdict::accept()).contains("vlan")) << "that header has no place for it";
}

TEST(note, escapes_names_that_would_be_taken_for_its_own_signs) {
  const std::string name = "a, id 5%\n\xff";
  std::string text;
  write_name(text, name);
  EXPECT_EQ(text, "a%2c%20id%205%25%0a%ff");
  EXPECT_EQ(parse_name(text), name);
  EXPECT_EQ(parse_name("%2"), "%2");
  EXPECT_EQ(parse_name("%zz"), "%zz");
  const std::string whole = written({.id = 1}, verdict::accept(), {.in = name});
  EXPECT_EQ(parse_note(whole)->about.id, 1u);
  EXPECT_EQ(parse_name(parse_note(whole)->names.in), name);
}

// There may be 65536 of them in a recording, each as long as its block.
TEST(note, keeps_no_more_of_a_name_than_is_needed) {
  const std::string text = "verdict accept, in " + std::string(900'000, 'a') + ", out " + std::string(254, 'a');
  const auto read = parse_note(text);
  ASSERT_TRUE(read);
  interface_table interfaces;
  packet made;
  restore(*read, interfaces, made);
  EXPECT_EQ(interfaces.name_of(made.indev), std::string(255, 'a'));
  EXPECT_EQ(interfaces.name_of(made.outdev), std::string(254, 'a'));
}

TEST(note, takes_nothing_else_for_a_note) {
  for (const char* text : {"",
                           "verdict",
                           "verdict ",
                           "verdict maybe",
                           "verdict accept, id x",
                           "verdict accept, id 4294967296",
                           "verdict accept, mark 1",
                           "verdict accept, mark 0x",
                           "verdict accept, connmark 0x1/",
                           "verdict accept, connmark 0x1/15",
                           "verdict accept, connmark /0x1",
                           "verdict accept, vlan 0x8100",
                           "verdict accept, vlan 0x8100/0x10000",
                           "verdict accept, family 256",
                           "verdict queue",
                           "verdict queue 65536",
                           "verdict queue -1",
                           "verdict accept, hook nowhere",
                           "verdict accept, took 5",
                           "verdict accept, took -5 us",
                           "verdict accept, took 99999999999999999999 us",
                           "verdict accept, uid 1 ",
                           "verdict accept, id 1, from 0:1",
                           "verdict accept, id 1, from 00:11:22:33:44:55:66:77:88",
                           "verdict accept, id 1, had mark 5",
                           "a verdict accept"}) {
    EXPECT_FALSE(parse_note(text)) << text;
  }
  EXPECT_TRUE(parse_note("verdict accept, colour green")) << "of a later version";
  EXPECT_EQ(parse_replacement_note("replaced by the verdict, id 7"), 7u);
  EXPECT_FALSE(parse_replacement_note("replaced by the verdict, id seven"));
  EXPECT_FALSE(parse_replacement_note("replaced"));
}

}  // namespace
}  // namespace ipq::capture
