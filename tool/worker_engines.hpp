// SPDX-License-Identifier: MIT
// An engine for each worker that ipq run had: a recording is judged again by the dice, and the rates, that it met.
#pragma once

#include <cstddef>
#include <vector>

#include "replay_options.hpp"
#include "rules/engine.hpp"

namespace tool {

class worker_engines {
 public:
  /// `names` is asked for interfaces as long as there is an engine.
  worker_engines(const ipq::tool::rules::ruleset& rules, const replay_options& options,
                 const ipq::capture_reader& names);

  [[nodiscard]] std::size_t size() const noexcept { return engines_.size(); }
  /// The one that served the packet's queue; of queues below the first it is the first.
  [[nodiscard]] std::size_t of(const ipq::packet& which) const noexcept {
    if (engines_.size() == 1 || which.queue < first_queue_) return 0;
    return (which.queue - first_queue_) % engines_.size();
  }
  /// As the packet's engine does.
  [[nodiscard]] const ipq::tool::rules::decision& judge(const ipq::packet& which, ipq::tool::rules::time now) {
    return engines_[of(which)].judge(which, now);
  }

  [[nodiscard]] const ipq::tool::rules::ruleset& rules() const noexcept { return engines_[0].rules(); }
  [[nodiscard]] ipq::tool::rules::totals counts() const;

 private:
  std::vector<ipq::tool::rules::engine> engines_;  ///< one at least
  std::uint16_t first_queue_;
};

}  // namespace tool
