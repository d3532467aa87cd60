// SPDX-License-Identifier: MIT
// Whether queues work on this machine, found out by one packet in a private network namespace.
#pragma once

#include <string>
#include <vector>

#include "exit_code.hpp"

namespace tool {

struct proof {
  bool passed = false;
  exit_code code = failed;            ///< what keeps it from passing
  std::string text;                   ///< how it passed, or why not
  std::string remedy;                 ///< "" where none is known
  bool nft_tables = false;            ///< of nftables, with owners
  bool nft_queue = false;             ///< nftables has the queue statement
  std::vector<std::string> iptables;  ///< "legacy" and "nft", where these take a rule
};

/// Makes the namespace in a child process, which ends with it; this process and its network stay as they are. A rule
/// of every kind is tried there, then a packet is queued, accepted and received. Takes some 100 ms, at most 20 s.
[[nodiscard]] proof prove_queues();

}  // namespace tool
