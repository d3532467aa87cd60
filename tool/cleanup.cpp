// SPDX-License-Identifier: MIT
// ipq cleanup: removes rules whose process is gone.
#include <fmt/format.h>

#include "command_line.hpp"
#include "commands.hpp"
#include "firewall/iptables.hpp"
#include "firewall/tag.hpp"
#include "ipq/status.hpp"
#include "printable.hpp"
#include "queue_report.hpp"

namespace tool {

int cleanup_main(int argc, char** argv) {
  bool dry_run = false;
  command_line line(
      "cleanup",
      "Removes the rules of --select whose process is gone and had no time to remove them. Rules of living\n"
      "processes, and all others, stay.");
  line.add_flag("--dry-run", dry_run, "only show them");
  if (const auto end = line.parse(argc, argv)) return *end;

  const auto access = ipq::check_queue_access();
  if (!access && access.error().is(EPERM)) return report("cleanup", access.error());
  if (dry_run) {
    const auto rules = firewall::list_tagged_rules();
    if (!rules) return report("cleanup", rules.error());
    for (const auto& rule : *rules) {
      if (firewall::tag::is_alive(firewall::tag_of(rule))) continue;
      fmt::print("{} -t {} {}\n", rule.program(), rule.table, printable(rule.text));
    }
    return done;
  }
  const auto removed = firewall::remove_stale();
  if (!removed) return report("cleanup", removed.error());
  fmt::print("{}\n", *removed == 0   ? "There was nothing to remove."
                     : *removed == 1 ? "Removed 1 rule."
                                     : fmt::format("Removed {} rules.", *removed));
  return done;
}

}  // namespace tool
