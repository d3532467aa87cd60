// SPDX-License-Identifier: MIT
// Works through the lines that may match, collects what they do, and makes one decision of it.
#include "engine.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <utility>

#include "compiled.hpp"
#include "ipq/rule.hpp"
#include "packet_changes.hpp"
#include "random.hpp"

namespace ipq::tool::rules {
namespace {

std::uint32_t length_of(const packet& which) noexcept {
  return std::max(which.original_length, static_cast<std::uint32_t>(which.payload.size()));
}

// How long a link of this rate is busy with a packet.
time cost(const rate& of, std::uint32_t bytes) noexcept {
  using wide = unsigned __int128;
  const wide units = of.bits ? std::uint64_t{bytes} * 8 : 1;
  constexpr wide most = std::uint64_t{1} << 58;  // nine years, and sums of such still fit
  return time(static_cast<time::rep>(std::min(units * 1'000'000'000'000 / of.in_1000_seconds, most)));
}

// The states of a line's impairments, in the order of its text.
std::vector<std::size_t> states_of(const rule& which) {
  std::vector<std::size_t> made;
  for (const action& each : which.actions) {
    std::visit(
        [&](const auto& one) {
          if constexpr (requires { one.state; }) made.push_back(one.state);
        },
        each);
  }
  return made;
}

bool remembers(const rule& which) {
  return !states_of(which).empty();
}

// A copy leaves as this machine's own. Of a packet that is still to be judged, delivered or forwarded it would pass by
// the firewall that is to come; of a broadcast that came in, or is bridged, two machines would send copies for ever.
bool may_be_copied(const packet& which) noexcept {
  constexpr std::uint8_t bridge = 7;  // NFPROTO_BRIDGE
  const auto at = static_cast<ipq::hook>(which.hook);
  return which.family != bridge && (at == ipq::hook::output || at == ipq::hook::postrouting);
}

time up_to(random& numbers, time limit) noexcept {
  return time(static_cast<time::rep>(numbers.below(static_cast<std::uint64_t>(limit.count()) + 1)));
}

}  // namespace

struct engine::state {
  state(ruleset given, engine_options chosen)
      : rules(std::move(given)),
        all(&rules.rules()),
        options(std::move(chosen)),
        counts(all->rules.size()),
        named(all->count_names.size()),
        busy_until(all->states, time::min()) {
    for (std::size_t each = 0; each < all->states; ++each) numbers.emplace_back(options.seed, each);
  }

  void continue_impairments(const state& before) {
    now = before.now;
    first_stream = before.first_stream + before.numbers.size();
    for (std::size_t each = 0; each < numbers.size(); ++each) numbers[each] = {options.seed, first_stream + each};
    // Of equal lines the first goes on from the first.
    std::map<std::string_view, std::deque<std::size_t>> known;
    for (std::size_t each = 0; each < before.all->rules.size(); ++each) {
      if (remembers(before.all->rules[each])) known[before.all->origins[each].text].push_back(each);
    }
    for (std::size_t each = 0; each < all->rules.size(); ++each) {
      if (!remembers(all->rules[each])) continue;
      const auto found = known.find(all->origins[each].text);
      if (found == known.end() || found->second.empty()) continue;
      const auto from = states_of(before.all->rules[found->second.front()]);
      const auto to = states_of(all->rules[each]);
      found->second.pop_front();
      for (std::size_t i = 0; i < to.size() && i < from.size(); ++i) {
        numbers[to[i]] = before.numbers[from[i]];
        busy_until[to[i]] = before.busy_until[from[i]];
      }
    }
  }

  const decision& judge(const packet& which, time moment) {
    begin(which, moment);
    all->index.look_up(which.payload, candidates);
    for (candidate_index::number from = 0;; ++from) {
      const auto next = candidates.next(from);
      if (!next) break;
      from = *next;
      const rule& each = all->rules[from];
      if (!each.when.matches(*seen, options.names)) continue;
      at = from;
      ++counts[at].packets;
      counts[at].bytes += length;
      if (!carry_out(each)) return lose();
      if (!each.goes_on) return finish(each.ending, at);
      show_changes();
    }
    ++unmatched.packets;
    unmatched.bytes += length;
    return finish(options.otherwise, decision::no_rule);
  }

