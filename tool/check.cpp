// SPDX-License-Identifier: MIT
// ipq check: whether rules are right.
#include <fmt/format.h>

#include "command_line.hpp"
#include "commands.hpp"
#include "live.hpp"
#include "rule_options.hpp"

namespace tool {

int check_main(int argc, char** argv) {
  command_line line("check", "Checks rules as ipq run would, and starts nothing.");
  rule_options options;
  add_rule_options(line, options);
  if (const auto end = line.parse(argc, argv)) return *end;
  const auto rules = compile_rules(options);
  if (!rules) return report("check", rules.error());
  note_missing_interfaces("check", rules->interfaces());
  fmt::print("{} rule{}: no fault\n", rules->size(), rules->size() == 1 ? "" : "s");
  return done;
}

}  // namespace tool
