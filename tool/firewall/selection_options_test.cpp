// SPDX-License-Identifier: MIT
#include "firewall/selection_options.hpp"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>

namespace tool::firewall {
namespace {

struct parsed {
  CLI::App app;
  selection_options options;
  std::string error;

  explicit parsed(std::vector<std::string> words) {
    options.add_to(app);
    std::ranges::reverse(words);  // as CLI11 wants them
    try {
      app.parse(words);
    } catch (const CLI::ParseError& wrong) {
      error = wrong.what();
    }
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
  const parsed line({"--select", "output", "udp dport 53", "--select", "input", "", "--fail", "open"});
  EXPECT_EQ(line.error, "");
  EXPECT_EQ(line.selectors(), "--select output 'udp dport 53'\n--select input ''\n");
  EXPECT_EQ(line.options.policy(), fail_policy::open);
}

TEST(selection_options, none_is_nothing_to_install) {
  const parsed line({});
  EXPECT_EQ(line.selectors(), "");
  EXPECT_EQ(line.options.policy(), fail_policy::closed);
  EXPECT_FALSE(line.options.is_dry_run());
  const auto installed = line.options.install({});
  ASSERT_TRUE(installed);
  EXPECT_FALSE(*installed);
  EXPECT_EQ(line.options.policy_text(),
            "when nobody listens or the queue is full, packets are dropped (--fail closed)");
}

TEST(selection_options, wrong_ones_are_refused) {
  EXPECT_NE(parsed({"--select", "output"}).error, "");
  EXPECT_NE(parsed({"--fail", "maybe"}).error, "");
  EXPECT_TRUE(parsed({"--select", "nowhere", ""}).selectors().starts_with("--select nowhere: no such hook"));
  EXPECT_EQ(parsed({"--select", "nowhere", ""}).options.install({}).error().code, wrong_usage);
}

TEST(selection_options, dry_run_prints_both_kinds_of_rules) {
  const parsed line({"--dry-run", "--select", "output", "udp dport 53"});
  EXPECT_TRUE(line.options.is_dry_run());
  const auto text = line.options.dry_run({2, 2});
  ASSERT_TRUE(text);
  EXPECT_NE(text->find("    udp dport 53 queue num 2\n"), std::string::npos) << *text;
  EXPECT_NE(text->find("ip6tables -t mangle -A OUTPUT -p udp --dport 53 -j NFQUEUE --queue-num 2\n"), std::string::npos)
      << *text;
}

}  // namespace
}  // namespace tool::firewall
