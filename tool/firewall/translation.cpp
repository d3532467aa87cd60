// SPDX-License-Identifier: MIT
#include "firewall/translation.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

namespace tool::firewall {
namespace {

/// Thrown here and caught in translate_match.
struct untranslatable {
  std::string part;
};

using words = std::vector<std::string>;
using name_and_number = std::pair<std::string_view, std::string_view>;

constexpr std::array<name_and_number, 13> icmp_types{{{"echo-reply", "0"},
                                                      {"destination-unreachable", "3"},
                                                      {"source-quench", "4"},
                                                      {"redirect", "5"},
                                                      {"echo-request", "8"},
                                                      {"router-advertisement", "9"},
                                                      {"router-solicitation", "10"},
                                                      {"time-exceeded", "11"},
                                                      {"parameter-problem", "12"},
                                                      {"timestamp-request", "13"},
                                                      {"timestamp-reply", "14"},
                                                      {"address-mask-request", "17"},
                                                      {"address-mask-reply", "18"}}};
constexpr std::array<name_and_number, 11> icmpv6_types{{{"destination-unreachable", "1"},
                                                        {"packet-too-big", "2"},
                                                        {"time-exceeded", "3"},
                                                        {"parameter-problem", "4"},
                                                        {"echo-request", "128"},
                                                        {"echo-reply", "129"},
                                                        {"nd-router-solicit", "133"},
                                                        {"nd-router-advert", "134"},
                                                        {"nd-neighbor-solicit", "135"},
                                                        {"nd-neighbor-advert", "136"},
                                                        {"nd-redirect", "137"}}};

bool is_number(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

bool is_transport(std::string_view name) {
  return name == "tcp" || name == "udp" || name == "udplite" || name == "sctp" || name == "dccp";
}

std::string upper(std::string_view text) {
  std::string made(text);
  for (char& c : made) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return made;
}

/// "1000-2000" as iptables has it, "1000:2000".
std::string with_colon(std::string_view range) {
  std::string made(range);
  std::ranges::replace(made, '-', ':');
  return made;
}

/// Values that a key is compared with.
struct values {
  bool negated = false;
  std::optional<std::string> mask = {};
  words each = {};
};

/// One rule of iptables in the making.
struct rule {
  bool ipv4 = true, ipv6 = true;
  std::string protocol = {};
  words arguments = {};
};

class translation {
 public:
  explicit translation(words match) : words_(std::move(match)) {}

  iptables_matches run() {
    while (at_ < words_.size()) translate_next();
    iptables_matches made;
    for (const auto& each : rules_) {
      words arguments;
      if (!each.protocol.empty()) arguments = {"-p", each.protocol};
      arguments.insert(arguments.end(), each.arguments.begin(), each.arguments.end());
      if (each.ipv4) made.ipv4.push_back(arguments);
      if (each.ipv6) made.ipv6.push_back(arguments);
    }
    if (made.ipv4.empty() && made.ipv6.empty()) throw untranslatable{"parts that exclude each other"};
    return made;
  }

 private:
  static constexpr std::size_t most_rules = 256;

  void translate_next() {
    const std::string key = take();
    if (key == "counter") return;
    if (key == "ip" || key == "ip6") return translate_header(key);
    if (is_transport(key) || key == "th") return translate_transport(key);
    if (key == "icmp" || key == "icmpv6") return translate_icmp(key);
    if (key == "ct") return translate_connection();
    translate_meta(key == "meta" ? take() : key);
  }

  void translate_header(const std::string& header) {
    const bool old = header == "ip";
    const std::string key = take();
    keep([&](const rule& each) { return old ? each.ipv4 : each.ipv6; });
    for (auto& each : rules_) (old ? each.ipv6 : each.ipv4) = false;
    if (key == (old ? "protocol" : "nexthdr")) return set_protocols(take_values());
    if (key != "saddr" && key != "daddr") throw untranslatable{fmt::format("\"{} {}\"", header, key)};
    const bool source = key == "saddr";
    alternatives(take_values(), [&](const std::string& value, bool negated) -> words {
      if (value.find_first_not_of("0123456789abcdefABCDEF.:/-") != std::string::npos) unknown_value(value);
      words made = {};
      const bool is_range = value.find('-') != std::string::npos;
      if (is_range) made = {"-m", "iprange"};
      if (negated) made.emplace_back("!");
      made.emplace_back(is_range ? (source ? "--src-range" : "--dst-range") : (source ? "-s" : "-d"));
      made.push_back(value);
      return made;
    });
  }

  void translate_transport(const std::string& protocol) {
    const std::string key = take();
    if (protocol == "th") {
      if (!std::ranges::all_of(rules_, [](const rule& each) { return is_transport(each.protocol); })) {
        throw untranslatable{"\"th\" before a protocol is named"};
      }
    } else {
      set_protocols({.each = {protocol}});
    }
    if (protocol == "tcp" && key == "flags") return translate_flags();
    if (key != "sport" && key != "dport") throw untranslatable{fmt::format("\"{} {}\"", protocol, key)};
    const values ports = take_values();
    for (const auto& port : ports.each) {
      if (port.find_first_not_of("0123456789abcdefghijklmnopqrstuvwxyz-_") != std::string::npos) unknown_value(port);
    }
    if (ports.each.size() == 1 && protocol != "th") {
      words made;
      if (ports.negated) made.emplace_back("!");
      made.push_back("--" + key);
      made.push_back(port_of(ports.each[0]));
      return add(made);
    }
    add_ports(key, ports);
  }

  /// The match multiport takes 15 ports, a range is two of them.
  void add_ports(const std::string& key, const values& ports) {
    std::vector<words> groups(1);
    std::size_t used = 0;
    for (const auto& port : ports.each) {
      const std::size_t needed = port_of(port).find(':') != std::string::npos ? 2 : 1;
      if (used + needed > 15) {
        groups.emplace_back();
        used = 0;
      }
      used += needed;
      groups.back().push_back(port_of(port));
    }
    if (ports.negated) {
      for (const auto& group : groups) {
        add({"-m", "multiport", "!", "--" + key + "s", fmt::format("{}", fmt::join(group, ","))});
      }
      return;
    }
    multiply(groups.size(), [&](rule& each, std::size_t i) {
      const words made{"-m", "multiport", "--" + key + "s", fmt::format("{}", fmt::join(groups[i], ","))};
      each.arguments.insert(each.arguments.end(), made.begin(), made.end());
      return true;
    });
  }

  /// A range has a digit at its beginning, a service such as ftp-data has none.
  static std::string port_of(const std::string& port) {
    return port[0] >= '0' && port[0] <= '9' ? with_colon(port) : port;
  }

  /// "syn", "syn / syn,ack" and "& (syn | ack) == syn". Without a mask nft compares all eight bits, iptables knows six.
  void translate_flags() {
    words mask, wanted;
    bool negated = false;
    if (peek() == "&" || peek() == "and") {
      take();
      mask = take_flags();
      negated = take_comparison();
      wanted = take_flags();
    } else {
      const std::string comparison(peek());
      negated = take_comparison();
      wanted = take_flags();
      mask = wanted;
      if (peek() == "/") {
        take();
        mask = take_flags();
      } else if (comparison == "==" || comparison == "!=") {
        throw untranslatable{fmt::format(
            "\"tcp flags {}\" without a mask (say 'tcp flags & (fin|syn|rst|psh|ack|urg) == syn')", comparison)};
      } else if (wanted.empty()) {
        throw untranslatable{"\"tcp flags\" of which none is named"};
      } else if (wanted.size() > 1) {
        throw untranslatable{"\"tcp flags\" that are one of several"};
      }
    }
    const auto joined = [](const words& flags) {
      return flags.empty() ? "NONE" : fmt::format("{}", fmt::join(flags, ","));
    };
    words made;
    if (negated) made.emplace_back("!");
    made.insert(made.end(), {"--tcp-flags", joined(mask), joined(wanted)});
    add(made);
  }

  words take_flags() {
    const bool in_parentheses = peek() == "(";
    if (in_parentheses) take();
    words flags;
    for (;;) {
      const auto flag = take();
      constexpr std::array<std::string_view, 6> known{"fin", "syn", "rst", "psh", "ack", "urg"};
      if (flag == "0" || flag == "0x0") return flags;
      if (std::ranges::find(known, flag) == known.end()) unknown_value(flag);
      flags.push_back(upper(flag));
      if (peek() != "|" && peek() != ",") break;
      take();
    }
    if (in_parentheses && take() != ")") throw untranslatable{"\"(\" without its end"};
    return flags;
  }

  void translate_icmp(const std::string& protocol) {
    const std::string key = take();
    if (key != "type") throw untranslatable{fmt::format("\"{} {}\"", protocol, key)};
    const bool old = protocol == "icmp";
    keep([&](const rule& each) { return old ? each.ipv4 : each.ipv6; });
    for (auto& each : rules_) (old ? each.ipv6 : each.ipv4) = false;
    set_protocols({.each = {protocol}});
    const std::span<const name_and_number> types = old ? std::span<const name_and_number>(icmp_types) : icmpv6_types;
    alternatives(take_values(), [&](const std::string& value, bool negated) -> words {
      std::string number = value;
      const auto known = std::ranges::find(types, std::string_view(value), &name_and_number::first);
      if (known != types.end()) number = known->second;
      if (!is_number(number)) unknown_value(value);
      words made;
      if (negated) made.emplace_back("!");
      made.insert(made.end(), {old ? "--icmp-type" : "--icmpv6-type", number});
      return made;
    });
  }

  void translate_connection() {
    const std::string key = take();
    if (key == "mark") return translate_mark("connmark");
    if (key != "state") throw untranslatable{fmt::format("\"ct {}\"", key)};
    const values states = take_values();
    for (const auto& state : states.each) {
      constexpr std::array<std::string_view, 5> known{"new", "established", "related", "invalid", "untracked"};
      if (std::ranges::find(known, state) == known.end()) unknown_value(state);
    }
    words made{"-m", "conntrack"};
    if (states.negated) made.emplace_back("!");
    made.insert(made.end(), {"--ctstate", upper(fmt::format("{}", fmt::join(states.each, ",")))});
    add(made);
  }

  void translate_mark(const char* match) {
    const values marks = take_values(true);
    const auto check = [](const std::string& number) {
      const auto digits = number.starts_with("0x") ? std::string_view(number).substr(2) : std::string_view(number);
      if (digits.empty() || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos) {
        unknown_value(number);
      }
    };
    if (marks.mask) check(*marks.mask);
    alternatives(marks, [&](const std::string& value, bool negated) -> words {
      check(value);
      words made{"-m", match};
      if (negated) made.emplace_back("!");
      made.insert(made.end(), {"--mark", marks.mask ? value + "/" + *marks.mask : value});
      return made;
    });
  }

  void translate_meta(const std::string& key) {
    if (key == "mark") return translate_mark("mark");
    if (key == "l4proto") return set_protocols(take_values());
    if (key == "nfproto" || key == "protocol") return set_family(key);
    if (key == "iifname" || key == "iif") return add_interface("-i");
    if (key == "oifname" || key == "oif") return add_interface("-o");
    if (key == "skuid") return add_owner("--uid-owner");
    if (key == "skgid") return add_owner("--gid-owner");
    if (key == "length") {
      return alternatives(take_values(), [](const std::string& value, bool negated) -> words {
        if (value.find_first_not_of("0123456789-") != std::string::npos) unknown_value(value);
        words made{"-m", "length"};
        if (negated) made.emplace_back("!");
        made.insert(made.end(), {"--length", with_colon(value)});
        return made;
      });
    }
    throw untranslatable{fmt::format("\"{}\"", key)};
  }

  void set_family(const std::string& key) {
    const values families = take_values();
    if (families.negated || families.each.size() != 1) throw untranslatable{fmt::format("\"{}\" of that form", key)};
    const auto& name = families.each[0];
    const bool old = name == "ipv4" || name == "ip", young = name == "ipv6" || name == "ip6";
    if (!old && !young) unknown_value(name);
    keep([&](const rule& each) { return old ? each.ipv4 : each.ipv6; });
    for (auto& each : rules_) (old ? each.ipv6 : each.ipv4) = false;
  }

  void add_interface(const char* option) {
    alternatives(take_values(), [&](std::string value, bool negated) -> words {
      if (value.starts_with('"')) value = value.substr(1, value.size() - 2);
      if (value.empty() || value.size() > 15 || value.find_first_of("\"'\\ +!") != std::string::npos) {
        unknown_value(value);
      }
      if (value.back() == '*') value.back() = '+';
      if (value.find('*') != std::string::npos) unknown_value(value);
      words made;
      if (negated) made.emplace_back("!");
      made.insert(made.end(), {option, value});
      return made;
    });
  }

  void add_owner(const char* option) {
    alternatives(take_values(), [&](const std::string& value, bool negated) -> words {
      if (value.starts_with('"')) unknown_value(value);
      words made{"-m", "owner"};
      if (negated) made.emplace_back("!");
      made.insert(made.end(), {option, value});
      return made;
    });
  }

  void set_protocols(const values& protocols) {
    if (protocols.negated) throw untranslatable{fmt::format("!= of a protocol ({})", protocols.each[0])};
    for (const auto& name : protocols.each) {
      if (name.find_first_not_of("0123456789abcdefghijklmnopqrstuvwxyz-") != std::string::npos) unknown_value(name);
    }
    multiply(protocols.each.size(), [&](rule& each, std::size_t i) {
      const auto& name = protocols.each[i];
      if (each.protocol.empty()) each.protocol = name;
      return each.protocol == name;
    });
  }

  // ---- the rules so far

  void add(const words& arguments) {
    for (auto& each : rules_) each.arguments.insert(each.arguments.end(), arguments.begin(), arguments.end());
  }

  /// Every rule once for each of `count` alternatives; those that `change` says no to are left out.
  template <class Change>
  void multiply(std::size_t count, Change&& change) {
    std::vector<rule> made;
    for (const auto& each : rules_) {
      for (std::size_t i = 0; i < count; ++i) {
        rule one = each;
        if (change(one, i)) made.push_back(std::move(one));
      }
    }
    if (made.empty()) throw untranslatable{"parts that exclude each other"};
    if (made.size() > most_rules) throw untranslatable{fmt::format("sets that make more than {} rules", most_rules)};
    rules_ = std::move(made);
  }

  template <class Wanted>
  void keep(Wanted&& wanted) {
    std::erase_if(rules_, [&](const rule& each) { return !wanted(each); });
    if (rules_.empty()) throw untranslatable{"parts that exclude each other"};
  }

  template <class Words>
  void alternatives(const values& compared, Words&& words_of) {
    if (compared.negated && compared.each.size() > 1) throw untranslatable{"!= of a set"};
    multiply(compared.each.size(), [&](rule& each, std::size_t i) {
      const words made = words_of(compared.each[i], compared.negated);
      each.arguments.insert(each.arguments.end(), made.begin(), made.end());
      return true;
    });
  }

  // ---- the words of the match

  [[nodiscard]] std::string_view peek() const { return at_ < words_.size() ? std::string_view(words_[at_]) : ""; }

  std::string take() {
    if (at_ == words_.size()) throw untranslatable{"a match that ends too early"};
    return words_[at_++];
  }

  /// Whether it is negated.
  bool take_comparison() {
    if (peek() == "!=") return take(), true;
    if (peek() == "==") take();
    return false;
  }

  values take_values(bool may_have_mask = false) {
    values made;
    if (may_have_mask && (peek() == "&" || peek() == "and")) {
      take();
      made.mask = take_value();
    }
    const bool is_compared = peek() == "==" || peek() == "!=";
    made.negated = take_comparison();
    const bool in_braces = peek() == "{";
    if (in_braces) take();
    for (;;) {
      made.each.push_back(take_value());
      if (peek() != ",") break;
      take();
    }
    // nft takes states for one value with several bits then, which none has.
    if (is_compared && !in_braces && made.each.size() > 1) throw untranslatable{"== and != of a list without braces"};
    if (in_braces && take() != "}") throw untranslatable{"a set that is no list of values"};
    return made;
  }

  std::string take_value() {
    auto value = take();
    const char first = value[0];
    // A value that iptables would take for an option, a set by its name, a sign.
    const bool is_plain = (first >= '0' && first <= '9') || (first >= 'a' && first <= 'z') ||
                          (first >= 'A' && first <= 'Z') || first == '"' || first == ':' || first == '_';
    if (!is_plain) unknown_value(value);
    return value;
  }

  [[noreturn]] static void unknown_value(std::string_view value) {
    throw untranslatable{fmt::format("the value {}", value)};
  }

  words words_;
  std::size_t at_ = 0;
  std::vector<rule> rules_{1};
};

}  // namespace

outcome<iptables_matches> translate_match(std::string_view match) {
  auto split = split_match(match);
  if (!split) return std::unexpected(split.error());
  try {
    return translation(*std::move(split)).run();
  } catch (const untranslatable& reason) {
    return fail(kernel_lacks, fmt::format("{} can't be put into iptables' words", reason.part));
  }
}

outcome<iptables_matches> translate_selector(const selector& what) {
  auto made = translate_match(what.match);
  if (!made) return made;
  const auto has = [&](std::string_view option) {
    const auto in = [&](const std::vector<words>& rules) {
      return std::ranges::any_of(rules,
                                 [&](const words& each) { return std::ranges::find(each, option) != each.end(); });
    };
    return in(made->ipv4) || in(made->ipv6);
  };
  const bool arrives = what.at == ipq::hook::prerouting || what.at == ipq::hook::input;
  const bool leaves = what.at == ipq::hook::output || what.at == ipq::hook::postrouting;
  if (!leaves && (has("--uid-owner") || has("--gid-owner"))) {
    return fail(wrong_usage,
                "who sent a packet is known of this machine's own ones alone: select output or postrouting");
  }
  if (arrives && has("-o")) {
    return fail(wrong_usage,
                "by which interface a packet leaves is not known yet there: test iifname, or select "
                "forward, output or postrouting");
  }
  if (what.at == ipq::hook::output && has("-i")) {
    return fail(wrong_usage, "a packet of this machine's own came in by no interface: test oifname");
  }
  if (what.at == ipq::hook::postrouting && has("-i")) {
    return fail(kernel_lacks, "iifname at postrouting can't be put into iptables' words");
  }
  return made;
}

}  // namespace tool::firewall
