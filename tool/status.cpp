// SPDX-License-Identifier: MIT
// ipq status: the queues of the network namespace.
#include <fmt/format.h>

#include "command_line.hpp"
#include "commands.hpp"
#include "ipq/status.hpp"

namespace tool {

int status_main(int argc, char** argv) {
  command_line line("status", "Shows every queue of the network namespace.");
  if (const auto end = line.parse(argc, argv)) return *end;
  const auto queues = ipq::read_queue_status();
  if (!queues) return report("status", queues.error());
  for (const auto& each : *queues) fmt::print("queue {} {} (pid {})\n", each.number, each.command, each.pid);
  return done;
}

}  // namespace tool
