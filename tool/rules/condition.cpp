// SPDX-License-Identifier: MIT
// Takes filters apart where they name address sets, and leaves the rest to libpcap in pieces as long as possible.
#include "condition.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "refusal.hpp"
#include "words.hpp"

namespace ipq::tool::rules {
namespace {

constexpr unsigned deepest = 50;
// libpcap's time grows with the cube of these: 400 ports in one filter take it minutes.
constexpr std::ptrdiff_t most_joins = 100;
constexpr std::size_t longest_filter = 8192;

bool is_and(const token& what) noexcept {
  return what.text == "and" || what.text == "&&";
}
bool is_or(const token& what) noexcept {
  return what.text == "or" || what.text == "||";
}
bool is_join(const token& what) noexcept {
  return is_and(what) || is_or(what);
}
bool is_not(const token& what) noexcept {
  return what.text == "not" || what.text == "!";
}
bool is_direction(const token& what) noexcept {
  return what.text == "src" || what.text == "dst";
}
bool is_set(const token& what) noexcept {
  return what.text.front() == '@';
}

template <class Address>
Address read_address(std::span<const std::byte> bytes) noexcept {
  Address made;
  std::memcpy(made.bytes.data(), bytes.data(), made.bytes.size());
  return made;
}

template <class Address>
bool is_in(const node& test, std::span<const std::byte> source, std::span<const std::byte> destination) noexcept {
  const auto has = [&](std::span<const std::byte> which) { return test.set->contains(read_address<Address>(which)); };
  switch (test.direction) {
    case set_direction::source:
      return has(source);
    case set_direction::destination:
      return has(destination);
    case set_direction::either:
      return has(source) || has(destination);
    case set_direction::both:
      return has(source) && has(destination);
  }
  return false;
}

// As libpcap sees it: addresses count as soon as their bytes are there.
bool is_in_set(const node& test, std::span<const std::byte> payload) noexcept {
  if (payload.empty()) return false;
  const auto version = std::to_integer<unsigned>(payload[0]) >> 4;
  if (version == 4 && payload.size() >= 20) {
    return is_in<ipv4_address>(test, payload.subspan(12, 4), payload.subspan(16, 4));
  }
  if (version == 6 && payload.size() >= 40) {
    return is_in<ipv6_address>(test, payload.subspan(8, 16), payload.subspan(24, 16));
  }
  return false;
}

/// Reads a filter by recursive descent.
class filter_parser {
 public:
  filter_parser(std::string_view line, std::vector<token> tokens, const std::filesystem::path& folder,
                set_library& sets)
      : line_(line), tokens_(std::move(tokens)), folder_(folder), sets_(sets) {}

  node parse() {
    if (std::ranges::none_of(tokens_, is_set)) return compile_run(0, tokens_.size());
    node made = parse_chain(0);
    if (at_ < tokens_.size()) fail("this ')' closes nothing");
    return made;
  }

 private:
  [[noreturn]] void fail(std::string message) const { throw fault{column(), std::move(message)}; }

  [[nodiscard]] std::size_t column() const noexcept {
    if (at_ < tokens_.size()) return tokens_[at_].column;
    return tokens_.back().column + tokens_.back().text.size();
  }

  [[nodiscard]] bool at(bool (*is)(const token&) noexcept, std::size_t ahead = 0) const noexcept {
    return at_ + ahead < tokens_.size() && is(tokens_[at_ + ahead]);
  }
  [[nodiscard]] bool at(std::string_view text, std::size_t ahead = 0) const noexcept {
    return at_ + ahead < tokens_.size() && tokens_[at_ + ahead].text == text;
  }

