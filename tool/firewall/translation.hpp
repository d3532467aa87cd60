// SPDX-License-Identifier: MIT
// nft's matches in the words of iptables, for kernels without nft's queue statement.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "failure.hpp"
#include "firewall/selector.hpp"

namespace tool::firewall {

/// Alternatives, each the arguments of one rule: an nft set of interfaces becomes several rules. Empty: the match is
/// of the other family alone.
struct iptables_matches {
  std::vector<std::vector<std::string>> ipv4, ipv6;
};

/// Understands what most matches are made of: ip and ip6 addresses and protocols, ports and flags of tcp, udp and
/// their like, icmp and icmpv6 types, iifname, oifname, iif, oif, meta l4proto, nfproto, mark, length, skuid, skgid,
/// ct state and ct mark; with !=, sets, ranges, prefixes and masks. Failures: kernel_lacks, with the part that
/// can't be translated.
[[nodiscard]] outcome<iptables_matches> translate_match(std::string_view match);

/// The match of a selector, which may test only what is known at its hook. Failures: as above; wrong_usage, with what
/// is not known there and what to do instead.
[[nodiscard]] outcome<iptables_matches> translate_selector(const selector& what);

}  // namespace tool::firewall
