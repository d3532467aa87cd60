// SPDX-License-Identifier: MIT
// The rules in the kernel that feed queues, whoever made them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "failure.hpp"
#include "firewall/iptables.hpp"

namespace tool::firewall {

/// A rule that sends packets to a queue or a range of them.
struct feed {
  std::uint16_t first = 0, last = 0;
  bool bypass = false;     ///< packets pass where nobody listens
  std::string by = {};     ///< "nft", "iptables-legacy", "ip6tables-nft"
  std::string place = {};  ///< table and chain: "inet filter output", "mangle OUTPUT"
  std::string rule = {};   ///< as nft or iptables-save print it, without the place

  [[nodiscard]] bool includes(std::uint16_t queue) const noexcept { return first <= queue && queue <= last; }
};

/// Those of nftables and of both kinds of iptables, in the network namespace of the calling thread. Takes
/// CAP_NET_ADMIN. Failures: no_rights; failed, iptables-save can't list its rules.
[[nodiscard]] outcome<std::vector<feed>> list_feeds();

/// Of what `nft -j list ruleset` says, `text`; `listing` is what `nft -a list ruleset` does, for the words of the
/// rules.
[[nodiscard]] std::vector<feed> feeds_of_nft(const std::string& text, std::string_view listing);
/// Of rules of iptables.
[[nodiscard]] std::vector<feed> feeds_of_iptables(std::span<const saved_rule> rules);

/// Numbers that a feed leads to and nobody serves, as ranges.
struct unserved_range {
  std::uint16_t first = 0, last = 0;
};
[[nodiscard]] std::vector<unserved_range> unserved(const feed& from, std::vector<std::uint16_t> served);

}  // namespace tool::firewall
