// SPDX-License-Identifier: MIT
// A count of what any thread does, nearly always the same one, which therefore pays no locked instruction.
#pragma once

#include <atomic>
#include <cstdint>

namespace ipq::compat {

/// Two locked additions a packet are one and a half percent of what it costs. The first thread that counts has a number
/// of its own, to which it adds by one instruction that no signal handler can come between; all others share the other.
class counter {
 public:
  [[gnu::always_inline]] inline void add() noexcept {
#if defined(__x86_64__)
    std::uintptr_t self;
    asm("mov %%fs:0, %0" : "=r"(self));  // the thread pointer points to itself (System V ABI)
    if (owner_.load(std::memory_order_relaxed) == self || claim(self)) [[likely]] {
      asm volatile("addq $1, %0" : "+m"(owners_));
      return;
    }
#endif
    shared_.fetch_add(1, std::memory_order_relaxed);
  }
  void take_back() noexcept {
    shared_.fetch_sub(1, std::memory_order_relaxed);
  }

  [[nodiscard]] std::uint64_t value() const noexcept {
    return __atomic_load_n(&owners_, __ATOMIC_RELAXED) + shared_.load(std::memory_order_relaxed);
  }

 private:
  [[gnu::noinline]] bool claim(std::uintptr_t self) noexcept {
    std::uintptr_t nobody = 0;
    return owner_.compare_exchange_strong(nobody, self, std::memory_order_relaxed);
  }

  std::atomic<std::uintptr_t> owner_ = 0;
  std::uint64_t owners_ = 0;
  std::atomic<std::uint64_t> shared_ = 0;  ///< may be below 0, as what was taken back is taken from here
};

}  // namespace ipq::compat
