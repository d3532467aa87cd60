// SPDX-License-Identifier: MIT
// What rules ask of the queues and of --select.
#pragma once

#include "failure.hpp"
#include "live_options.hpp"
#include "rules/ruleset.hpp"

namespace tool {

/// Whether rules can be carried out with these options; also when they are loaded anew. `can_copy`: copies of packets
/// can be sent. Failures: wrong_usage; no_rights, for duplicate.
[[nodiscard]] outcome<void> check_demands(const ipq::tool::rules::ruleset& rules, const live_options& options,
                                          bool can_copy);

}  // namespace tool
