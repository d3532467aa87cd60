// SPDX-License-Identifier: MIT
// A condition without a rule around it.
#include "filter.hpp"

#include <utility>

#include "condition.hpp"
#include "fault.hpp"

namespace ipq::tool::rules {

std::expected<filter, std::vector<diagnostic>> filter::compile(const source& from) {
  constexpr std::size_t longest = 65536;
  fault_list faults;
  set_library sets(faults);
  try {
    if (from.text.size() > longest) throw fault{0, "the filter is longer than 65536 bytes"};
    if (const auto at = from.text.find_first_of(std::string_view("\0\n", 2)); at != std::string::npos) {
      throw fault{at + 1, from.text[at] == '\n' ? "expected a filter on one line" : "a NUL byte: expected text"};
    }
    scanner reader(from.text);
    auto made = std::make_shared<condition>(read_condition(reader, from.folder, sets));
    if (faults.empty()) return filter(std::move(made));
  } catch (fault& what) {
    faults.add({from.name, 1, what.column, std::move(what.message), from.text.substr(0, longest), what.forbidden});
  }
  return std::unexpected(std::move(faults).take());
}

bool filter::matches(const packet& which, const interface_names& names) const {
  return condition_->matches(which, names);
}

bool filter::tests_owner() const noexcept {
  return condition_->tests_owner();
}

std::vector<std::string> filter::interfaces() const {
  std::vector<std::string> names;
  add_interfaces(condition_->metadata, names);
  return names;
}

}  // namespace ipq::tool::rules
