// SPDX-License-Identifier: MIT
// What --select says: the packets of a hook that go to the queue.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "failure.hpp"
#include "ipq/rule.hpp"

namespace tool::firewall {

struct selector {
  ipq::hook at = ipq::hook::output;
  std::string match;  ///< in nft's words; empty: every packet

  /// "--select output 'udp dport 53'", for messages.
  [[nodiscard]] std::string text() const;
  /// What it says about marks.
  struct mark_tests {
    std::vector<std::uint32_t> passed_over;  ///< of `mark != N`
    bool others = false;                     ///< of packets
    bool connection = false;                 ///< `ct mark`
  };
  [[nodiscard]] mark_tests find_mark_tests() const;
  /// The names that it compares iifname and oifname with, but for those that end with '*'.
  [[nodiscard]] std::vector<std::string> interfaces() const;
};

/// Checks the hook's name, and that the match can only match: no verdict, no statement that changes a packet, nothing
/// that would end the rule. Whether nft understands it is found out by whoever uses it. Failures: wrong_usage.
[[nodiscard]] outcome<selector> parse_selector(std::string_view hook, std::string_view match);

/// What becomes of packets when nobody listens, and when the queue is full: it is decided once for both.
enum class fail_policy { closed, open };

struct queue_range {
  std::uint16_t first = 0, last = 0;
  bool cpu_fanout = false;
};

[[nodiscard]] ipq::feeding_rule feeding_rule_of(const selector& what, const queue_range& queues, fail_policy policy);

/// The words of a match: names and values, strings in quotes, and each of { } ( ) , & | ^ == != < > <= >= << >> apart.
/// A failure names the part that is none.
[[nodiscard]] outcome<std::vector<std::string>> split_match(std::string_view match);

}  // namespace tool::firewall
