// SPDX-License-Identifier: MIT
#include "log_lines.hpp"

#include <fmt/format.h>

#include <iterator>

#include "printable.hpp"

namespace tool {

void print_logs(fmt::memory_buffer& to, const ipq::packet& packet, const ipq::tool::rules::decision& decision,
                const interface_names& names, const print_style& style, wall_clock::time_point when) {
  for (const std::string_view prefix : decision.logs) {
    if (!prefix.empty()) fmt::format_to(std::back_inserter(to), "{} ", printable(prefix));
    print_line(to, packet, names, style, when);
    fmt::format_to(std::back_inserter(to), ": {}\n", decision.lost ? "lost" : to_string(decision.verdict));
  }
}

}  // namespace tool
