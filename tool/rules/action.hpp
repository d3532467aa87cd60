// SPDX-License-Identifier: MIT
// What a line does to the packets that match, verdicts aside.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "ipq/address.hpp"
#include "units.hpp"

namespace ipq::tool::rules {

struct set_mark {
  std::uint32_t value;
  std::uint32_t mask;  ///< the bits of the old mark that value replaces
};
struct set_connmark {
  std::uint32_t value;
  std::uint32_t mask;  ///< as set_mark's
};
struct set_priority {
  std::uint32_t value;
};
struct write_log {
  std::string prefix;
};
struct add_count {
  std::size_t name;  ///< index into compiled::count_names
};
struct write_record {
  std::size_t file;  ///< index into compiled::record_files
};

enum class address_field : std::uint8_t { source, destination };
struct set_address {
  address_field field;
  std::variant<ipv4_address, ipv6_address> value;
};
enum class number_field : std::uint8_t { source_port, destination_port, ttl, dscp };
struct set_number {
  number_field field;
  std::uint16_t value;
};
struct replace_bytes {
  std::string from;
  std::string to;  ///< of the same length
};

// Impairments. `state` is the index of what the engine remembers of each: its random numbers, its bucket.
struct add_delay {
  std::chrono::nanoseconds time;
  std::chrono::nanoseconds jitter;  ///< up to so much more or less
  std::size_t state;
};
struct lose_some {
  chance of;
  std::size_t state;
};
struct duplicate {
  chance of;
  std::size_t state;
};
struct corrupt {
  chance of;
  std::size_t state;
};
struct reorder {
  chance of;
  std::chrono::nanoseconds within;
  std::size_t state;
};
struct limit_rate {
  rate to;
  std::chrono::nanoseconds within;  ///< the longest wait; what would wait longer is lost
  std::size_t state;
};

using action = std::variant<set_mark, set_connmark, set_priority, write_log, add_count, write_record, set_address,
                            set_number, replace_bytes, add_delay, lose_some, duplicate, corrupt, reorder, limit_rate>;

}  // namespace ipq::tool::rules
