// SPDX-License-Identifier: MIT
#include "worker_engines.hpp"

namespace tool {

namespace rules = ipq::tool::rules;

worker_engines::worker_engines(const rules::ruleset& rules, const replay_options& options,
                               const ipq::capture_reader& names)
    : first_queue_(options.first_queue) {
  for (unsigned worker = 0; worker < options.workers; ++worker) {
    engines_.emplace_back(
        rules, rules::engine_options{.seed = options.seed + worker,
                                     .otherwise = options.otherwise,
                                     .names = [&names](std::uint32_t index) { return names.interface_name(index); }});
  }
}

rules::totals worker_engines::counts() const {
  rules::totals sum;
  for (const rules::engine& each : engines_) sum.add(each);
  return sum;
}

}  // namespace tool
