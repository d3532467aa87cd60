// SPDX-License-Identifier: MIT
#include "ipq/rule.hpp"

#include <algorithm>
#include <array>

namespace ipq {
namespace {

struct hook_words {
  std::string_view name, chain;
};
constexpr std::array<hook_words, 5> hooks{{{"prerouting", "PREROUTING"},
                                           {"input", "INPUT"},
                                           {"forward", "FORWARD"},
                                           {"output", "OUTPUT"},
                                           {"postrouting", "POSTROUTING"}}};

const hook_words& words_of(hook which) noexcept {
  return hooks[std::min<std::size_t>(static_cast<std::size_t>(which), hooks.size() - 1)];
}

bool is_range(const feeding_rule& rule) noexcept {
  return rule.last_queue > rule.first_queue;
}

void append(std::string& text, std::initializer_list<std::string_view> parts) {
  for (const auto part : parts) text.append(part);
}

}  // namespace

std::string_view to_string(hook which) noexcept {
  return words_of(which).name;
}

std::optional<hook> parse_hook(std::string_view name) noexcept {
  for (std::size_t i = 0; i < hooks.size(); ++i) {
    if (name == hooks[i].name || name == hooks[i].chain) return static_cast<hook>(i);
  }
  return std::nullopt;
}

std::string_view iptables_chain(hook which) noexcept {
  return words_of(which).chain;
}

std::string nft_statement(const feeding_rule& rule) {
  std::string text = "queue num ";
  text.append(std::to_string(rule.first_queue));
  const bool fanout = rule.cpu_fanout && is_range(rule);
  if (is_range(rule)) text.append("-").append(std::to_string(rule.last_queue));
  if (rule.bypass || fanout) text.append(" ");
  if (rule.bypass) text.append("bypass");
  if (rule.bypass && fanout) text.append(",");
  if (fanout) text.append("fanout");
  return text;
}

std::string iptables_target(const feeding_rule& rule) {
  std::string text = "-j NFQUEUE --queue-";
  text.append(is_range(rule) ? "balance " : "num ").append(std::to_string(rule.first_queue));
  if (is_range(rule)) text.append(":").append(std::to_string(rule.last_queue));
  if (rule.bypass) text.append(" --queue-bypass");
  if (rule.cpu_fanout && is_range(rule)) text.append(" --queue-cpu-fanout");
  return text;
}

std::string nft_rule(const feeding_rule& rule, std::string_view match, std::string_view table) {
  const auto& words = words_of(rule.at);
  const std::string_view family = rule.family == feeding_rule::ip_family::ipv4   ? "ip"
                                  : rule.family == feeding_rule::ip_family::ipv6 ? "ip6"
                                                                                 : "inet";
  std::string text;
  append(text, {"table ", family, " ", table, " {\n  chain ", words.name, " {\n    type filter hook ", words.name,
                " priority mangle; policy accept;\n    ", match, match.empty() ? "" : " ", nft_statement(rule),
                "\n  }\n}\n"});
  return text;
}

std::string iptables_rule(const feeding_rule& rule, std::string_view match) {
  const auto& words = words_of(rule.at);
  std::string text;
  const auto add = [&](std::string_view program) {
    append(text,
           {program, " -t mangle -A ", words.chain, " ", match, match.empty() ? "" : " ", iptables_target(rule), "\n"});
  };
  if (rule.family != feeding_rule::ip_family::ipv6) add("iptables");
  if (rule.family != feeding_rule::ip_family::ipv4) add("ip6tables");
  return text;
}

}  // namespace ipq
