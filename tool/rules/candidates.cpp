// SPDX-License-Identifier: MIT
// Chooses for each condition the fields that tell it best from the others, and makes the tables.
#include "candidates.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace ipq::tool::rules {
namespace {

constexpr std::size_t few = 4;  // conditions that are asked one by one as fast as tables are

void sort_unique(std::vector<std::uint32_t>& numbers) {
  std::ranges::sort(numbers);
  const auto repeated = std::ranges::unique(numbers);
  numbers.erase(repeated.begin(), repeated.end());
}

// A condition matches only if in one of these ways something holds. Nothing: no such thing is known.
using ways = std::optional<std::vector<path>>;

ways ways_of(const node& what) {
  if (what.negated) return std::nullopt;
  switch (what.what) {
    case node::kind::program: {
      ways made = accepting_paths(what.code->instructions());
      if (made && std::ranges::any_of(*made, &path::empty)) return std::nullopt;
      return made;
    }
    case node::kind::set:
      return std::nullopt;
    case node::kind::all:
      for (const node& part : what.parts) {
        if (ways made = ways_of(part)) return made;
      }
      return std::nullopt;
    case node::kind::any: {
      std::vector<path> all;
      for (const node& part : what.parts) {
        const ways made = ways_of(part);
        if (!made) return std::nullopt;
        all.insert(all.end(), made->begin(), made->end());
      }
      return all;
    }
  }
  return std::nullopt;
}

std::uint32_t last_value(const field& of) noexcept {
  return of.size == 1 ? 0xffu : of.size == 2 ? 0xffffu : 0xffffffffu;
}

}  // namespace

candidate_index::candidate_index(std::span<const condition* const> conditions) {
  std::vector<ways> all(conditions.size());
  std::map<field, std::set<std::pair<std::uint32_t, std::uint32_t>>> values;
  if (conditions.size() > few) {
    for (std::size_t at = 0; at < conditions.size(); ++at) {
      if (conditions[at]->filter) all[at] = ways_of(*conditions[at]->filter);
      if (!all[at]) continue;
      for (const path& way : *all[at]) {
        for (const field_range& each : way) values[each.of].insert({each.first, each.last});
      }
    }
  }

  std::map<field, std::vector<entry>> entries;
  for (std::size_t at = 0; at < conditions.size(); ++at) {
    const auto which = static_cast<number>(at);
    if (!all[at]) {
      always_.push_back(which);
      continue;
    }
    for (const path& way : *all[at]) {
      // The field that has the most different values among all conditions, and the narrowest of such.
      const auto best = std::ranges::max_element(way, {}, [&](const field_range& each) {
        return std::pair(values[each.of].size(), last_value(each.of) - (each.last - each.first));
      });
      entries[best->of].push_back({best->first, best->last, which});
    }
  }

  for (const auto& [of, ranges] : entries) {
    if (auto made = make_table(of, ranges)) {
      tables_.push_back(std::move(*made));
    } else {
      for (const entry& each : ranges) always_.push_back(each.condition);
    }
  }
  sort_unique(always_);
}

std::optional<candidate_index::table> candidate_index::make_table(const field& of, std::span<const entry> entries) {
  table made{.of = of, .bounds = {0}, .starts = {}, .pieces = {}, .numbers = {}};
  for (const entry& each : entries) {
    made.bounds.push_back(each.first);
    if (each.last != 0xffffffff) made.bounds.push_back(each.last + 1);
  }
  sort_unique(made.bounds);

  std::vector<std::vector<number>> lists(made.bounds.size());
  std::size_t total = 0;
  for (const entry& each : entries) {
    auto at = static_cast<std::size_t>(std::ranges::lower_bound(made.bounds, each.first) - made.bounds.begin());
    for (; at < lists.size() && made.bounds[at] <= each.last; ++at) {
      lists[at].push_back(each.condition);
      // Ranges that overlap a lot would need the square of their number.
      if (++total > 64 * entries.size() + 1024) return std::nullopt;
    }
  }
  for (std::vector<number>& each : lists) {
    made.starts.push_back(static_cast<std::uint32_t>(made.numbers.size()));
    sort_unique(each);
    made.numbers.insert(made.numbers.end(), each.begin(), each.end());
  }
  made.starts.push_back(static_cast<std::uint32_t>(made.numbers.size()));

  if (of.size < 4 && made.bounds.size() <= 0xffff) {
    made.pieces.resize(std::size_t{last_value(of)} + 1);
    std::size_t piece = 0;
    for (std::size_t value = 0; value < made.pieces.size(); ++value) {
      if (piece + 1 < made.bounds.size() && made.bounds[piece + 1] == value) ++piece;
      made.pieces[value] = static_cast<std::uint16_t>(piece);
    }
  }
  return made;
}

std::span<const candidate_index::number> candidate_index::table::find(std::uint32_t value) const noexcept {
  std::size_t piece;
  if (!pieces.empty()) {
    piece = pieces[value];
  } else {
    piece = static_cast<std::size_t>(std::ranges::upper_bound(bounds, value) - bounds.begin()) - 1;
  }
  return std::span(numbers).subspan(starts[piece], starts[piece + 1] - starts[piece]);
}

void candidate_index::look_up(std::span<const std::byte> packet, list& into) const {
  into.parts_.clear();
  if (!always_.empty()) into.parts_.emplace_back(always_);
  for (const table& each : tables_) {
    const auto value = each.of.read(packet);
    if (!value) continue;
    const auto found = each.find(*value);
    if (!found.empty()) into.parts_.push_back(found);
  }
}

}  // namespace ipq::tool::rules