  // Parts with the same word between them. Parts without sets that follow each other are one run for libpcap, whose
  // words may depend on what came before, as in `port 80 or 443`.
  node parse_chain(unsigned depth) {
    if (depth > deepest) fail(fmt::format("parentheses are nested deeper than {}", deepest));
    std::vector<node> parts;
    std::optional<bool> is_any;
    std::size_t run = at_;
    bool in_run = false;
    const auto end_run = [&](std::size_t end) {
      if (in_run) parts.push_back(compile_run(run, end));
      in_run = false;
    };

    for (bool behind_set = false;;) {
      const std::size_t begin = at_;
      if (holds_set()) {
        if (in_run) end_run(begin - 1);
        parts.push_back(parse_part(depth));
        behind_set = true;
      } else {
        if (!in_run) run = begin;
        in_run = true;
        pass_over_part(behind_set);
        behind_set = false;
      }
      if (at_ == tokens_.size() || at(")")) break;
      if (!at(is_join)) fail("expected 'and' or 'or' between an address set and what stands beside it");
      const bool joins_any = is_or(tokens_[at_]);
      if (is_any && *is_any != joins_any) {
        fail("'and' and 'or' beside an address set: put parentheses around what belongs together");
      }
      is_any = joins_any;
      ++at_;
    }
    end_run(at_);
    if (parts.size() == 1) return std::move(parts.front());
    return node{.what = is_any.value_or(false) ? node::kind::any : node::kind::all, .parts = std::move(parts)};
  }

  // Whether the part that begins here is, or has in its parentheses, a set.
  [[nodiscard]] bool holds_set() const noexcept {
    std::size_t ahead = 0;
    while (at(is_not, ahead)) ++ahead;
    if (at("(", ahead)) {
      std::size_t open = 0;
      for (; at_ + ahead < tokens_.size(); ++ahead) {
        if (at("(", ahead)) ++open;
        if (at(is_set, ahead)) return true;
        if (at(")", ahead) && --open == 0) return false;
      }
      return false;
    }
    while (at(is_direction, ahead) || at("host", ahead) || at("net", ahead) ||
           (at(is_join, ahead) && at(is_direction, ahead + 1) && ahead > 0 && at(is_direction, ahead - 1))) {
      ++ahead;
    }
    return at(is_set, ahead);
  }

  node parse_part(unsigned depth) {
    bool negated = false;
    for (; at(is_not); ++at_) negated = !negated;
    node made = at("(") ? parse_group(depth) : parse_set();
    if (negated) made.negated = !made.negated;
    return made;
  }

  node parse_group(unsigned depth) {
    const std::size_t opening = column();
    ++at_;
    node made = parse_chain(depth + 1);
    if (at_ == tokens_.size()) throw fault{opening, "this '(' is not closed: expected a ')'"};
    ++at_;
    return made;
  }

  // [src | dst | src or dst | src and dst] [host | net] @FILE
  node parse_set() {
    node made{.what = node::kind::set};
    if (at(is_direction)) {
      const bool source = at("src");
      made.direction = source ? set_direction::source : set_direction::destination;
      ++at_;
      if (at(is_join) && at(is_direction, 1)) {
        const bool other = at("src", 1);
        if (source == other) fail("expected 'src or dst' or 'src and dst'");
        made.direction = is_or(tokens_[at_]) ? set_direction::either : set_direction::both;
        at_ += 2;
      }
    }
    if (at("host") || at("net")) ++at_;
    if (!at(is_set)) fail("expected '@' and the name of a file with addresses");
    scanner name(line_.substr(0, tokens_[at_].column - 1 + tokens_[at_].text.size()));
    name.move_to(tokens_[at_].column + 1);
    if (name.at_end()) fail("expected the name of a file with addresses behind the '@'");
    const std::string file = name.peek() == '"' ? name.string() : std::string(tokens_[at_].text.substr(1));
    made.set = sets_.find(folder_, file, column());
    ++at_;
    return made;
  }

