// SPDX-License-Identifier: MIT
// Blocks of a recording, encoded: sections, interfaces as they come up, and packets with their verdicts.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "capture/format.hpp"
#include "capture/note.hpp"
#include "capture/output.hpp"
#include "ipq/packet.hpp"
#include "ipq/verdict.hpp"

namespace ipq::capture {

/// Writes into an output, of which a new one begins with begin().
class block_writer {
 public:
  void begin(output& to);
  /// `time`: nanoseconds since 1970; earlier ones count as 1970.
  void write(const packet& which, const verdict& given, const interface_names& names, std::int64_t time,
             std::optional<std::chrono::nanoseconds> took);

 private:
  std::uint32_t interface_of(std::string_view name);
  void write_packet(std::uint32_t interface, std::uint64_t time, bytes link, bytes packet, std::size_t original_length);
  void write_block(std::uint32_t type);

  output* to_ = nullptr;
  std::map<std::string, std::uint32_t, std::less<>> interfaces_;  ///< by name
  std::vector<std::byte> body_;                                   ///< of the block that is made
  std::vector<std::byte> options_;                                ///< of the packet that is made
  std::string text_;
};

}  // namespace ipq::capture
