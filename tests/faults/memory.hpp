// SPDX-License-Identifier: MIT
// Memory that runs out: operator new of this program grants a thread so many allocations, and throws from then on.
#pragma once

namespace fault_tests {

// Counts down; negative: all are granted.
extern thread_local long granted_allocations;

}  // namespace fault_tests