  // Up to the next 'and', 'or' or ')' that is not inside of parentheses.
  void pass_over_part(bool behind_set) {
    const std::size_t begin = at_;
    std::size_t open = 0;
    for (; at_ < tokens_.size(); ++at_) {
      if (at("(")) ++open;
      if (at(")") && open-- == 0) break;
      if (at(is_set)) fail("expected 'and' or 'or' between an address set and what stands beside it");
      if (open > 0 || !at(is_join)) continue;
      // `src or dst port 80`
      if (at_ > begin && is_direction(tokens_[at_ - 1]) && at(is_direction, 1)) continue;
      break;
    }
    if (at_ == begin) fail("expected a filter here");
    const bool is_alone = at_ == begin + 1 && tokens_[begin].text.find_first_not_of("0123456789") == std::string::npos;
    if (behind_set && is_alone) {
      throw fault{tokens_[begin].column, fmt::format("expected what {0} is, as in 'port {0}'", tokens_[begin].text)};
    }
  }

  [[nodiscard]] node compile_run(std::size_t begin, std::size_t end) const {
    const auto run = std::span(tokens_).subspan(begin, end - begin);
    if (const auto name = find_host_name(run); name < run.size()) throw explain_name(line_, run, name);
    const std::size_t column = tokens_[begin].column;
    const token& last = tokens_[end - 1];
    const auto text = line_.substr(column - 1, last.column + last.text.size() - column);
    const auto joins = std::ranges::count_if(run, is_join);
    if (joins > most_joins || text.size() > longest_filter) {
      throw fault{column, fmt::format("the filter has {} bytes and {} times 'and' or 'or'; expected at most {} and {}: "
                                      "use several lines, or '@FILE' for many addresses",
                                      text.size(), joins, longest_filter, most_joins)};
    }
    auto code = program::compile(std::string(text));
    if (!code) throw explain_refusal(line_, run, code.error());
    return node{.what = node::kind::program, .code = std::move(*code)};
  }

  std::string_view line_;
  std::vector<token> tokens_;
  const std::filesystem::path& folder_;
  set_library& sets_;
  std::size_t at_ = 0;
};

}  // namespace

bool node::matches(const packet& which) const noexcept {
  const auto decide = [&] {
    switch (what) {
      case kind::program: {
        const auto length = std::max(which.original_length, static_cast<std::uint32_t>(which.payload.size()));
        return code->matches(which.payload, length);
      }
      case kind::set:
        return is_in_set(*this, which.payload);
      case kind::all:
        return std::ranges::all_of(parts, [&](const node& part) { return part.matches(which); });
      case kind::any:
        return std::ranges::any_of(parts, [&](const node& part) { return part.matches(which); });
    }
    return false;
  };
  return decide() != negated;
}

bool condition::tests_owner() const noexcept {
  return std::ranges::any_of(metadata, [](const metadata_test& each) {
    return each.key == metadata_key::uid || each.key == metadata_key::gid;
  });
}

std::shared_ptr<const address_set> set_library::find(const std::filesystem::path& folder, const std::string& name,
                                                     std::size_t column) {
  if (name.find('\0') != std::string::npos) throw fault{column, "the name of a file can't hold a NUL byte"};
  const auto path = (folder / name).lexically_normal();
  if (const auto known = known_.find(path); known != known_.end()) return known->second;
  auto read = address_set::read(path);
  if (!read && read.error().front().line == 0) {
    const auto& why = read.error().front();
    throw fault{column, fmt::format("{}: {}", path.string(), why.message), why.forbidden};
  }
  auto& entry = known_[path];
  if (read) {
    entry = std::make_shared<const address_set>(std::move(*read));
  } else {
    for (diagnostic& each : read.error()) faults_.add(std::move(each));
  }
  return entry;
}

condition read_condition(scanner& from, const std::filesystem::path& folder, set_library& sets) {
  condition made;
  from.skip_space();
  if (from.peek() == '[') made.metadata = read_metadata(from);
  from.skip_space();
  const std::size_t column = from.column();
  const std::string_view text = from.rest();
  if (!text.empty()) made.filter = filter_parser(from.line(), split_filter(text, column), folder, sets).parse();
  return made;
}

}  // namespace ipq::tool::rules
