// SPDX-License-Identifier: MIT
// Rules in the kernel that last as long as the process: what --select makes.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "failure.hpp"
#include "firewall/selector.hpp"

namespace tool::firewall {

/// Packets selected for a range of queues. Owns the rules, of the network namespace that the installing thread is in.
///
/// Where the kernel's nftables has the queue statement they are in a table that this process owns, and the kernel
/// removes them however it ends. Elsewhere they are rules of iptables with a tag; a second process, the keeper, removes
/// them when this one has ended, even by SIGKILL. What a killed keeper leaves is removed by remove_stale(), which each
/// live command calls.
class selection {
 public:
  enum class by { automatic, nft, iptables_legacy, iptables_nft };

  /// All rules or none. Install before there are threads, since the keeper is made by fork(); before rights are given
  /// up; and after the queue is open where packets must not be dropped meanwhile. Failures: wrong_usage, nft does not
  /// understand a match, or iptables has to and it tests what is not known at its hook; no_rights; kernel_lacks, the
  /// kernel has neither, or a match can't be said in iptables' words.
  [[nodiscard]] static outcome<selection> install(std::span<const selector> selectors, const queue_range& queues,
                                                  fail_policy policy, by means = by::automatic);
  selection(selection&&) noexcept;
  selection& operator=(selection&&) noexcept;
  /// As remove(), which tells more.
  ~selection();

  /// Takes the rules out of nft's table, which stays until remove() or the end of this object: with its hooks the
  /// kernel drops what waits in the queues. False: there is no such table, or it could not be emptied.
  [[nodiscard]] bool empty_table();
  /// Takes the rules away and waits until they are. Works without any right or privilege. Failure: failed, what is left
  /// and how to remove it.
  outcome<void> remove();

  /// A descriptor that is readable from when the keeper is gone, as after a SIGKILL: nobody removes the rules at the
  /// end. -1: the kernel does.
  [[nodiscard]] int keeper_line() const noexcept;

  /// How the rules are installed, for people: "nft table inet ipq_812_4711".
  [[nodiscard]] const std::string& description() const noexcept;

 private:
  struct installed;
  explicit selection(std::unique_ptr<installed> made) noexcept;
  std::unique_ptr<installed> installed_;
};

/// What install would make, as text for `nft -f` and as commands of iptables; nothing is done. A match that can't be
/// translated is a comment among these.
[[nodiscard]] std::string dry_run(std::span<const selector> selectors, const queue_range& queues, fail_policy policy);

}  // namespace tool::firewall
