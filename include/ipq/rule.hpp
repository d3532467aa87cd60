// SPDX-License-Identifier: MIT
// The rules that feed a queue, as text for nft and iptables. Nothing here touches the kernel.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ipq {

/// Where in the kernel's path packets are taken; numbered as packet::hook.
enum class hook : std::uint8_t { prerouting = 0, input = 1, forward = 2, output = 3, postrouting = 4 };

[[nodiscard]] std::string_view to_string(hook which) noexcept;
/// As the chain of iptables is called: "INPUT".
[[nodiscard]] std::string_view iptables_chain(hook which) noexcept;
/// "input" or "INPUT". nullopt: there is no such hook.
[[nodiscard]] std::optional<hook> parse_hook(std::string_view name) noexcept;

/// What sends packets to a queue, or spreads them over a range of queues.
struct feeding_rule {
  enum class ip_family : std::uint8_t { both, ipv4, ipv6 };

  hook at = hook::output;
  ip_family family = ip_family::both;
  std::uint16_t first_queue = 0;
  std::uint16_t last_queue = 0;  ///< the range includes it; one that is below first_queue counts as first_queue
  bool bypass = false;           ///< packets pass where nobody listens, instead of being dropped
  bool cpu_fanout = false;       ///< spread by CPU instead of by flow; says nothing about a single queue
};

/// The statement at the end of an nft rule: "queue num 0-3 bypass,fanout".
[[nodiscard]] std::string nft_statement(const feeding_rule& rule);
/// The target at the end of an iptables rule: "-j NFQUEUE --queue-balance 0:3 --queue-bypass --queue-cpu-fanout".
[[nodiscard]] std::string iptables_target(const feeding_rule& rule);

/// A table for `nft -f` with one rule. `match` is taken as it is, in nft's words: "udp dport 53"; empty matches every
/// packet of the family. Priority mangle, so that the machine's own filter still judges what the queue accepted.
[[nodiscard]] std::string nft_rule(const feeding_rule& rule, std::string_view match = {},
                                   std::string_view table = "ipq");

/// Commands, one a line, for iptables, ip6tables or both. `match` is taken as it is, in iptables' words:
/// "-p udp --dport 53". In table mangle, since an accepted packet skips the rest of the table that queued it.
[[nodiscard]] std::string iptables_rule(const feeding_rule& rule, std::string_view match = {});

}  // namespace ipq
