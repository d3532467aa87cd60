// SPDX-License-Identifier: MIT
// Indices for the interfaces of a capture, which knows only names: from 1, in the order in which they come up, so that
// the same file always gives the same.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ipq::capture {

class interface_table {
 public:
  static constexpr std::size_t most = 65'536;
  static constexpr std::size_t longest_name = 255;  ///< far above the system's 15; what is longer is cut

  /// 0 for an empty name, and if there are too many.
  [[nodiscard]] std::uint32_t index_of(std::string_view name) {
    name = name.substr(0, longest_name);
    if (name.empty()) return 0;
    if (const auto found = indices_.find(name); found != indices_.end()) return found->second;
    if (names_.size() == most) return 0;
    const auto index = static_cast<std::uint32_t>(names_.size() + 1);
    indices_.emplace(names_.emplace_back(name), index);
    return index;
  }
  [[nodiscard]] std::string_view name_of(std::uint32_t index) const noexcept {
    return index == 0 || index > names_.size() ? std::string_view() : names_[index - 1];
  }

  /// The section's interfaces have numbers by their order; a new section forgets those of the one before.
  void begin_section() noexcept {
    of_section_.clear();
    captured_.clear();
  }
  void add_to_section(std::string_view name) { of_section_.push_back(index_of(name)); }
  /// Of the interface with that number in the section, which has it.
  [[nodiscard]] std::uint32_t in_section(std::uint32_t number) const noexcept { return of_section_[number]; }
  /// Of one that a frame itself names, by its index on the machine that captured it (cooked 2).
  [[nodiscard]] std::uint32_t of_captured(std::uint32_t index) {
    const auto [known, fresh] = captured_.try_emplace(index, 0);
    const std::uint32_t found = fresh ? known->second = index_of("if" + std::to_string(index)) : known->second;
    if (captured_.size() > most) captured_.clear();
    return found;
  }

 private:
  std::deque<std::string> names_;  // which stay where they are
  std::unordered_map<std::string_view, std::uint32_t> indices_;
  std::vector<std::uint32_t> of_section_;
  std::unordered_map<std::uint32_t, std::uint32_t> captured_;
};

}  // namespace ipq::capture