  void begin(const packet& which, time moment) {
    seen = &which;
    original = &which;
    changes.begin(which);
    has_changed = false;
    length = length_of(which);
    now = std::max(now, moment);
    made = decision{};
    mark.reset();
    connmark.reset();
    connmark_mask = 0;
    priority.reset();
    records.clear();
    logs.clear();
    flips.clear();
    short_of.clear();
  }

  // False: the packet is lost.
  bool carry_out(const rule& which) {
    for (const action& each : which.actions) {
      if (!std::visit([&](const auto& one) { return perform(one); }, each)) return false;
    }
    return true;
  }

  bool perform(const set_mark& what) {
    mark = (mark.value_or(original->mark) & ~what.mask) | what.value;
    return true;
  }
  bool perform(const set_connmark& what) {
    connmark = (connmark.value_or(0) & ~what.mask) | what.value;
    connmark_mask |= what.mask;
    return true;
  }
  bool perform(const set_priority& what) {
    priority = what.value;
    return true;
  }
  bool perform(const write_log& what) {
    logs.emplace_back(what.prefix);
    return true;
  }
  bool perform(const add_count& what) {
    ++named[what.name].packets;
    named[what.name].bytes += length;
    return true;
  }
  bool perform(const write_record& what) {
    if (std::ranges::find(records, what.file) == records.end()) records.push_back(what.file);
    return true;
  }
  bool perform(const set_address& what) { return change(what); }
  bool perform(const set_number& what) { return change(what); }
  bool perform(const replace_bytes& what) { return change(what); }

  bool perform(const add_delay& what) {
    time by = what.time;
    if (what.jitter > time{}) by += up_to(numbers[what.state], 2 * what.jitter) - what.jitter;
    made.delay += std::max(by, time{});
    return true;
  }
  bool perform(const lose_some& what) { return !numbers[what.state].happens(what.of); }
  bool perform(const duplicate& what) {
    if (numbers[what.state].happens(what.of)) {
      ++made.duplicates;
      duplicated_by = at;
    }
    return true;
  }
  bool perform(const corrupt& what) {
    if (numbers[what.state].happens(what.of)) flips.push_back({numbers[what.state].next(), at});
    return true;
  }
  bool perform(const reorder& what) {
    if (numbers[what.state].happens(what.of)) made.delay += up_to(numbers[what.state], what.within);
    return true;
  }
  bool perform(const limit_rate& what) {
    time& busy = busy_until[what.state];
    const time start = std::max(now, busy);
    if (start - now > what.within) return false;
    busy = start + cost(what.to, length);
    made.delay += start - now;
    return true;
  }

  template <class Change>
  bool change(const Change& what) {
    if (!changes.apply(what)) fall_short(at);
    has_changed |= changes.is_changed();
    return true;
  }

  void fall_short(std::size_t rule) {
    made.not_applied = true;
    if (std::ranges::find(short_of, rule) != short_of.end()) return;
    short_of.push_back(rule);
    ++counts[rule].not_applied;
  }

  // What a line changed that went on is what those behind it see.
  void show_changes() {
    if (!has_changed && mark.value_or(seen->mark) == seen->mark) return;
    if (seen != &view) {
      view = *seen;
      seen = &view;
    }
    view.mark = mark.value_or(view.mark);
    if (!std::exchange(has_changed, false)) return;
    view.payload = changes.bytes();
    all->index.look_up(view.payload, candidates);
  }

  const decision& lose() {
    ++counts[at].lost;
    made.lost = true;
    return finish(ipq::verdict::drop(), at);
  }

