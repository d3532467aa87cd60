// SPDX-License-Identifier: MIT
// The comment that a recording has with each packet: read by people in Wireshark, and by the reader here, which makes
// of it the packet that was judged. One text for both can't contradict itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "capture/interface_table.hpp"
#include "ipq/packet.hpp"
#include "ipq/verdict.hpp"

namespace ipq::capture {

struct interface_names {
  std::string_view in = {}, out = {}, physin = {}, physout = {};
};

/// "verdict accept, mark 0x1, changed, id 17, queue 0, hook forward, in eth0, out eth1, had mark 0x7, took 31 us". What
/// stands before the id is the verdict's, what follows the packet's. Appended to `text`.
void write_note(std::string& text, const packet& about, const verdict& given, const interface_names& names,
                std::optional<std::chrono::nanoseconds> took);
/// "replaced by the verdict, id 17"
void write_replacement_note(std::string& text, std::uint32_t id);

struct note {
  packet about = {};  ///< only what the comment says: id, queue, hook, marks, owner, hw_addr, flags, and vlan and
                      ///< family where the link header does not have them
  verdict given = verdict::accept();
  bool changed = false;      ///< the packet that replaced this one follows
  bool link_header = false;  ///< that before the packet is its own, and not made for the recording
  /// As they stand in the comment, escaped.
  interface_names names = {};
  std::optional<std::chrono::nanoseconds> took = {};
};
/// Nothing if the comment is not such a note. Views point into `text`.
[[nodiscard]] std::optional<note> parse_note(std::string_view text);
/// Makes of a packet as the file has it, with what its link header says, the one that was judged; but for its id.
void restore(const note& from, interface_table& interfaces, packet& into);
/// The id, if the comment is that of a replacement.
[[nodiscard]] std::optional<std::uint32_t> parse_replacement_note(std::string_view text);

/// A name as it stands in a note: what would be taken for the note's own signs is written %2c.
void write_name(std::string& text, std::string_view name);
[[nodiscard]] std::string parse_name(std::string_view text);

}  // namespace ipq::capture
