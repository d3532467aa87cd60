// SPDX-License-Identifier: MIT
#include "firewall/selector.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "printable.hpp"

namespace tool::firewall {
namespace {

constexpr std::size_t longest_match = 4096;

/// Words of nft that are no match: verdicts, and statements that do something to the packet or besides.
constexpr std::array<std::string_view, 33> no_match{
    "accept", "drop",     "queue", "jump", "goto",  "return", "continue", "reject",  "masquerade", "snat",  "dnat",
    "vmap",   "redirect", "dup",   "fwd",  "log",   "tproxy", "notrack",  "set",     "synproxy",   "meter", "add",
    "update", "delete",   "quota", "flow", "table", "chain",  "rule",     "include", "define",     "last",  "map"};

/// What stands behind these is a value, as in "icmp type redirect" and "ct status dnat".
constexpr std::array<std::string_view, 5> before_values{"type", "status", "==", "!=", ","};

bool is_in_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("_-./:*@[]+%").find(c) != std::string_view::npos;
}

/// Decimal, or hexadecimal behind 0x, and nothing else.
std::optional<std::uint32_t> number_of(std::string_view word) {
  const bool hex = word.starts_with("0x");
  if (hex) word.remove_prefix(2);
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, hex ? 16 : 10);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string selector::text() const {
  return fmt::format("--select {} '{}'", ipq::to_string(at), match);
}

selector::mark_tests selector::find_mark_tests() const {
  mark_tests made;
  const auto words = split_match(match);
  if (!words) return made;
  for (std::size_t i = 0; i < words->size(); ++i) {
    if ((*words)[i] != "mark") continue;
    if (i > 0 && (*words)[i - 1] == "ct") {
      made.connection = true;
    } else if (const auto number = i + 2 < words->size() && (*words)[i + 1] == "!=" ? number_of((*words)[i + 2])
                                                                                    : std::optional<std::uint32_t>()) {
      made.passed_over.push_back(*number);
    } else {
      made.others = true;
    }
  }
  return made;
}

std::vector<std::string> selector::interfaces() const {
  std::vector<std::string> names;
  const auto words = split_match(match);
  if (!words) return names;
  bool wanted = false, in_set = false;
  for (std::string_view word : *words) {
    if (word == "iifname" || word == "oifname") {
      wanted = true;
    } else if (wanted && word == "{") {
      in_set = true;
    } else if (word == "}") {
      wanted = in_set = false;
    } else if (wanted && word != "==" && word != "!=" && word != ",") {
      if (word.starts_with('"')) word = word.substr(1, word.size() - 2);
      if (!word.ends_with('*')) names.emplace_back(word);
      wanted = in_set;
    }
  }
  return names;
}

outcome<std::vector<std::string>> split_match(std::string_view match) {
  constexpr std::array<std::string_view, 16> signs{"==", "!=", "<=", ">=", "<<", ">>", "<", ">",
                                                   "{",  "}",  "(",  ")",  ",",  "&",  "|", "^"};
  std::vector<std::string> words;
  while (!match.empty()) {
    if (match[0] == ' ' || match[0] == '\t') {
      match.remove_prefix(1);
      continue;
    }
    std::size_t length = 0;
    if (const auto* const sign = std::ranges::find_if(signs, [&](auto each) { return match.starts_with(each); });
        sign != signs.end()) {
      length = sign->size();
    } else if (match[0] == '"') {
      length = match.find('"', 1);
      if (length == std::string_view::npos) return fail(wrong_usage, "a string without its end");
      ++length;
    } else {
      while (length < match.size() && is_in_word(match[length])) ++length;
      if (length == 0) return fail(wrong_usage, fmt::format("a match can't have \"{}\"", match.substr(0, 1)));
    }
    words.emplace_back(match.substr(0, length));
    match.remove_prefix(length);
  }
  return words;
}

outcome<selector> parse_selector(std::string_view hook, std::string_view match) {
  const auto at = ipq::parse_hook(hook);
  if (!at) {
    return fail(wrong_usage, fmt::format("--select {}: no such hook; there are prerouting, input, forward, output, "
                                         "postrouting",
                                         printable(hook)));
  }
  selector made{*at, std::string(match)};
  const auto refused = [&](std::string_view why) {
    return fail(wrong_usage, fmt::format("--select {}: {}", hook, why));
  };
  if (match.size() > longest_match) return refused(fmt::format("the match has more than {} characters", longest_match));
  // Printed into messages and handed to nft: nothing may hide in it.
  if (std::ranges::any_of(match, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
    return refused("the match has a control character or more than one line");
  }
  const auto words = split_match(match);
  if (!words) return refused(fmt::format("'{}': {}", match, words.error().message));
  int braces = 0, parentheses = 0;
  std::string_view before;
  for (const auto& word : *words) {
    if (word == "{") ++braces;
    if (word == "}") --braces;
    if (word == "(") ++parentheses;
    if (word == ")") --parentheses;
    if (braces < 0 || braces > 1 || parentheses < 0) return refused(fmt::format("'{}': unpaired \"{}\"", match, word));
    const bool is_value = std::ranges::find(before_values, before) != before_values.end();
    before = word;
    if (!is_value && std::ranges::find(no_match, word) != no_match.end()) {
      return refused(
          fmt::format("'{}': \"{}\" is no match; what becomes of the packets is not said here", match, word));
    }
  }
  if (braces != 0 || parentheses != 0) return refused(fmt::format("'{}': a brace is not closed", match));
  return made;
}

ipq::feeding_rule feeding_rule_of(const selector& what, const queue_range& queues, fail_policy policy) {
  return {.at = what.at,
          .first_queue = queues.first,
          .last_queue = queues.last,
          .bypass = policy == fail_policy::open,
          .cpu_fanout = queues.cpu_fanout};
}

}  // namespace tool::firewall
