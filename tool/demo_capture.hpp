// SPDX-License-Identifier: MIT
// The demo where a machine gives no network namespace or no queue.
#pragma once

#include <string>
#include <vector>

#include "failure.hpp"
#include "story.hpp"

namespace tool {

/// Judges a capture of the packets that the demo would have sent by these rules, with ipq replay.
[[nodiscard]] outcome<void> tell_on_capture(const story& to, const std::vector<std::string>& rules);

}  // namespace tool
