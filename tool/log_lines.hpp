// SPDX-License-Identifier: MIT
// What `log` in a rule prints, of live packets and of a capture's alike.
#pragma once

#include "print.hpp"
#include "rules/engine.hpp"

namespace tool {

/// Appends a line for each `log` that the packet met: its prefix, the packet as it came at `when`, and its verdict.
void print_logs(fmt::memory_buffer& to, const ipq::packet& packet, const ipq::tool::rules::decision& decision,
                const interface_names& names, const print_style& style, wall_clock::time_point when);

}  // namespace tool
