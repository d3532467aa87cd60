// SPDX-License-Identifier: MIT
#include "firewall/selection_options.hpp"

#include <gtest/gtest.h>

#include "command_line.hpp"

namespace tool::firewall {
namespace {

struct parsed_options {
  selection_options options;
  std::string error;

  explicit parsed_options(std::vector<std::string> words) {
    command_line line("test", "");
    options.add_to(line);
    words.insert(words.begin(), "ipq test");
    std::vector<char*> arguments;
    arguments.reserve(words.size());
    for (std::string& each : words) arguments.push_back(each.data());
    testing::internal::CaptureStderr();
    static_cast<void>(line.parse(static_cast<int>(arguments.size()), arguments.data()));
    error = testing::internal::GetCapturedStderr();
  }
  std::string selectors() const {
    const auto made = options.selectors();
    if (!made) return made.error().message;
    std::string text;
    for (const auto& each : *made) text += each.text() + "\n";
    return text;
  }
};

TEST(selection_options, select_may_be_repeated) {
  const parsed_options line({"--select", "output", "udp dport 53", "--select", "input", "", "--fail", "open"});
  EXPECT_EQ(line.error, "");
  EXPECT_EQ(line.selectors(), "--select output 'udp dport 53'\n--select input ''\n");
  EXPECT_EQ(line.options.policy(), fail_policy::open);
}

TEST(selection_options, none_is_nothing_to_install) {
  const parsed_options line({});
  EXPECT_EQ(line.selectors(), "");
  EXPECT_EQ(line.options.policy(), fail_policy::closed);
  EXPECT_FALSE(line.options.is_dry_run());
  const auto installed = line.options.install({});
  ASSERT_TRUE(installed);
  EXPECT_FALSE(*installed);
  EXPECT_EQ(line.options.policy_text(),
            "while it runs, packets that find the queue full, or nobody listening, are dropped (--fail closed)");
}

TEST(selection_options, wrong_ones_are_refused) {
  EXPECT_TRUE(parsed_options({"--select", "output"}).error.starts_with("ipq test: --select: "));
  EXPECT_EQ(parsed_options({"--fail", "maybe"}).error,
            "ipq test: --fail: 'maybe': expected open or closed; ipq test --help lists what there is\n");
  EXPECT_TRUE(parsed_options({"--select", "nowhere", ""}).selectors().starts_with("--select nowhere: no such hook"));
  EXPECT_EQ(parsed_options({"--select", "nowhere", ""}).options.install({}).error().code, wrong_usage);
}

TEST(selection_options, dry_run_prints_both_kinds_of_rules) {
  const parsed_options line({"--dry-run", "--select", "output", "udp dport 53"});
  EXPECT_TRUE(line.options.is_dry_run());
  const auto text = line.options.dry_run({2, 2});
  ASSERT_TRUE(text);
  EXPECT_NE(text->find("    udp dport 53 queue num 2\n"), std::string::npos) << *text;
  EXPECT_NE(text->find("ip6tables -t mangle -A OUTPUT -p udp --dport 53 -j NFQUEUE --queue-num 2\n"), std::string::npos)
      << *text;
}

}  // namespace
}  // namespace tool::firewall
