// SPDX-License-Identifier: MIT
// ipq accept and ipq drop: one verdict for what matches, another one for what does not.
#include <cstdio>

#include "command_line.hpp"
#include "commands.hpp"
#include "filter_handler.hpp"

namespace tool {
namespace {

int decide(const char* command, const char* description, const ipq::verdict& matching, int argc, char** argv) {
  command_line line(command, description);
  live_options options;
  filter_job job;
  std::vector<std::string> words;
  job.matching = matching;
  add_live_options(line, options);
  line.add_option("--else", "accept|drop", job.others, parse_verdict,
                  "what becomes of packets that do not match; without it accept");
  job.how.lines = false;
  line.add_flag("-v,--verbose", job.how.lines, "print what matches; --json and -x do, too");
  add_show_options(line, job.how);
  line.add_arguments("FILTER", words, "what matches, as in pcap-filter(7) and ipq-rules(5); without it everything");
  if (const auto end = line.parse(argc, argv)) return *end;
  auto filter = compile_filter(words);
  if (!filter) return report(command, filter.error());
  job.filter = *std::move(filter);
  job.how.verdict = true;
  job.how.lines = job.how.lines || job.how.json || job.how.style.bytes;
  job.how.style.colours = !job.how.json && has_colours(stdout);
  return run_filter(command, options, job);
}

}  // namespace

int accept_main(int argc, char** argv) {
  return decide("accept", "Accepts the packets of a queue that match FILTER; --else says what becomes of the others.",
                ipq::verdict::accept(), argc, argv);
}

int drop_main(int argc, char** argv) {
  return decide("drop", "Drops the packets of a queue that match FILTER; --else says what becomes of the others.",
                ipq::verdict::drop(), argc, argv);
}

}  // namespace tool
