// SPDX-License-Identifier: MIT
// ipq watch: prints what is queued, and accepts it.
#include <cstdio>

#include "command_line.hpp"
#include "commands.hpp"
#include "filter_handler.hpp"

namespace tool {

int watch_main(int argc, char** argv) {
  command_line line("watch",
                    "Prints the packets of a queue that match FILTER, one a line, and accepts all.\n"
                    "FILTER is of pcap-filter(7), with tests of metadata before it in brackets: ipq-rules(5).");
  live_options options;
  filter_job job;
  std::vector<std::string> words;
  add_live_options(line, options);
  add_show_options(line, job.how);
  line.add_arguments("FILTER", words, "print only what matches");
  if (const auto end = line.parse(argc, argv)) return *end;
  auto filter = compile_filter(words);
  if (!filter) return report("watch", filter.error());
  job.filter = *std::move(filter);
  job.how.style.colours = !job.how.json && has_colours(stdout);
  return run_filter("watch", options, job);
}

}  // namespace tool
