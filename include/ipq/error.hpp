// SPDX-License-Identifier: MIT
// What goes wrong, as a value: the cause and the operation that met it.
#pragma once

#include <array>
#include <expected>
#include <string>
#include <system_error>
#include <type_traits>

namespace ipq {

/// An errno, kept as it came from the kernel, the operation that failed, and what else is known.
struct error {
  std::error_code code;
  const char* operation = "";         ///< a literal, as "bind queue"; never null
  const char* advice = "";            ///< a literal: what to do about it; never null, often empty
  int queue = -1;                     ///< queue number, -1 where it is about none
  int owner = 0;                      ///< process that has the queue (EBUSY); 0 where it is not known
  std::array<char, 16> owner_name{};  ///< its command, NUL-terminated

  /// "bind queue 0: owned by suricata (pid 812)"
  [[nodiscard]] std::string message() const {
    std::string text = operation;
    if (queue >= 0) text += " " + std::to_string(queue);
    if (owner != 0) return text + ": owned by " + owner_name.data() + " (pid " + std::to_string(owner) + ")";
    text += ": " + code.message();
    return *advice == '\0' ? text : text + ": " + advice;
  }

  /// Whether the cause is this errno, as error.is(EPERM).
  [[nodiscard]] bool is(int system_error) const noexcept {
    return code.category() == std::system_category() && code.value() == system_error;
  }
};
static_assert(std::is_trivially_copyable_v<error>);

template <class T>
using result = std::expected<T, error>;

/// The error of a system call that just set errno to `system_error`.
[[nodiscard]] inline std::unexpected<error> failed(const char* operation, int system_error) noexcept {
  error made;
  made.code = std::error_code(system_error, std::system_category());
  made.operation = operation;
  return std::unexpected(made);
}

}  // namespace ipq
