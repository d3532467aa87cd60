// SPDX-License-Identifier: MIT
// Every form of an entry, and lookups compared with a search that can't be wrong.
#include "address_set.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "random.hpp"
#include "temporary_file.hpp"

namespace ipq::tool::rules {
namespace {

address_set set_of(std::string_view text) {
  auto made = address_set::parse("set", text);
  if (!made) throw std::runtime_error(render(made.error()));
  return std::move(*made);
}

bool has(const address_set& set, std::string_view text) {
  if (const auto ipv4 = ipv4_address::parse(text)) return set.contains(*ipv4);
  return set.contains(ipv6_address::parse(text).value());
}

std::string faults_of(std::string_view text) {
  const auto made = address_set::parse("set", text);
  return made ? "" : render(made.error());
}

TEST(address_set, addresses) {
  const auto set = set_of("192.0.2.1\n2001:db8::1");
  EXPECT_TRUE(has(set, "192.0.2.1"));
  EXPECT_FALSE(has(set, "192.0.2.0"));
  EXPECT_FALSE(has(set, "192.0.2.2"));
  EXPECT_TRUE(has(set, "2001:db8::1"));
  EXPECT_FALSE(has(set, "2001:db8::"));
  EXPECT_FALSE(has(set, "2001:db8::2"));
}

TEST(address_set, networks) {
  const auto set = set_of("192.0.2.128/25\n10.0.0.0/8\n2001:db8::/32\n203.0.113.5/32");
  for (const char* inside : {"192.0.2.128", "192.0.2.255", "10.0.0.0", "10.255.255.255",
                             "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "203.0.113.5"}) {
    EXPECT_TRUE(has(set, inside)) << inside;
  }
  for (const char* outside : {"192.0.2.127", "192.0.3.0", "9.255.255.255", "11.0.0.0",
                              "2001:db7:ffff::", "2001:db9::", "203.0.113.4", "203.0.113.6"}) {
    EXPECT_FALSE(has(set, outside)) << outside;
  }
}

TEST(address_set, everything_and_nothing) {
  const auto all = set_of("0.0.0.0/0\n::/0\n255.255.255.255\n0.0.0.0\nffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
  EXPECT_EQ(all.size(), 2u);
  for (const char* each : {"0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}) {
    EXPECT_TRUE(has(all, each)) << each;
  }
  const auto none = set_of("\n# nothing\n");
  EXPECT_EQ(none.size(), 0u);
  EXPECT_FALSE(has(none, "0.0.0.0"));
  EXPECT_FALSE(has(none, "255.255.255.255"));
  EXPECT_FALSE(has(none, "::"));
}

TEST(address_set, ranges) {
  const auto set = set_of("192.0.2.5-192.0.2.9\n192.0.2.20 - 192.0.2.21\n2001:db8::5-2001:db8::1:0");
  for (const char* inside : {"192.0.2.5", "192.0.2.9", "192.0.2.20", "192.0.2.21", "2001:db8::5", "2001:db8::1:0"}) {
    EXPECT_TRUE(has(set, inside)) << inside;
  }
  for (const char* outside : {"192.0.2.4", "192.0.2.10", "192.0.2.19", "192.0.2.22", "2001:db8::4", "2001:db8::1:1"}) {
    EXPECT_FALSE(has(set, outside)) << outside;
  }
}

TEST(address_set, peerguardian) {
  const auto set = set_of(
      "Some Company, Inc.:1.2.3.4-1.2.3.5\n"
      "name: with: colons - and dashes:6.7.8.9-6.7.8.9\r\n"
      "No #1 in the ; business:11.0.0.0-11.0.0.255\n"
      ":12.0.0.1-12.0.0.2\n");
  for (const char* inside : {"1.2.3.4", "1.2.3.5", "6.7.8.9", "11.0.0.255", "12.0.0.1"}) {
    EXPECT_TRUE(has(set, inside)) << inside;
  }
  EXPECT_EQ(set.size(), 4u);
}

// The name may hold anything, also what is an entry, or begins like one.
TEST(address_set, peerguardian_names_that_look_like_entries) {
  const auto set = set_of(
      "192.0.2.1 - old:198.51.100.1-198.51.100.9\n"
      "10.0.0.0/8 net:198.51.100.21-198.51.100.29\n"
      "2001:db8::1:198.51.100.31-198.51.100.39\n"
      "192.0.2.1-192.0.2.9:198.51.100.41 - 198.51.100.49\n"
      "10.0.0.0/99:198.51.100.51-198.51.100.59 ; why: it is so\n"
      "Foo:198.51.100.61-198.51.100.69 # why\n");
  EXPECT_EQ(set.size(), 6u);
  for (int each : {1, 9, 21, 29, 31, 39, 41, 49, 51, 59, 61, 69}) {
    EXPECT_TRUE(has(set, "198.51.100." + std::to_string(each))) << each;
  }
  for (const char* outside : {"192.0.2.1", "10.0.0.0", "2001:db8::1"}) EXPECT_FALSE(has(set, outside)) << outside;
  EXPECT_TRUE(has(set_of("2001:db8::5-2001:db8::9\n::ffff:1.2.3.4-::ffff:1.2.3.9"), "::ffff:1.2.3.5"));
  EXPECT_EQ(faults_of("10.0.0.0/8 net:192.0.2.9-192.0.2.1"),
            "set:1:16: the range is upside down: 192.0.2.9 is behind 192.0.2.1\n  10.0.0.0/8 net:192.0.2.9-192.0.2.1\n"
            "                 ^\n");
  EXPECT_EQ(faults_of("192.0.2.0/33 # see:192.0.2.1-192.0.2.9").substr(0, 49),
            "set:1:11: expected a prefix length of 0 to 32\n  1");
}

TEST(address_set, comments_and_white_space) {
  const auto set =
      set_of("# a list\n;of old\n\n \t192.0.2.1 \t# one\n192.0.2.3;two\r\n192.0.2.5 # see:9.9.9.9-9.9.9.10");
  EXPECT_EQ(set.size(), 3u);
  EXPECT_FALSE(has(set, "9.9.9.9"));
}

TEST(address_set, merges) {
  EXPECT_EQ(set_of("192.0.2.1\n192.0.2.2\n192.0.2.4\n192.0.2.0/29\n192.0.2.8").size(), 1u);
  EXPECT_EQ(set_of("192.0.2.1\n192.0.2.3").size(), 2u);
}

TEST(address_set, faults) {
  EXPECT_EQ(faults_of("192.0.2.1\n  300.0.0.1"),
            "set:2:3: expected an address, a network or a range, as 192.0.2.1, 2001:db8::/32 or 192.0.2.1-192.0.2.9\n"
            "    300.0.0.1\n    ^\n");
  EXPECT_EQ(
      faults_of("192.0.2.1/24"),
      "set:1:11: the address has bits behind its prefix of 24: is the length right?\n  192.0.2.1/24\n            ^\n");
  EXPECT_EQ(faults_of("192.0.2.0/33"),
            "set:1:11: expected a prefix length of 0 to 32\n  192.0.2.0/33\n            ^\n");
  EXPECT_EQ(faults_of("2001:db8::/129"),
            "set:1:12: expected a prefix length of 0 to 128\n  2001:db8::/129\n             ^\n");
  EXPECT_EQ(faults_of("192.0.2.9-192.0.2.1"),
            "set:1:1: the range is upside down: 192.0.2.9 is behind 192.0.2.1\n  192.0.2.9-192.0.2.1\n  ^\n");
  EXPECT_EQ(faults_of("x:192.0.2.9-192.0.2.1"),
            "set:1:3: the range is upside down: 192.0.2.9 is behind 192.0.2.1\n  x:192.0.2.9-192.0.2.1\n    ^\n");
  EXPECT_EQ(faults_of("192.0.2.9-2001:db8::1"),
            "set:1:11: expected the end of the range, an address of the same family\n"
            "  192.0.2.9-2001:db8::1\n            ^\n");
  // What stands behind it is no more text.
  EXPECT_EQ(faults_of(std::string("x\n192.0\0.2.1\nx\n", 15)),
            "set:1:1: expected an address, a network or a range, as 192.0.2.1, 2001:db8::/32 or 192.0.2.1-192.0.2.9\n"
            "  x\n  ^\n"
            "set:2:6: a NUL byte: this is no file of addresses, which is text\n  192.0?.2.1\n       ^\n");
  EXPECT_EQ(faults_of(std::string(5000, '1') + "\nx"),
            "set:1: the line is longer than 4096 bytes\n"
            "set:2:1: expected an address, a network or a range, as 192.0.2.1, 2001:db8::/32 or 192.0.2.1-192.0.2.9\n"
            "  x\n  ^\n");
  std::string many;
  for (int each = 0; each < 100; ++each) many += "x\n";
  EXPECT_EQ(address_set::parse("set", many).error().size(), 20u);
}

TEST(address_set, a_prefix_length_that_is_missing_or_none) {
  for (const char* each : {"192.0.2.0/", "192.0.2.0/x", "192.0.2.0/-1", "192.0.2.0/+8", "192.0.2.0/8 8"}) {
    EXPECT_EQ(faults_of(each).find("expected a prefix length of 0 to 32") == std::string::npos, false) << each;
  }
}

// Lines that end at every place of the reader's buffer, and 1 MB without an end.
TEST(address_set, reads_files_in_pieces) {
  std::string text;
  for (unsigned each = 0; each < 20'000; ++each) {
    text += "10." + std::to_string(each / 100 % 256) + "." + std::to_string(each % 100) + ".1\n";
  }
  const temporary_file file(text);
  const auto set = address_set::read(file.path());
  ASSERT_TRUE(set) << render(set.error());
  EXPECT_EQ(set->size(), 20'000u);
  EXPECT_TRUE(has(*set, "10.199.99.1"));

  const temporary_file endless(std::string(1'000'000, '1'));
  EXPECT_EQ(render(address_set::read(endless.path()).error()),
            endless.path().string() + ":1: the line is longer than 4096 bytes\n");
  EXPECT_EQ(render(address_set::read("/no/such").error()),
            "/no/such: cannot open: No such file or directory: check the name\n");
}

// Sizes around every step of the search tree.
TEST(address_set, finds_what_a_plain_search_finds) {
  random numbers(1, 0);
  for (const std::size_t size :
       {1u, 2u, 30u, 31u, 32u, 33u, 63u, 1022u, 1023u, 1024u, 1025u, 1055u, 1056u, 4097u, 5000u}) {
    range_table<std::uint32_t, std::uint32_t> table;
    std::vector<bool> there(100'000);
    for (std::size_t each = 0; each < size; ++each) {
      const auto first = static_cast<std::uint32_t>(each * 20 + numbers.below(5));
      const auto last = first + static_cast<std::uint32_t>(numbers.below(10));
      table.add(first, last);
      for (std::uint32_t at = first; at <= last; ++at) there[at] = true;
    }
    table.add(0xfffffff0, 0xffffffff);
    table.finish();
    for (std::uint32_t at = 0; at < there.size(); ++at) ASSERT_EQ(table.contains(at), there[at]) << size << " " << at;
    EXPECT_FALSE(table.contains(0xffffffef));
    EXPECT_TRUE(table.contains(0xfffffff0));
    EXPECT_TRUE(table.contains(0xffffffff));
  }
}

// Many ranges begin with the same upper bits, and some reach over several of these.
TEST(address_set, tells_ranges_apart_that_begin_alike) {
  random numbers(4, 0);
  for (const std::size_t size : {1u, 3u, 31u, 32u, 33u, 500u, 2000u}) {
    for (const unsigned alike : {0x1u, 0x10u, 0x100u}) {
      using key = unsigned __int128;
      range_table<key, std::uint64_t> table;
      const auto key_of = [](std::uint64_t value) { return key{value >> 8} << 64 | (value & 0xff); };
      std::vector<bool> there(0x10000);
      for (std::size_t each = 0; each < size; ++each) {
        const auto upper = numbers.below(alike) * (0x100 / alike) * 0x100;
        const auto first = upper + numbers.below(0x100);
        const auto last = std::min<std::uint64_t>(0xffff, first + numbers.below(numbers.below(50) == 0 ? 700 : 3));
        table.add(key_of(first), key_of(last));
        for (std::size_t at = first; at <= last; ++at) there[at] = true;
      }
      table.finish();
      for (std::uint32_t at = 0; at < there.size(); ++at) {
        ASSERT_EQ(table.contains(key_of(at)), there[at]) << size << " " << alike << " " << at;
      }
    }
  }
}

}  // namespace
}  // namespace ipq::tool::rules
