// SPDX-License-Identifier: MIT
// What replay and compare are told of a capture and of how rules judge it.
#pragma once

#include <cstdint>
#include <string>

#include "failure.hpp"
#include "ipq/capture.hpp"

namespace tool {

class command_line;

struct replay_options {
  std::uint8_t hook = 2;
  std::string interface = {};
  ipq::verdict otherwise = ipq::verdict::accept();
  std::uint64_t seed = 0;
  std::uint16_t first_queue = 0, last_queue = 0;  ///< that were served, by so many workers
  unsigned workers = 1;
};

void add_replay_options(command_line& to, replay_options& options);

/// Checks what depends on several options, after parsing.
[[nodiscard]] outcome<void> check(const replay_options& options);

[[nodiscard]] ipq::capture_options capture_options_of(const replay_options& from);

/// Where a live queue would have only the beginning of a packet, as the kernel copies at most 65531 bytes, that is put
/// into `view`, which is returned; else `packet`.
[[nodiscard]] const ipq::packet* as_live(const ipq::packet& packet, ipq::packet& view);

/// "in.pcap: read capture, packet 7 at byte 1032: ..."; `failed`, or `no_rights` where the file may not be used.
[[nodiscard]] failure about_file(const std::string& path, const ipq::error& what);

/// What packets carry, to be counted: IANA's number, or what keeps it from being known.
constexpr std::size_t later_fragment = 256, malformed_packet = 257, protocol_kinds = 258;
[[nodiscard]] std::size_t protocol_of(const ipq::packet& packet) noexcept;
/// "tcp", "icmpv6", "protocol 47", "later fragment"
[[nodiscard]] std::string protocol_name(std::size_t kind);

}  // namespace tool
