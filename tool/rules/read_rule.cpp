// SPDX-License-Identifier: MIT
// The grammar of a line: actions, a colon, a condition.
#include <fmt/format.h>

#include <utility>

#include "compiled.hpp"

namespace ipq::tool::rules {
namespace {

constexpr const char* expected_action =
    "an action: accept, drop, repeat, queue, continue, mark, connmark, priority, log, count, record, set, replace, "
    "delay, loss, duplicate, corrupt, reorder or rate";

template <class T>
std::size_t index_of(std::map<T, std::size_t>& known, std::vector<T>& all, T what) {
  const auto [found, is_new] = known.try_emplace(what, all.size());
  if (is_new) all.push_back(std::move(what));
  return found->second;
}

class line_reader {
 public:
  line_reader(scanner& from, compilation& context, compiled& all) : from_(from), context_(context), all_(all) {}

  rule read_actions() {
    do {
      from_.skip_space();
      const scanner before = from_;
      const auto column = from_.column();
      const std::string_view name = from_.name();
      if (name.empty() || !(read_ending(name, column) || read_change(name) || read_impairment(name))) {
        scanner again = before;
        again.fail_expecting(expected_action);
      }
      if (made_.actions.size() > columns_.actions.size()) {
        columns_.actions.push_back(static_cast<std::uint32_t>(column));
      } else {
        columns_.ending = static_cast<std::uint32_t>(column);
      }
    } while (from_.take(','));
    if (repeats_at_ != 0 && !marks_) {
      from_.fail(repeats_at_,
                 "repeat brings the packet back for ever unless the line also has a mark for the rule "
                 "that queues it: expected 'mark N, repeat'");
    }
    return std::move(made_);
  }

  /// Of what was read.
  [[nodiscard]] rule_columns columns() && { return std::move(columns_); }

 private:
  bool read_ending(std::string_view name, std::size_t column) {
    if (name == "accept") {
      made_.ending = ipq::verdict::accept();
    } else if (name == "drop") {
      made_.ending = ipq::verdict::drop();
    } else if (name == "repeat") {
      made_.ending = ipq::verdict::repeat();
      repeats_at_ = column;
    } else if (name == "queue") {
      const auto number = static_cast<std::uint16_t>(from_.number(0xffff));
      made_.ending = ipq::verdict::queue(number, from_.take_word("bypass"));
    } else if (name == "continue") {
      made_.goes_on = true;
    } else {
      return false;
    }
    if (!ending_.empty()) {
      from_.fail(column, fmt::format("a line ends in one way, and this one has '{}' already", ending_));
    }
    ending_ = name;
    return true;
  }

  std::pair<std::uint32_t, std::uint32_t> read_mark() {
    from_.skip_space();
    const auto column = from_.column();
    const auto made = from_.masked_number();
    if ((made.first & ~made.second) != 0) from_.fail(column, "the mark has bits outside of its mask");
    return made;
  }

  bool read_change(std::string_view name) {
    if (name == "mark") {
      const auto [value, mask] = read_mark();
      add(set_mark{value, mask});
      marks_ = true;
    } else if (name == "connmark") {
      const auto [value, mask] = read_mark();
      add(set_connmark{value, mask});
    } else if (name == "priority") {
      add(set_priority{from_.number(0xffffffff)});
    } else if (name == "log") {
      from_.skip_space();
      add(write_log{from_.peek() == '"' ? from_.string() : std::string()});
    } else if (name == "count") {
      const std::string_view counter = from_.name();
      if (counter.empty()) from_.fail_expecting("a name to count under: letters, digits, '_' and '-'");
      add(add_count{index_of(context_.count_names, all_.count_names, std::string(counter))});
    } else if (name == "record") {
      add(write_record{index_of(context_.record_files, all_.record_files, std::filesystem::path(from_.file_name()))});
    } else if (name == "set") {
      read_set();
    } else if (name == "replace") {
      read_replace();
    } else {
      return false;
    }
    return true;
  }

