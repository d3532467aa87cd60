// SPDX-License-Identifier: MIT
#include "netlink/counters.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <random>
#include <string>

#include "netlink/proc.hpp"

namespace ipq::netlink {
namespace {

TEST(queue_counters, line_of_the_kernel) {
  // seq_show: "%5u %6u %5u %1u %5u %5u %5u %8u %2d\n"
  const auto queues = parse_queue_counters("    0   4711    12 2 65531     3     4      100  1\n");
  ASSERT_EQ(queues.size(), 1u);
  EXPECT_EQ(queues[0].queue, 0);
  EXPECT_EQ(queues[0].port_id, 4711u);
  EXPECT_EQ(queues[0].waiting, 12u);
  EXPECT_EQ(queues[0].copy_mode, 2);
  EXPECT_EQ(queues[0].copy_range, 65531u);
  EXPECT_EQ(queues[0].dropped, 3u);
  EXPECT_EQ(queues[0].user_dropped, 4u);
  EXPECT_EQ(queues[0].last_id, 100u);
}

TEST(queue_counters, largest_numbers) {
  const auto queues =
      parse_queue_counters("65535 4294967295 4294967295 255 4294967295 4294967295 4294967295 4294967295  1\n");
  ASSERT_EQ(queues.size(), 1u);
  EXPECT_EQ(queues[0].queue, 65535);
  EXPECT_EQ(queues[0].port_id, 0xffffffffu);
  EXPECT_EQ(queues[0].copy_mode, 255);
  EXPECT_EQ(queues[0].last_id, 0xffffffffu);
}

TEST(queue_counters, several_lines_with_and_without_a_last_newline) {
  const std::string two = "0 1 0 1 0 0 0 0 1\n7 2 0 1 0 0 0 0 1";
  for (const auto& text : {two, two + "\n", two + "\n\n"}) {
    const auto queues = parse_queue_counters(text);
    ASSERT_EQ(queues.size(), 2u);
    EXPECT_EQ(queues[0].queue, 0);
    EXPECT_EQ(queues[1].queue, 7);
  }
}

TEST(queue_counters, column_more_or_the_last_one_less_is_understood) {
  EXPECT_EQ(parse_queue_counters("0 1 2 1 0 0 0 9\n").size(), 1u);
  EXPECT_EQ(parse_queue_counters("0 1 2 1 0 0 0 9 1 new columns\n").size(), 1u);
}

TEST(queue_counters, what_is_not_understood_is_passed_over) {
  const std::string good = "\n3 1 0 1 0 0 0 0 1\n";
  for (const std::string bad :
       {"", " ", "nonsense", "0", "0 1 2 1 0 0 0", "-1 1 2 1 0 0 0 9 1", "0 1 2 1 0 0 -0 9 1", "65536 1 2 1 0 0 0 9 1",
        "0 4294967296 2 1 0 0 0 9 1", "0 1 2 256 0 0 0 9 1", "0 1 2 1 0 0 0 99999999999999999999999 1",
        "0x0 1 2 1 0 0 0 9 1", "0 1 2 1 0 0 0 9x 1", "0,1,2,1,0,0,0,9,1", "0 1 2 1 0 0 0 +9 1", "0\t1 2 1 0 0 0 9 1"}) {
    const auto queues = parse_queue_counters(bad + good);
    ASSERT_EQ(queues.size(), 1u) << bad;
    EXPECT_EQ(queues[0].queue, 3) << bad;
  }
  EXPECT_TRUE(parse_queue_counters("").empty());
}

TEST(queue_counters, damaged_text_hurts_nobody) {
  const std::string original =
      "    0   4711    12 2 65531     3     4      100  1\n    1   4712     0 0     0     0     0        0  1\n";
  std::mt19937 random(1);
  std::size_t understood = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string text = original;
    for (int n = 0; n < 3; ++n) text[random() % text.size()] = static_cast<char>(random());
    text.resize(random() % text.size());
    text.shrink_to_fit();
    const auto queues = parse_queue_counters(text);
    understood += queues.size();
    EXPECT_LE(queues.size(), 4u);
  }
  EXPECT_GT(understood, 500u);
}

TEST(proc_file, is_read_to_its_end) {
  const auto text = read_proc_file("/proc/self/status");
  ASSERT_TRUE(text);
  EXPECT_TRUE(text->starts_with("Name:"));
  EXPECT_TRUE(text->ends_with("\n"));
}

TEST(proc_file, longer_than_a_page) {
  const auto text = read_proc_file("/proc/self/smaps");
  ASSERT_TRUE(text);
  EXPECT_GT(text->size(), 4096u);
  EXPECT_TRUE(text->ends_with("\n"));
}

TEST(proc_file, that_is_missing_says_which) {
  const auto text = read_proc_file("/proc/self/nonesuch");
  ASSERT_FALSE(text);
  EXPECT_TRUE(text.error().is(ENOENT));
  EXPECT_EQ(text.error().message(), "/proc/self/nonesuch: No such file or directory");
}

TEST(proc_file, that_is_a_directory_is_an_error) {
  const auto text = read_proc_file("/proc/self");
  ASSERT_FALSE(text);
  EXPECT_TRUE(text.error().is(EISDIR));
}

TEST(proc_file, lines) {
  std::vector<std::string> lines;
  for_each_line("one\n\nthree", [&](std::string_view line) { lines.emplace_back(line); });
  EXPECT_EQ(lines, (std::vector<std::string>{"one", "", "three"}));
  lines.clear();
  for_each_line("", [&](std::string_view line) { lines.emplace_back(line); });
  EXPECT_TRUE(lines.empty());
}

}  // namespace
}  // namespace ipq::netlink
