// SPDX-License-Identifier: MIT
// What iptables-save and nft print, and matches of --select: any text is read without harm, and what goes on to
// iptables is made of words.
#include <algorithm>
#include <string>
#include <vector>

#include "firewall/feeds.hpp"
#include "firewall/iptables.hpp"
#include "firewall/selector.hpp"
#include "firewall/tag.hpp"
#include "firewall/translation.hpp"
#include "input.hpp"

namespace {

using namespace tool::firewall;
using fuzz::require;

/// As iptables-save does it.
std::string quoted(const std::string& word) {
  std::string made = "\"";
  for (const char each : word) {
    if (each == '"' || each == '\\') made += '\\';
    made += each;
  }
  return made + "\"";
}

void read_rule(const saved_rule& rule) {
  const auto words = split_rule(rule.text);
  std::string again;
  for (const auto& word : words) again += quoted(word) + " ";
  require(split_rule(again) == words);
  const auto name = tag_of(rule);
  require(name.empty() || (tag::is_one(name) && name.find_first_not_of("ipq:0123456789") == std::string::npos));
}

void check(const std::vector<feed>& feeds) {
  for (const auto& each : feeds) {
    std::uint32_t next = each.first;
    for (const auto& range : unserved(each, {0, 7, 65535})) {
      require(range.first >= next && range.first <= range.last && range.last <= each.last);
      next = range.last + 1u;
    }
  }
}

/// Words become a line for iptables-restore, and could say anything there with a space or a quote in one.
void translate(std::string_view text) {
  const auto made = parse_selector("output", text);
  if (!made) return;
  const auto matches = translate_match(made->match);
  if (!matches) return;
  for (const auto* family : {&matches->ipv4, &matches->ipv6}) {
    for (const auto& rule : *family) {
      for (const auto& word : rule) {
        require(!word.empty() && word.find_first_of("\"'\\ \t\n") == std::string::npos);
      }
    }
  }
}

}  // namespace

// Text, a zero, and more text: nft in JSON and its listing. Without the zero there is no listing.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto rules = read_saved_rules(iptables_kind::legacy, false, text);
  require(rules.size() <= static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1);
  for (const auto& rule : rules) read_rule(rule);
  read_rule({.text = text});
  const auto fed = feeds_of_iptables(rules);
  require(fed.size() <= rules.size());
  check(fed);
  const auto end = std::min(text.find('\0'), text.size());
  check(feeds_of_nft(text.substr(0, end), std::string_view(text).substr(end)));
  translate(text);
  return 0;
}
