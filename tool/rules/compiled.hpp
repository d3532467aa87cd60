// SPDX-License-Identifier: MIT
// What a ruleset shares: its rules as the engine works through them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "action.hpp"
#include "candidates.hpp"
#include "condition.hpp"
#include "ipq/verdict.hpp"
#include "ruleset.hpp"

namespace ipq::tool::rules {

struct rule {
  condition when;
  std::vector<action> actions;
  ipq::verdict ending = ipq::verdict::accept();
  bool goes_on = false;  ///< continue: no verdict yet
};

/// Columns of a rule's words in its line.
struct rule_columns {
  std::vector<std::uint32_t> actions;
  std::uint32_t ending = 0;
  std::uint32_t indent = 0;  ///< bytes that stand before origin::text
};

struct compiled {
  std::vector<rule> rules;
  std::vector<ruleset::origin> origins;
  std::vector<rule_columns> columns;
  std::vector<std::filesystem::path> record_files;
  std::vector<std::string> count_names;
  std::size_t states = 0;  ///< of impairments
  candidate_index index;
};

/// What has been met so far while rules are compiled.
struct compilation {
  explicit compilation(fault_list& faults) : sets(faults) {}

  set_library sets;
  std::map<std::filesystem::path, std::size_t> record_files;
  std::map<std::string, std::size_t> count_names;
};

/// Reads one line that is not empty and appends it. Throws fault.
void read_rule(scanner& from, const source& where, compilation& context, compiled& into);

}  // namespace ipq::tool::rules
