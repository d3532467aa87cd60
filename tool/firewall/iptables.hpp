// SPDX-License-Identifier: MIT
// Rules of iptables that carry a tag, for kernels whose nftables has no queue statement.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "failure.hpp"
#include "firewall/selector.hpp"

namespace tool::firewall {

/// The two kinds of iptables, which have tables of their own.
enum class iptables_kind { legacy, nft };
[[nodiscard]] std::string_view to_string(iptables_kind kind) noexcept;

/// A rule as iptables-save prints it.
struct saved_rule {
  iptables_kind kind = iptables_kind::legacy;
  bool ipv6 = false;
  std::string table = {}, text = {};  ///< "mangle", "-A OUTPUT -p udp -j NFQUEUE --queue-num 0"

  [[nodiscard]] std::string program() const;  ///< "ip6tables-legacy"
};

/// The rules in what iptables-save of that kind and family prints.
[[nodiscard]] std::vector<saved_rule> read_saved_rules(iptables_kind kind, bool ipv6, std::string_view output);

/// All rules of all tables that both kinds have, in both families; what is not installed has none. Failures: failed, or
/// no_rights, the program that could not list them.
[[nodiscard]] outcome<std::vector<saved_rule>> list_iptables_rules();

enum class search {
  complete,  ///< fails where something can't be listed, and waits 10 seconds for iptables' lock
  easy,      ///< passes over what can't be listed, starts no program unless the kernel shows a table, waits a second
};

/// As list_iptables_rules(), but only rules with a tag, and in the table that they can be in.
[[nodiscard]] outcome<std::vector<saved_rule>> list_tagged_rules(search how = search::complete);

/// The words of a saved rule, without the quotes that iptables-save puts around some.
[[nodiscard]] std::vector<std::string> split_rule(std::string_view rule);

/// The tag in a rule's comment; "" where it has none.
[[nodiscard]] std::string tag_of(const saved_rule& rule);

/// What iptables-restore has to read, per family.
struct restore_text {
  std::string ipv4, ipv6;  ///< empty: nothing to do
};
/// Failures: kernel_lacks, a match can't be translated; wrong_usage, it tests what is not known at its hook.
[[nodiscard]] outcome<restore_text> make_restore_text(std::span<const selector> selectors, const queue_range& queues,
                                                      fail_policy policy, const std::string& tag_name);

/// Installs by one transaction per family, and takes the first back where the second fails. The programs that do it
/// inherit the descriptor `inherited`. Failures: kernel_lacks; no_rights; failed, the lock of iptables was not to be
/// had.
[[nodiscard]] outcome<void> install(iptables_kind kind, const restore_text& text, const std::string& tag_name,
                                    int inherited = -1);

/// Removes every rule with the tag, of either kind. Returns how many there were. Goes on after a failure, and returns
/// the first: failed or no_rights, with the rule.
outcome<std::size_t> remove_tagged(std::string_view tag_name);

/// Removes the rules whose process is gone. As remove_tagged.
outcome<std::size_t> remove_stale(search how = search::complete);

}  // namespace tool::firewall
