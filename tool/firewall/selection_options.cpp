// SPDX-License-Identifier: MIT
#include "firewall/selection_options.hpp"

#include <fmt/format.h>

#include <utility>

#include "command_line.hpp"
#include "firewall/nftables.hpp"

namespace tool::firewall {
namespace {

parsed<fail_policy> parse_policy(std::string_view text) {
  if (text == "open") return fail_policy::open;
  if (text == "closed") return fail_policy::closed;
  return std::unexpected(fmt::format("'{}': expected open or closed", text));
}

}  // namespace

void selection_options::add_to(command_line& line) {
  line.add_repeated("--select", "HOOK MATCH", 2, select_,
                    "queue what matches at prerouting, input, forward, output or postrouting, as long as this runs; "
                    "MATCH in nft's words, '' for all; may be repeated");
  line.add_option("--fail", "open|closed", policy_, parse_policy,
                  "packets pass (open) or are dropped (closed, the default) when nobody listens or the queue is full, "
                  "while the command runs");
  line.add_flag("--dry-run", dry_run_, "only print the rules that --select makes");
}

outcome<std::vector<selector>> selection_options::selectors() const {
  std::vector<selector> made;
  for (std::size_t i = 0; i + 1 < select_.size(); i += 2) {
    auto one = parse_selector(select_[i], select_[i + 1]);
    if (!one) return std::unexpected(one.error());
    made.push_back(*std::move(one));
  }
  return made;
}

outcome<std::string> selection_options::dry_run(const queue_range& queues) const {
  const auto selected = selectors();
  if (!selected) return std::unexpected(selected.error());
  // nft knows its words best, where it may be asked.
  if (find_nft_abilities().tables) {
    if (auto checked = check_matches(*selected); !checked) return std::unexpected(checked.error());
  }
  return firewall::dry_run(*selected, queues, policy());
}

outcome<std::optional<selection>> selection_options::install(const queue_range& queues) const {
  const auto selected = selectors();
  if (!selected) return std::unexpected(selected.error());
  if (selected->empty()) return std::nullopt;
  auto installed = selection::install(*selected, queues, policy());
  if (!installed) return std::unexpected(installed.error());
  return std::optional<selection>(*std::move(installed));
}

std::string selection_options::policy_text() const {
  return fmt::format("while it runs, packets that find the queue full, or nobody listening, {}",
                     policy_ == fail_policy::open ? "pass (--fail open)" : "are dropped (--fail closed)");
}

}  // namespace tool::firewall
