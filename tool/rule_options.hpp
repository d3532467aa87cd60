// SPDX-License-Identifier: MIT
// How commands are told their rules, -f FILE, or rules as arguments, and how much these may delay.
#pragma once

#include <string>
#include <vector>

#include "failure.hpp"
#include "rules/delayed.hpp"
#include "rules/ruleset.hpp"

namespace tool {

class command_line;

struct rule_options {
  std::vector<std::string> files;
  std::vector<std::string> arguments;
};

void add_rule_options(command_line& to, rule_options& options);
void add_delay_options(command_line& to, ipq::tool::rules::delayed_limits& limits);

/// Reads the files and compiles everything: files first, then arguments, in their order. Failures: wrong_usage, with
/// each fault's place, its line and a caret, or where there is no rule at all.
[[nodiscard]] outcome<ipq::tool::rules::ruleset> compile_rules(const rule_options& from);

/// For `return fail_at(rules, where, no_rights, "...")`: what is wrong with rules here and now, with the line and a
/// caret.
[[nodiscard]] std::unexpected<failure> fail_at(const ipq::tool::rules::ruleset& rules,
                                               const ipq::tool::rules::ruleset::place& where, exit_code code,
                                               std::string message);
/// The same for a place that was found before.
[[nodiscard]] std::unexpected<failure> fail_at(ipq::tool::rules::diagnostic where, exit_code code, std::string message);

}  // namespace tool
