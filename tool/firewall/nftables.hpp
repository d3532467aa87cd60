// SPDX-License-Identifier: MIT
// Rules of nftables that the kernel takes away with the process.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "failure.hpp"
#include "firewall/selector.hpp"

struct nft_ctx;

namespace tool::firewall {

/// A connection to nftables. What owns a table is its netlink socket, which libnftables keeps until the context goes.
class nftables {
 public:
  /// Throws std::bad_alloc. Where there is no connection to be had, everything else fails with the reason.
  nftables();

  /// Carries commands out, all or none. The failure is nft's own message, without what surrounds it.
  [[nodiscard]] outcome<void> run(const std::string& commands);
  /// The same without an effect: whether the kernel would take them.
  [[nodiscard]] outcome<void> check(const std::string& commands);
  /// The output of a command in JSON: "list ruleset".
  [[nodiscard]] outcome<std::string> ask_json(const std::string& command);
  /// The same as text, with the handles of rules.
  [[nodiscard]] outcome<std::string> ask_text(const std::string& command);

 private:
  [[nodiscard]] outcome<std::string> ask(const std::string& command, unsigned flags);

  struct free_context {
    void operator()(nft_ctx* context) const noexcept;
  };
  std::unique_ptr<nft_ctx, free_context> context_;
  std::string refusal_;  ///< why there is no context
};

/// What this kernel's nftables can do.
struct nft_abilities {
  bool tables = false;  ///< nf_tables, with owned tables (Linux 5.12)
  bool queue = false;   ///< its queue statement (CONFIG_NFT_QUEUE)
};
[[nodiscard]] nft_abilities find_nft_abilities();

/// One table with all selectors' rules. `statement` stands for the queue's where it is not empty; owned: the process
/// whose socket makes it owns it.
[[nodiscard]] std::string nft_table(std::span<const selector> selectors, const queue_range& queues, fail_policy policy,
                                    const std::string& name, bool owned, const std::string& statement = {});

/// Whether nft understands each match. Failure: wrong_usage, with the selector and nft's words.
[[nodiscard]] outcome<void> check_matches(std::span<const selector> selectors);

}  // namespace tool::firewall