  bool read_impairment(std::string_view name) {
    if (name == "delay") {
      const auto time = read_time(from_);
      const auto jitter = from_.take_word("jitter") ? read_time(from_) : std::chrono::nanoseconds{};
      add(add_delay{time, jitter, all_.states++});
    } else if (name == "loss") {
      add(lose_some{read_chance(from_), all_.states++});
    } else if (name == "duplicate") {
      add(duplicate{read_chance(from_), all_.states++});
    } else if (name == "corrupt") {
      add(corrupt{read_chance(from_), all_.states++});
    } else if (name == "reorder") {
      const chance of = read_chance(from_);
      if (!from_.take_word("within")) from_.fail_expecting("'within' and a time, as in 'reorder 5% within 20ms'");
      add(reorder{of, read_time(from_), all_.states++});
    } else if (name == "rate") {
      const rate to = read_rate(from_);
      const auto within = from_.take_word("within") ? read_time(from_) : std::chrono::seconds(1);
      add(limit_rate{to, within, all_.states++});
    } else {
      return false;
    }
    return true;
  }

  void read_set() {
    const std::string_view field = from_.take_word("src")     ? "src"
                                   : from_.take_word("dst")   ? "dst"
                                   : from_.take_word("sport") ? "sport"
                                   : from_.take_word("dport") ? "dport"
                                   : from_.take_word("ttl")   ? "ttl"
                                   : from_.take_word("dscp")  ? "dscp"
                                                              : "";
    if (field.empty()) from_.fail_expecting("what to set: src, dst, sport, dport, ttl or dscp");
    if (field == "src" || field == "dst") {
      const auto which = field == "src" ? address_field::source : address_field::destination;
      const scanner before = from_;
      const std::string_view text = from_.address();
      if (const auto ipv4 = ipv4_address::parse(text)) {
        add(set_address{which, *ipv4});
      } else if (const auto ipv6 = ipv6_address::parse(text)) {
        add(set_address{which, *ipv6});
      } else {
        scanner again = before;
        again.skip_space();
        if (text.ends_with(':')) again.fail(again.column(), "expected an address, and white space before the ':'");
        again.fail_expecting("an address, as 192.0.2.1 or 2001:db8::1");
      }
    } else if (field == "ttl") {
      add(set_number{number_field::ttl, static_cast<std::uint16_t>(from_.number(255))});
    } else if (field == "dscp") {
      add(set_number{number_field::dscp, static_cast<std::uint16_t>(from_.number(63))});
    } else {
      const auto which = field == "sport" ? number_field::source_port : number_field::destination_port;
      add(set_number{which, static_cast<std::uint16_t>(from_.number(0xffff))});
    }
  }

  void read_replace() {
    from_.skip_space();
    const auto column = from_.column();
    std::string old = from_.string();
    if (old.empty()) from_.fail(column, "expected at least one byte to replace");
    if (!from_.take_word("with")) from_.fail_expecting("'with' and the bytes to put in their place");
    from_.skip_space();
    const auto second = from_.column();
    std::string fresh = from_.string();
    if (old.size() != fresh.size()) {
      from_.fail(second, fmt::format("expected as many bytes as are replaced: {}, not {}", old.size(), fresh.size()));
    }
    add(replace_bytes{std::move(old), std::move(fresh)});
  }

  template <class Action>
  void add(Action made) {
    made_.actions.emplace_back(std::move(made));
  }

  scanner& from_;
  compilation& context_;
  compiled& all_;
  rule made_;
  rule_columns columns_;
  std::string_view ending_;
  std::size_t repeats_at_ = 0;
  bool marks_ = false;
};

}  // namespace

void read_rule(scanner& from, const source& where, compilation& context, compiled& into) {
  line_reader reader(from, context, into);
  rule made = reader.read_actions();
  if (from.take(':')) {
    if (from.at_end()) from.fail(from.column(), "expected a filter; a line for all packets has no ':'");
    made.when = read_condition(from, where.folder, context.sets);
  } else if (!from.at_end()) {
    from.fail_expecting("',' and another action, or ':' and a filter");
  }
  into.rules.push_back(std::move(made));
  into.columns.push_back(std::move(reader).columns());
}

}  // namespace ipq::tool::rules
