// SPDX-License-Identifier: MIT
#include "firewall/feeds.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "firewall/nftables.hpp"
#include "ipq/status.hpp"

namespace tool::firewall {
namespace {

using nlohmann::json;

std::optional<std::uint16_t> queue_number(std::string_view text) {
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// Words of each rule, by "FAMILY TABLE HANDLE".
std::map<std::string, std::string> rules_by_handle(std::string_view listing) {
  std::map<std::string, std::string> rules;
  std::string table;
  while (!listing.empty()) {
    auto line = listing.substr(0, listing.find('\n'));
    listing.remove_prefix(std::min(line.size() + 1, listing.size()));
    while (line.starts_with('\t') || line.starts_with(' ')) line.remove_prefix(1);
    const auto handle = line.rfind(" # handle ");
    if (handle == std::string_view::npos) continue;
    if (line.starts_with("table ")) {
      table = line.substr(6, line.find(" {") - 6);
    } else if (!line.starts_with("chain ") && !line.starts_with("set ") && !line.starts_with("map ")) {
      rules[fmt::format("{} {}", table, line.substr(handle + 10))] = line.substr(0, handle);
    }
  }
  return rules;
}

/// Fills in the numbers of a queue statement: 3, {"range": [3, 6]}, or a map, which may be any.
void read_queue(const json& statement, feed& into) {
  into.first = 0;
  into.last = 0xffff;
  if (!statement.is_object()) {
    into.last = 0;
    return;
  }
  const auto number = statement.find("num");
  if (number == statement.end()) {
    into.last = 0;
  } else if (number->is_number_unsigned() && number->get<std::uint64_t>() <= 0xffff) {
    into.first = into.last = number->get<std::uint16_t>();
  } else if (number->is_object() && number->contains("range")) {
    const auto& range = (*number)["range"];
    if (range.is_array() && range.size() == 2 && range[0].is_number_unsigned() && range[1].is_number_unsigned()) {
      into.first = static_cast<std::uint16_t>(std::min<std::uint64_t>(range[0].get<std::uint64_t>(), 0xffff));
      into.last = static_cast<std::uint16_t>(std::min<std::uint64_t>(range[1].get<std::uint64_t>(), 0xffff));
    }
  }
  if (const auto flags = statement.find("flags"); flags != statement.end()) {
    into.bypass = *flags == "bypass" || (flags->is_array() && std::ranges::find(*flags, "bypass") != flags->end());
  }
}

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string rest_of_rule(std::string_view rule) {
  // "-A OUTPUT -p udp": the place is told apart.
  const auto chain = rule.find(' ');
  if (chain == std::string_view::npos) return {};
  const auto rest = rule.find(' ', chain + 1);
  return rest == std::string_view::npos ? std::string() : std::string(rule.substr(rest + 1));
}

}  // namespace

std::vector<feed> feeds_of_nft(const std::string& text, std::string_view listing) {
  std::vector<feed> feeds;
  const auto parsed = json::parse(text, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("nftables") || !parsed["nftables"].is_array()) return feeds;
  const auto words = rules_by_handle(listing);
  for (const auto& each : parsed["nftables"]) {
    if (!each.is_object() || !each.contains("rule") || !each["rule"].is_object()) continue;
    const auto& rule = each["rule"];
    if (!rule.contains("expr") || !rule["expr"].is_array()) continue;
    for (const auto& expression : rule["expr"]) {
      if (!expression.is_object() || !expression.contains("queue")) continue;
      feed made{.by = "nft"};
      made.place = fmt::format("{} {} {}", text_of(rule, "family"), text_of(rule, "table"), text_of(rule, "chain"));
      read_queue(expression["queue"], made);
      const auto handle = rule.value("handle", json()).dump();
      const auto found = words.find(fmt::format("{} {} {}", text_of(rule, "family"), text_of(rule, "table"), handle));
      if (found != words.end()) made.rule = found->second;
      feeds.push_back(std::move(made));
    }
  }
  return feeds;
}

std::vector<feed> feeds_of_iptables(std::span<const saved_rule> rules) {
  std::vector<feed> feeds;
  for (const auto& rule : rules) {
    const auto words = split_rule(rule.text);
    const auto after = [&](std::string_view option) -> std::string_view {
      const auto found = std::ranges::find(words, option);
      return found == words.end() || found + 1 == words.end() ? std::string_view() : std::string_view(found[1]);
    };
    const auto target = after("-j");
    if (words.size() < 2 || (target != "NFQUEUE" && target != "QUEUE")) continue;
    feed made{
        .by = rule.program(), .place = fmt::format("{} {}", rule.table, words[1]), .rule = rest_of_rule(rule.text)};
    if (const auto number = queue_number(after("--queue-num"))) made.first = made.last = *number;
    if (const auto range = after("--queue-balance"); range.find(':') != std::string_view::npos) {
      const auto first = queue_number(range.substr(0, range.find(':')));
      const auto last = queue_number(range.substr(range.find(':') + 1));
      made.first = first.value_or(0);
      made.last = last.value_or(0xffff);
    }
    made.bypass = std::ranges::find(words, "--queue-bypass") != words.end();
    feeds.push_back(std::move(made));
  }
  return feeds;
}

outcome<std::vector<feed>> list_feeds() {
  if (const auto access = ipq::check_queue_access(); !access && access.error().is(EPERM)) {
    return std::unexpected(access.error());
  }
  const auto saved = list_iptables_rules();
  if (!saved) return std::unexpected(saved.error());
  auto feeds = feeds_of_iptables(*saved);
  // A kernel without nf_tables has no rules there.
  if (const auto listed = nftables().ask_json("list ruleset")) {
    const auto words = nftables().ask_text("list ruleset");
    const auto nft = feeds_of_nft(*listed, words ? *words : std::string());
    feeds.insert(feeds.end(), nft.begin(), nft.end());
  }
  return feeds;
}

std::vector<unserved_range> unserved(const feed& from, std::vector<std::uint16_t> served) {
  std::ranges::sort(served);
  std::vector<unserved_range> ranges;
  std::uint32_t next = from.first;
  for (const std::uint32_t number : served) {
    if (number < next) continue;
    if (number > from.last) break;
    if (number > next) ranges.push_back({static_cast<std::uint16_t>(next), static_cast<std::uint16_t>(number - 1)});
    next = number + 1;
  }
  if (next <= from.last) ranges.push_back({static_cast<std::uint16_t>(next), from.last});
  return ranges;
}

}  // namespace tool::firewall
