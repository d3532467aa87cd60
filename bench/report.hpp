// SPDX-License-Identifier: MIT
// What the user sees of the measurement: one table, and the same with every run as JSON.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "measurement.hpp"

namespace bench {

// Under what circumstances the numbers came about.
struct circumstances {
  std::uint64_t packets = 0;
  unsigned rounds = 0;
  int cpu = 0;
  std::string kernel, processor;
  std::string load_before, load_after;         // as /proc/loadavg
  std::vector<std::uint64_t> packets_at_once;  // by scenario
};

// runs holds for each scenario one series per loop, in the order of the contestants; scenarios one after the other.
void print_table(std::ostream& out, const circumstances& around, const std::vector<series>& runs);
void print_json(std::ostream& out, const circumstances& around, const std::vector<series>& runs);

}  // namespace bench
