// SPDX-License-Identifier: MIT
#include "firewall/selection_options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <utility>

namespace tool::firewall {

void selection_options::add_to(CLI::App& app) {
  // Two words each time, of which the second may be anything, also empty.
  app.add_option("--select", select_,
                 "queue what matches at prerouting, input, forward, output or postrouting, as long as this runs; "
                 "MATCH in nft's words, '' for all; may be repeated")
      ->type_name("HOOK MATCH")
      ->type_size(2)
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--fail", fail_,
                 "packets pass (open) or are dropped (closed, the default) when nobody listens or the queue is full")
      ->check(CLI::IsMember({"open", "closed"}));
  app.add_flag("--dry-run", dry_run_, "only print the rules that --select makes");
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
  return fmt::format("when nobody listens or the queue is full, packets {} (--fail {})",
                     policy() == fail_policy::open ? "pass" : "are dropped", fail_);
}

}  // namespace tool::firewall
