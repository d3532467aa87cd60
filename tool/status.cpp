// SPDX-License-Identifier: MIT
// ipq status: the queues of the network namespace, and the rules that feed them.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "command_line.hpp"
#include "commands.hpp"
#include "queue_report.hpp"

namespace tool {

int status_main(int argc, char** argv) {
  bool json = false, prometheus = false, watch = false;
  double interval = 1;
  int count = 0;
  command_line line(
      "status",
      "Shows every queue of the network namespace: who serves it, how it copies packets, what waits, what\n"
      "was lost, the rules that feed it; and rules that lead to a queue that nobody serves.");
  line.add_flag("--json", json, "for programs");
  line.add_flag("--prometheus", prometheus, "as metrics, for a textfile collector");
  line.exclude("--json", "--prometheus");
  line.add_flag("--watch", watch, "again and again, until interrupted");
  line.add_option("--interval", "SECONDS", interval, decimal_between(0.01, 86400), "between two looks; without it 1");
  line.need("--interval", "--watch");
  line.add_option("--count", "N", count, number_between(1, 1'000'000'000), "end after so many looks");
  line.need("--count", "--watch");
  if (const auto end = line.parse(argc, argv)) return *end;

  const bool colours = has_colours(stdout);
  for (int looks = 1;; ++looks) {
    const auto made = make_queue_report();
    if (!made) return report("status", made.error());
    std::string text = json ? to_json(*made, watch) : prometheus ? to_prometheus(*made) : to_text(*made, colours);
    // From the top left corner, and what was there goes with the new lines.
    if (watch && colours && !json && !prometheus) text.insert(0, "\033[H\033[2J");
    fmt::print("{}", text);
    if (!watch || looks == count) return done;
    if (std::fflush(stdout) != 0) return done;  // main says why
    std::this_thread::sleep_for(std::chrono::duration<double>(interval));
  }
}

}  // namespace tool
