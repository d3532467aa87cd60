// SPDX-License-Identifier: MIT
// --select, --fail and --dry-run, for every command that serves a queue.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "failure.hpp"
#include "firewall/selection.hpp"

namespace tool {
class command_line;
}

namespace tool::firewall {

/// Lives until the command line that it was added to is parsed.
class selection_options {
 public:
  void add_to(command_line& line);

  /// The selectors, checked. Failures: wrong_usage. To be asked once the command line is parsed.
  [[nodiscard]] outcome<std::vector<selector>> selectors() const;
  /// For the rules' bypass and for queue_options::fail_open alike.
  [[nodiscard]] fail_policy policy() const noexcept { return policy_; }
  [[nodiscard]] bool is_dry_run() const noexcept { return dry_run_; }

  /// What --dry-run prints.
  [[nodiscard]] outcome<std::string> dry_run(const queue_range& queues) const;

  /// Installs what was selected; nullopt where nothing was.
  [[nodiscard]] outcome<std::optional<selection>> install(const queue_range& queues) const;

  /// "while it runs, packets that find the queue full, or nobody listening, are dropped (--fail closed)": to be said at
  /// the start.
  [[nodiscard]] std::string policy_text() const;

 private:
  std::vector<std::string> select_;  ///< hook, match, hook, match
  fail_policy policy_ = fail_policy::closed;
  bool dry_run_ = false;
};

}  // namespace tool::firewall