  const decision& finish(const ipq::verdict& ending, std::size_t rule) {
    made.rule = rule;
    made.verdict = ending;
    made.records = records;
    made.logs = logs;
    if (ending.what() == ipq::verdict::action::drop) {
      made.delay = {};
      made.duplicates = 0;
      return made;
    }
    if (mark) made.verdict = made.verdict.with_mark(*mark);
    if (connmark) made.verdict = made.verdict.with_connmark(*connmark, connmark_mask);
    if (priority) made.verdict = made.verdict.with_priority(*priority);
    for (const flip& each : flips) {
      if (!changes.corrupt(each.number)) fall_short(each.rule);
    }
    if (changes.is_changed()) made.verdict = made.verdict.with_payload(changes.bytes());
    if (made.duplicates > 0) {
      if (may_be_copied(*original)) made.duplicate = changes.whole();
      if (made.duplicate.empty()) {
        made.duplicates = 0;
        fall_short(duplicated_by);
      }
    }
    return made;
  }

  struct flip {
    std::uint64_t number;
    std::size_t rule;
  };

  ruleset rules;
  const compiled* all;
  engine_options options;
  std::vector<rule_counts> counts;
  rule_counts unmatched;
  std::vector<name_counts> named;
  std::vector<random> numbers;     // of each impairment
  std::uint64_t first_stream = 0;  // of numbers; those before it were of other rules
  std::vector<time> busy_until;    // likewise, for rates
  time now = time::min();

  // Of the packet that is judged.
  const packet* original = nullptr;
  const packet* seen = nullptr;  // original, or view once something has changed
  packet view;
  packet_changes changes;
  bool has_changed = false;
  std::uint32_t length = 0;
  std::size_t at = 0;
  std::optional<std::uint32_t> mark, connmark, priority;
  std::uint32_t connmark_mask = 0;
  std::size_t duplicated_by = 0;
  decision made;
  std::vector<std::size_t> records;
  std::vector<std::string_view> logs;
  std::vector<flip> flips;
  std::vector<std::size_t> short_of;
  candidate_index::list candidates;
};

engine::engine(ruleset rules, engine_options options)
    : state_(std::make_unique<state>(std::move(rules), std::move(options))) {}
engine::engine(engine&&) noexcept = default;
engine& engine::operator=(engine&&) noexcept = default;
engine::~engine() = default;

const decision& engine::judge(const packet& which, time now) {
  return state_->judge(which, now);
}

const ruleset& engine::rules() const noexcept {
  return state_->rules;
}
std::span<const rule_counts> engine::counts() const noexcept {
  return state_->counts;
}
rule_counts engine::unmatched() const noexcept {
  return state_->unmatched;
}
std::span<const name_counts> engine::named_counts() const noexcept {
  return state_->named;
}

void engine::continue_from(const engine& before) {
  state_->continue_impairments(*before.state_);
  std::map<std::string_view, std::size_t> known;
  const auto names = before.rules().count_names();
  for (std::size_t each = 0; each < names.size(); ++each) known.emplace(names[each], each);
  for (std::size_t each = 0; each < state_->named.size(); ++each) {
    const auto found = known.find(state_->all->count_names[each]);
    if (found != known.end()) state_->named[each] = before.state_->named[found->second];
  }
}

void totals::add(const engine& one) {
  const auto add_to = [](rule_counts& sum, const rule_counts& counts) {
    sum.packets += counts.packets;
    sum.bytes += counts.bytes;
    sum.lost += counts.lost;
    sum.not_applied += counts.not_applied;
  };
  rules = one.rules();
  each.resize(one.counts().size());
  names.resize(one.named_counts().size());
  for (std::size_t i = 0; i < each.size(); ++i) add_to(each[i], one.counts()[i]);
  add_to(unmatched, one.unmatched());
  for (std::size_t i = 0; i < names.size(); ++i) {
    names[i].packets += one.named_counts()[i].packets;
    names[i].bytes += one.named_counts()[i].bytes;
  }
}

}  // namespace ipq::tool::rules
