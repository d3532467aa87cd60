// SPDX-License-Identifier: MIT
// What the command line asks for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace bench {

struct options {
  std::uint64_t packets = 20'000;
  unsigned rounds = 12;
  std::vector<unsigned> sizes;  // bytes of UDP payload; never empty after reading
  std::string only;             // the name of one contestant; empty: all
  std::string scenario;         // part of the name; empty: all
  int cpu = -1;                 // -1: the highest that we may use
  std::string capture;          // instead of one that is made
  std::string json;             // file; empty: none
  bool help = false;
};

// Throws std::invalid_argument with a sentence for the user.
options read_options(int count, char** words);

extern const char* const usage;

}  // namespace bench
