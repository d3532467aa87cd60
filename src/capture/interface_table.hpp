// SPDX-License-Identifier: MIT
// Indices for the interfaces of a capture, which knows only names: from 1, in the order in which they come up, so that
// the same file always gives the same.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>

namespace ipq::capture {

class interface_table {
 public:
  static constexpr std::size_t most = 65'536;

  /// 0 for an empty name, and if there are too many.
  [[nodiscard]] std::uint32_t index_of(std::string_view name) {
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

 private:
  std::deque<std::string> names_;  // which stay where they are
  std::unordered_map<std::string_view, std::uint32_t> indices_;
};

}  // namespace ipq::capture
