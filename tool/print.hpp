// SPDX-License-Identifier: MIT
// A packet for people, as one line that tcpdump's users can read, and for machines, as JSON.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ipq/packet.hpp"
#include "ipq/verdict.hpp"
#include "rules/metadata.hpp"

namespace tool {

using ipq::tool::rules::interface_names;
using wall_clock = std::chrono::system_clock;

/// How packets are printed.
struct print_style {
  bool time = true;      ///< begin with the time of day
  bool colours = false;  ///< ANSI colours
  bool bytes = false;    ///< the bytes below the line, or as "payload" in JSON
};

/// Appends the packet, without a line end: "12:00:00.000000 output eth0 mark 0x7 uid 1000 IP 192.0.2.1.5000 >
/// 192.0.2.2.53: UDP, length 33". Any packet can be printed, whatever its bytes are; what comes from outside and would
/// move a terminal's cursor is shown as '?'. The bytes, if asked for, follow on lines of their own.
void print_line(fmt::memory_buffer& out, const ipq::packet& packet, const interface_names& names,
                const print_style& style, wall_clock::time_point now = {});

/// Appends the packet as one line of JSON, without a line end; with its verdict, if there is one to tell.
void print_json(fmt::memory_buffer& out, const ipq::packet& packet, const interface_names& names,
                const print_style& style, wall_clock::time_point now = {}, const std::string& verdict = {});

/// "accept", "drop", "repeat", "stop", "queue 7"
[[nodiscard]] std::string to_string(const ipq::verdict& verdict);

/// "prerouting" to "postrouting", or "hook 9".
[[nodiscard]] std::string hook_name(std::uint8_t hook);

/// Appends lines of 16 bytes as tcpdump -x has them, each after a line end and a tab.
void print_bytes(fmt::memory_buffer& out, std::span<const std::byte> bytes);

/// TCP flags as tcpdump writes them, as "S.", or "none".
[[nodiscard]] std::string tcp_flag_letters(std::uint8_t flags);

}  // namespace tool
