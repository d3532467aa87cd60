// SPDX-License-Identifier: MIT
// What the user sees of the measurement: a table for each library, and the same with every run as JSON.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "scenario.hpp"

namespace bench {

// Under what circumstances the numbers came about.
struct circumstances {
  std::uint64_t packets = 0;
  unsigned rounds = 0;
  int cpu = 0;
  std::string kernel, processor;
  std::string load_before, load_after;  // as /proc/loadavg
  std::vector<std::string> left_out;    // scenarios, and why
};

// All runs of one contestant in one scenario.
struct series {
  std::size_t contestant = 0;
  std::vector<sample> samples;
};

struct outcome {
  const scenario* of;
  std::vector<series> runs;  // in the order of the contestants; fewer where not all were to run
};

void print_tables(std::ostream& out, const circumstances& around, const std::vector<outcome>& outcomes);
void print_json(std::ostream& out, const circumstances& around, const std::vector<outcome>& outcomes);

}  // namespace bench
