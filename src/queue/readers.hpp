// SPDX-License-Identifier: MIT
// Which processes receive from one queue's socket: the one that opened it and children of fork(2), each of which may
// have packets that the others know nothing of.
#pragma once

#include <atomic>
#include <cstdint>

#include "netlink/in_common.hpp"
#include "queue/fork_mark.hpp"

namespace ipq::queues {

class readers {
 public:
  /// Throws std::bad_alloc.
  readers() = default;

  [[nodiscard]] bool have_this_process() const noexcept { return joined_.is_set(); }
  /// Once in a process, before it receives for the first time. Whether it is the first of all.
  bool add_this_process() noexcept {
    joined_.set();
    return count_->fetch_add(1) == 0;
  }
  /// Whether no other process has ever received. One that begins later gets later packets than this one has.
  [[nodiscard]] bool have_no_other() const noexcept { return count_->load() == (joined_.is_set() ? 1u : 0u); }

 private:
  const netlink::in_common<std::atomic<std::uint32_t>> count_;
  fork_mark joined_{false};
};

}  // namespace ipq::queues
