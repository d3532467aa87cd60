// SPDX-License-Identifier: MIT
// Other programs, run to their end: the iptables family.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tool::firewall {

struct program_result {
  int status = 0;      ///< exit status; 127: there is no such program; 128 + signal
  std::string output;  ///< standard output and standard error
};

/// The output of what there is not.
constexpr std::string_view not_installed = "not installed";

/// Runs a program of PATH, or of the folders for administrators, with `input` as its standard input, in the network
/// namespace of the calling thread. Of other descriptors it inherits `inherited` alone, where that is one.
[[nodiscard]] program_result run_program(const std::vector<std::string>& words, std::string_view input = {},
                                         int inherited = -1);

}  // namespace tool::firewall
