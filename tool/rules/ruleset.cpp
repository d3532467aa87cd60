// SPDX-License-Identifier: MIT
// Cuts texts into lines, and keeps what their rules add up to.
#include "ruleset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "compiled.hpp"
#include "fault.hpp"

namespace ipq::tool::rules {
namespace {

constexpr std::size_t longest_line = 65536;

void read_line(std::string_view line, std::size_t number, const source& from, compilation& context, compiled& into) {
  if (line.size() > longest_line) {
    throw fault{longest_line + 1, fmt::format("the line has {} bytes; expected at most {}", line.size(), longest_line)};
  }
  scanner reader(line);
  if (reader.at_end()) return;
  const auto indent = static_cast<std::uint32_t>(reader.column() - 1);
  const std::string_view text = reader.rest();
  reader = scanner(line);
  read_rule(reader, from, context, into);
  into.origins.push_back({from.name, number, std::string(text)});
  into.columns.back().indent = indent;
}

template <class Wanted>
std::optional<ruleset::place> first_action(const compiled& all, Wanted&& wanted) {
  for (std::size_t rule = 0; rule < all.rules.size(); ++rule) {
    const auto& actions = all.rules[rule].actions;
    for (std::size_t each = 0; each < actions.size(); ++each) {
      if (wanted(actions[each])) return ruleset::place{rule, all.columns[rule].actions[each]};
    }
  }
  return std::nullopt;
}

template <class... Actions>
std::optional<ruleset::place> first_of(const compiled& all) {
  return first_action(all, [](const action& one) { return (std::holds_alternative<Actions>(one) || ...); });
}

}  // namespace

std::expected<ruleset, std::vector<diagnostic>> ruleset::compile(std::span<const source> sources) {
  auto made = std::make_shared<compiled>();
  fault_list faults;
  compilation context(faults);
  for (const source& from : sources) {
    std::string_view rest = from.text;
    for (std::size_t number = 1; !rest.empty() && !faults.full(); ++number) {
      const auto end = rest.find('\n');
      std::string_view line = rest.substr(0, end);
      rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (const auto nul = line.substr(0, longest_line).find('\0'); nul != std::string_view::npos) {
        faults.add_last({from.name, number, nul + 1, "a NUL byte: this is no file of rules, which is text",
                         std::string(line.substr(0, longest_line))});
        break;
      }
      try {
        read_line(line, number, from, context, *made);
      } catch (fault& what) {
        faults.add({from.name, number, what.column, std::move(what.message), std::string(line.substr(0, longest_line)),
                    what.forbidden});
      }
    }
  }
  if (!faults.empty()) return std::unexpected(std::move(faults).take());

  std::vector<const condition*> conditions;
  for (const rule& each : made->rules) conditions.push_back(&each.when);
  made->index = candidate_index(conditions);
  return ruleset(std::move(made));
}

ruleset::ruleset() : compiled_(std::make_shared<compiled>()) {}

std::size_t ruleset::size() const noexcept {
  return compiled_->rules.size();
}
const ruleset::origin& ruleset::operator[](std::size_t rule) const noexcept {
  return compiled_->origins[rule];
}

std::span<const std::filesystem::path> ruleset::record_files() const noexcept {
  return compiled_->record_files;
}
std::span<const std::string> ruleset::count_names() const noexcept {
  return compiled_->count_names;
}

bool ruleset::tests_owner() const noexcept {
  return std::ranges::any_of(compiled_->rules, [](const rule& each) { return each.when.tests_owner(); });
}
bool ruleset::delays() const noexcept {
  return first_of<add_delay, reorder, limit_rate>(*compiled_).has_value();
}
bool ruleset::duplicates() const noexcept {
  return first_duplicate().has_value();
}

bool ruleset::uses_chance() const noexcept {
  const auto has_jitter = [](const action& one) {
    const auto* const delay = std::get_if<add_delay>(&one);
    return delay != nullptr && delay->jitter.count() > 0;
  };
  return first_of<lose_some, duplicate, corrupt, reorder>(*compiled_) ||
         std::ranges::any_of(compiled_->rules,
                             [&](const rule& each) { return std::ranges::any_of(each.actions, has_jitter); });
}

diagnostic ruleset::fault_at(const place& where, std::string message) const {
  const origin& from = compiled_->origins[where.rule];
  return {.file = from.file,
          .line = from.line,
          .column = where.column,
          .message = std::move(message),
          .text = std::string(compiled_->columns[where.rule].indent, ' ') + from.text};
}

std::optional<ruleset::place> ruleset::first_change() const {
  return first_of<set_address, set_number, replace_bytes, corrupt>(*compiled_);
}
std::optional<ruleset::place> ruleset::first_duplicate() const {
  return first_of<duplicate>(*compiled_);
}
std::optional<ruleset::place> ruleset::first_record(std::size_t file) const {
  return first_action(*compiled_, [&](const action& one) {
    const auto* const found = std::get_if<write_record>(&one);
    return found != nullptr && found->file == file;
  });
}

std::vector<ruleset::queue_use> ruleset::queues() const {
  std::vector<queue_use> made;
  for (std::size_t at = 0; at < size(); ++at) {
    const ipq::verdict& ending = compiled_->rules[at].ending;
    if (ending.what() != ipq::verdict::action::queue) continue;
    made.push_back({static_cast<std::uint16_t>(ending.value() >> 16), {at, compiled_->columns[at].ending}});
  }
  return made;
}
std::vector<ruleset::repeat_use> ruleset::all_repeats() const {
  std::vector<repeat_use> made;
  for (std::size_t at = 0; at < size(); ++at) {
    const rule& each = compiled_->rules[at];
    if (each.ending.what() != ipq::verdict::action::repeat) continue;
    repeat_use one{.mark = 0, .mask = 0, .connmark = false, .where = {at, compiled_->columns[at].ending}};
    for (const action& what : each.actions) {
      one.connmark |= std::holds_alternative<set_connmark>(what);
      const auto* const marking = std::get_if<set_mark>(&what);
      if (marking == nullptr) continue;
      one.mark = (one.mark & ~marking->mask) | marking->value;
      one.mask |= marking->mask;
    }
    made.push_back(one);
  }
  return made;
}
std::vector<std::string> ruleset::interfaces() const {
  std::vector<std::string> names;
  for (const rule& each : compiled_->rules) add_interfaces(each.when.metadata, names);
  return names;
}

}  // namespace ipq::tool::rules
