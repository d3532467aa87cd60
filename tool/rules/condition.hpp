// SPDX-License-Identifier: MIT
// What stands behind the colon of a rule: tests in brackets, pcap filters and address sets, put together.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "address_set.hpp"
#include "fault.hpp"
#include "metadata.hpp"
#include "program.hpp"
#include "scanner.hpp"

namespace ipq::tool::rules {

/// Which of a packet's addresses has to be in a set.
enum class set_direction : std::uint8_t { source, destination, either, both };

/// A filter as a tree: programs and sets at its leaves.
struct node {
  enum class kind : std::uint8_t { program, set, all, any };

  kind what;
  bool negated = false;
  std::optional<program> code = {};                 ///< program
  std::shared_ptr<const address_set> set = {};      ///< set
  set_direction direction = set_direction::either;  ///< set
  std::vector<node> parts = {};                     ///< all, any: at least two

  [[nodiscard]] bool matches(const packet& which) const noexcept;
};

/// All tests and, if there is one, the filter must match.
struct condition {
  std::vector<metadata_test> metadata;
  std::optional<node> filter;

  [[nodiscard]] bool matches(const packet& which, const interface_names& names) const {
    for (const metadata_test& each : metadata) {
      if (!each.matches(which, names)) return false;
    }
    return !filter || filter->matches(which);
  }
  [[nodiscard]] bool tests_owner() const noexcept;
};

/// The address sets of one compilation, each read once.
class set_library {
 public:
  /// Faults inside of set files are added to `faults`.
  explicit set_library(fault_list& faults) : faults_(faults) {}

  /// Reads the set, or finds it. A relative name starts from `folder`. Null if it has faults, which are reported once.
  /// Throws fault if it can't be read at all.
  [[nodiscard]] std::shared_ptr<const address_set> find(const std::filesystem::path& folder, const std::string& name,
                                                        std::size_t column);

 private:
  fault_list& faults_;
  std::map<std::filesystem::path, std::shared_ptr<const address_set>> known_;
};

/// Reads the rest of the line. Throws fault.
[[nodiscard]] condition read_condition(scanner& from, const std::filesystem::path& folder, set_library& sets);

}  // namespace ipq::tool::rules
