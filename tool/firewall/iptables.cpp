// SPDX-License-Identifier: MIT
#include "firewall/iptables.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "firewall/nftables.hpp"
#include "firewall/program.hpp"
#include "firewall/tag.hpp"
#include "firewall/translation.hpp"

namespace tool::firewall {
namespace {

std::string program_name(iptables_kind kind, bool ipv6, std::string_view suffix = {}) {
  return fmt::format("{}-{}{}", ipv6 ? "ip6tables" : "iptables", to_string(kind), suffix);
}

/// One line, for messages.
std::string first_line(std::string_view text) {
  while (text.starts_with('\n')) text.remove_prefix(1);
  return std::string(text.substr(0, text.find('\n')));
}

// The program over nftables says its name and version, a colon, and the cause in the next line.
std::string cause_in(std::string_view output) {
  std::string cause = first_line(output);
  if (cause.ends_with(": ")) cause += first_line(output.substr(output.find(cause) + cause.size()));
  return cause;
}

/// Whether a program gave up since another one held the lock of iptables.
bool wants_lock(const program_result& ended) {
  return ended.status == 4 && ended.output.find("xtables lock") != std::string::npos;
}

/// Whether a program was refused for what it is run as. The capabilities of a file, as of setcap(8), end with its
/// process.
bool lacks_rights(const program_result& ended) {
  constexpr std::string_view reasons[] = {"Permission denied", "Operation not permitted"};
  return ended.status != 0 && std::ranges::any_of(reasons, [&](std::string_view reason) {
           return ended.output.find(reason) != std::string::npos;
         });
}

constexpr const char* rights_advice =
    "it takes rights that ipq may have and can't hand on to it: run ipq as root, or modprobe nft_queue, which needs no "
    "other program";

constexpr const char* lock_advice =
    "another program held iptables' lock (/run/xtables.lock) for 10 seconds: let it end, and try again";
constexpr const char* lock_is_held = "another program holds iptables' lock (/run/xtables.lock)";

// What the queue accepts skips the rest of its table: in this one, the machine's own filter judges it behind.
constexpr std::string_view our_table = "mangle";

outcome<void> restore(iptables_kind kind, bool ipv6, const std::string& text, int inherited) {
  if (text.empty()) return {};
  const auto program = program_name(kind, ipv6, "-restore");
  const auto ended = run_program({program, "--noflush", "-w", "10"}, text, inherited);
  if (ended.status == 0) return {};
  if (wants_lock(ended)) return fail(failed, fmt::format("{}: {}", program, lock_advice));
  if (lacks_rights(ended)) {
    return fail(no_rights, fmt::format("{}: {}: {}", program, cause_in(ended.output), rights_advice));
  }
  return fail(kernel_lacks, fmt::format("{}: {}", program, cause_in(ended.output)));
}

enum class answer { no, yes, unknown };

/// Whether there can be rules of a kind, in one table or, without a name, in any: asking costs less than starting
/// iptables-save, and makes no table.
answer has_tables(iptables_kind kind, bool ipv6, std::string_view table) {
  if (kind == iptables_kind::legacy) {
    errno = 0;
    std::ifstream names(ipv6 ? "/proc/thread-self/net/ip6_tables_names" : "/proc/thread-self/net/ip_tables_names");
    if (!names) return errno == ENOENT ? answer::no : answer::unknown;  // no such family, or not loaded
    for (std::string name; names >> name;) {
      if (table.empty() || name == table) return answer::yes;
    }
    return answer::no;
  }
  const auto tables = nftables().ask_text("list tables");
  if (!tables) return answer::unknown;
  const auto wanted = fmt::format("table {} {}{}", ipv6 ? "ip6" : "ip", table, table.empty() ? "" : "\n");
  return tables->find(wanted) != std::string::npos ? answer::yes : answer::no;
}

outcome<std::vector<saved_rule>> list_rules(search how, std::string_view table) {
  std::vector<saved_rule> rules;
  for (const auto kind : {iptables_kind::legacy, iptables_kind::nft}) {
    for (const bool ipv6 : {false, true}) {
      const auto there = has_tables(kind, ipv6, table);
      if (there == answer::no || (there == answer::unknown && how == search::easy)) continue;
      std::vector<std::string> words{program_name(kind, ipv6, "-save")};
      if (!table.empty()) words.insert(words.end(), {"-t", std::string(table)});
      const auto saved = run_program(words);
      if (saved.status == 127) continue;
      if (saved.status != 0) {
        // Where nft can't list tables either, the kernel has no nf_tables.
        if (how == search::easy || (kind == iptables_kind::nft && there == answer::unknown)) continue;
        if (lacks_rights(saved)) {
          return fail(no_rights,
                      fmt::format("{} can't list rules: {}: {}", words[0], cause_in(saved.output), rights_advice));
        }
        return fail(failed, fmt::format("{} can't list rules: {}", words[0], cause_in(saved.output)));
      }
      const auto found = read_saved_rules(kind, ipv6, saved.output);
      rules.insert(rules.end(), found.begin(), found.end());
    }
  }
  return rules;
}

/// `locked` becomes true where the lock was not to be had.
outcome<void> remove_rule(const saved_rule& rule, search how, bool& locked) {
  auto words = split_rule(rule.text);
  words[0] = "-D";
  // Without a time, or with 0, version 1.8.9 waits for ever.
  words.insert(words.begin(), {rule.program(), "-w", how == search::complete ? "10" : "1", "-t", rule.table});
  const auto ended = run_program(words);
  if (ended.status == 0) return {};
  const bool here = wants_lock(ended);
  locked = locked || here;
  const char* const lock = how == search::complete ? lock_advice : lock_is_held;
  return fail((ended.status == 4 && !here) || lacks_rights(ended) ? no_rights : failed,
              fmt::format("remove the rule {} -t {} {}: {}", rule.program(), rule.table, rule.text,
                          here ? lock : first_line(ended.output)));
}

template <class Wanted>
outcome<std::size_t> remove_rules(search how, Wanted&& wanted) {
  const auto rules = list_tagged_rules(how);
  if (!rules) return std::unexpected(rules.error());
  std::size_t removed = 0;
  bool locked = false;
  std::optional<failure> first;
  for (const auto& rule : *rules) {
    if (!wanted(tag_of(rule))) continue;
    if (locked && rule.kind == iptables_kind::legacy) continue;  // they have one lock, and waiting takes its time
    if (auto gone = remove_rule(rule, how, locked)) {
      ++removed;
    } else {
      const auto now = list_tagged_rules(how);
      const bool there = !now || std::ranges::any_of(*now, [&](const saved_rule& each) {
        return each.program() == rule.program() && each.table == rule.table && each.text == rule.text;
      });
      if (there && !first) first = std::move(gone).error();  // else somebody else was faster
    }
  }
  if (first) return std::unexpected(*std::move(first));
  return removed;
}

}  // namespace

std::string_view to_string(iptables_kind kind) noexcept {
  return kind == iptables_kind::legacy ? "legacy" : "nft";
}

std::string saved_rule::program() const {
  return program_name(kind, ipv6);
}

std::vector<saved_rule> read_saved_rules(iptables_kind kind, bool ipv6, std::string_view output) {
  std::vector<saved_rule> rules;
  std::string table;
  while (!output.empty()) {
    const auto line = output.substr(0, output.find('\n'));
    output.remove_prefix(std::min(line.size() + 1, output.size()));
    if (line.starts_with('*')) table = line.substr(1);
    if (line.starts_with("-A ")) rules.push_back({kind, ipv6, table, std::string(line)});
  }
  return rules;
}

outcome<std::vector<saved_rule>> list_iptables_rules() {
  return list_rules(search::complete, {});
}

outcome<std::vector<saved_rule>> list_tagged_rules(search how) {
  auto rules = list_rules(how, our_table);
  if (rules) std::erase_if(*rules, [](const saved_rule& each) { return tag_of(each).empty(); });
  return rules;
}

std::vector<std::string> split_rule(std::string_view rule) {
  std::vector<std::string> words;
  bool quoted = false, in_word = false;
  std::string word;
  for (std::size_t i = 0; i < rule.size(); ++i) {
    const char c = rule[i];
    if (quoted && c == '\\' && i + 1 < rule.size()) {
      word += rule[++i];
    } else if (c == '"') {
      quoted = !quoted;
      in_word = true;
    } else if (c == ' ' && !quoted) {
      if (in_word) words.push_back(std::exchange(word, {}));
      in_word = false;
    } else {
      word += c;
      in_word = true;
    }
  }
  if (in_word) words.push_back(word);
  return words;
}

std::string tag_of(const saved_rule& rule) {
  const auto words = split_rule(rule.text);
  const auto option = std::ranges::find(words, "--comment");
  if (option == words.end() || option + 1 == words.end() || !tag::is_one(option[1])) return {};
  return option[1];
}

outcome<restore_text> make_restore_text(std::span<const selector> selectors, const queue_range& queues,
                                        fail_policy policy, const std::string& tag_name) {
  restore_text made;
  for (const auto& each : selectors) {
    const auto matches = translate_selector(each);
    if (!matches) return fail(matches.error().code, fmt::format("{}: {}", each.text(), matches.error().message));
    const auto add = [&](const std::vector<std::vector<std::string>>& rules, std::string& text) {
      for (const auto& words : rules) {
        text += fmt::format("-A {}", ipq::iptables_chain(each.at));
        for (const auto& word : words) text += " " + word;
        text += fmt::format(" -m comment --comment {} {}\n", tag_name,
                            ipq::iptables_target(feeding_rule_of(each, queues, policy)));
      }
    };
    add(matches->ipv4, made.ipv4);
    add(matches->ipv6, made.ipv6);
  }
  for (auto* text : {&made.ipv4, &made.ipv6}) {
    if (!text->empty()) *text = fmt::format("*{}\n{}COMMIT\n", our_table, *text);
  }
  return made;
}

outcome<void> install(iptables_kind kind, const restore_text& text, const std::string& tag_name, int inherited) {
  if (const auto first = restore(kind, false, text.ipv4, inherited); !first) return first;
  const bool has_ipv6 = ::access("/proc/self/net/if_inet6", F_OK) == 0;
  auto second = has_ipv6 ? restore(kind, true, text.ipv6, inherited) : outcome<void>();
  if (second) return {};
  if (const auto back = remove_tagged(tag_name); !back) {
    return fail(back.error().code, fmt::format("{}; and then: {}", second.error().message, back.error().message));
  }
  return second;
}

outcome<std::size_t> remove_tagged(std::string_view tag_name) {
  return remove_rules(search::complete, [&](const std::string& name) { return name == tag_name; });
}

outcome<std::size_t> remove_stale(search how) {
  return remove_rules(how, [](const std::string& name) { return !tag::is_alive(name); });
}

}  // namespace tool::firewall
