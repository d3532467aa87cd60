// SPDX-License-Identifier: MIT
// Whether another process may have what this one has opened: as the parent of a fork can't look that up, forks are
// counted.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>

namespace ipq::queues {

inline constinit std::atomic<std::uint32_t> forks_begun = 0;

/// The same number again if this process has not begun a fork(2) since, and is no child of one that has.
inline std::uint32_t count_forks() noexcept {
  static const bool counts = ::pthread_atfork([] { ++forks_begun; }, nullptr, nullptr) == 0;
  return counts ? forks_begun.load() : ++forks_begun;
}

}  // namespace ipq::queues
