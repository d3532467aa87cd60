// SPDX-License-Identifier: MIT
// Memory that runs out: every operator new of this program, also those of arrays, of aligned objects and that which
// returns nullptr, grants a thread so many allocations, and fails from then on. What C libraries allocate is no matter
// of it, nor what other threads do.
#pragma once

namespace fault_tests {

// Counts down; negative: all are granted.
extern thread_local long granted_allocations;

}  // namespace fault_tests
