// SPDX-License-Identifier: MIT
// What libipq says when something fails: the number and text of the thread, as programs always had them, and those of
// a handle, which say more.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <string_view>

#include "ipq/error.hpp"

namespace ipq::compat {

/// The message of an IPQ_ERR_* number.
[[nodiscard]] const char* error_text(int number) noexcept;

/// The last error of the calling thread; success never resets it.
void set_thread_error(int number) noexcept;
/// IPQ_ERR_SETTING, with a text that names the setting.
void set_thread_error(std::string_view setting_text) noexcept;
[[nodiscard]] int thread_error() noexcept;
/// Not const, since ipq_errstr() is not: for ever valid, unless it names a setting, and then until the thread's next
/// error.
[[nodiscard]] char* thread_error_text() noexcept;

/// The last error of a handle, set by any thread and from signal handlers: whoever finds it being written lets the
/// other's error stand. Meanwhile no handler runs, as one that leaves by longjmp would leave it so for ever.
class last_error {
 public:
  void set(int number, std::string_view text) noexcept;

  /// In a child of fork(2), before anything else: another thread of the parent may have been writing.
  void after_fork_in_child() noexcept { in_use_.clear(std::memory_order_relaxed); }

  [[nodiscard]] int number() const noexcept { return number_.load(std::memory_order_relaxed); }

  /// A copy that belongs to the calling thread, valid until its next call.
  [[nodiscard]] const char* text() const noexcept;

 private:
  mutable std::atomic_flag in_use_;
  std::atomic<int> number_ = 0;
  std::array<char, 256> text_{};
};

}  // namespace ipq::compat
