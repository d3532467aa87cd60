// SPDX-License-Identifier: MIT
#include "demands.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rule_options.hpp"

namespace tool {
namespace {

using ipq::tool::rules::ruleset;

std::string number(std::uint32_t value) {
  return value < 10 ? fmt::format("{}", value) : fmt::format("{:#x}", value);
}

// A repeated packet goes through the rule that queued it again, which has to pass over it by the mark.
outcome<void> check_repeats(const ruleset& rules, const live_options& options) {
  const auto repeats = rules.all_repeats();
  if (repeats.empty()) return {};
  const auto selectors = options.selection.selectors();
  if (!selectors) return std::unexpected(selectors.error());
  for (const auto& each : *selectors) {
    const auto tests = each.find_mark_tests();
    if (tests.others) continue;  // whoever writes such knows what for
    std::vector<std::string> wanted;
    std::optional<ruleset::place> first;
    for (const auto& [mark, mask, connmark, where] : repeats) {
      const bool is_whole = mask == ~std::uint32_t{0};
      if (std::ranges::find(tests.passed_over, mark) != tests.passed_over.end()) continue;
      if ((tests.connection && connmark) || (!is_whole && !tests.passed_over.empty())) continue;
      std::string test =
          is_whole ? "mark != " + number(mark) : fmt::format("mark & {} != {}", number(mask), number(mark));
      if (!first) first = where;
      if (std::ranges::find(wanted, test) == wanted.end()) wanted.push_back(std::move(test));
    }
    if (!first) continue;
    return fail_at(rules, *first, wrong_usage,
                   fmt::format("{} would queue the packet again, for ever; let it pass over what has the rule's mark, "
                               "as --select {} '{}{}'",
                               each.text(), ipq::to_string(each.at), each.match.empty() ? "" : each.match + " ",
                               fmt::join(wanted, " ")));
  }
  return {};
}

// Copies are sent at some hooks alone. Where rules of others feed the queue it is found out packet by packet.
outcome<void> check_duplicates(const ruleset& rules, const live_options& options) {
  const auto copy = rules.first_duplicate();
  if (!copy) return {};
  const auto selectors = options.selection.selectors();
  if (!selectors) return std::unexpected(selectors.error());
  const auto permits = [](const firewall::selector& each) {
    return each.at == ipq::hook::output || each.at == ipq::hook::postrouting;
  };
  if (selectors->empty() || std::ranges::any_of(*selectors, permits)) return {};
  return fail_at(rules, *copy, wrong_usage,
                 fmt::format("copies are sent at output and postrouting alone, as elsewhere they would pass by the "
                             "firewall behind the queue: {} gives no packet that could be copied; select one of these",
                             selectors->front().text()));
}

}  // namespace

outcome<void> check_demands(const ruleset& rules, const live_options& options, bool can_copy) {
  for (const auto& [number, where] : rules.queues()) {
    if (number < options.first_queue || number > options.last_queue) continue;
    return fail_at(rules, where, wrong_usage,
                   fmt::format("queue {} is served here, so packets would come back for ever; name a queue of another "
                               "program, or serve another one with -q",
                               number));
  }
  const auto files = rules.record_files();
  if (const auto output = std::ranges::find(files, "-"); output != files.end()) {
    return fail_at(rules, *rules.first_record(static_cast<std::size_t>(output - files.begin())), wrong_usage,
                   "standard output is for lines of log here; name a file, or ./- if that is one");
  }
  if (const auto change = rules.first_change(); change && options.copy_range != 0) {
    return fail_at(rules, *change, wrong_usage, "this takes whole packets, and --copy-range cuts them; leave that out");
  }
  if (auto checked = check_repeats(rules, options); !checked) return checked;
  if (auto checked = check_duplicates(rules, options); !checked) return checked;
  if (const auto copy = rules.first_duplicate(); copy && !can_copy) {
    return fail_at(rules, *copy, no_rights,
                   "sending copies of packets takes CAP_NET_RAW, which was missing at the start");
  }
  return {};
}

}  // namespace tool
