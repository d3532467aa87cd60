// SPDX-License-Identifier: MIT
// What goes wrong, as a value: the cause and the operation that met it.
#pragma once

#include <expected>
#include <string>
#include <system_error>
#include <type_traits>

namespace ipq {

/// An errno, kept as it came from the kernel, and the operation that failed. Copying costs two words and a half.
struct error {
  std::error_code code;
  const char* operation = "";  ///< a literal, as "bind queue"; never null

  /// "bind queue: Operation not permitted"
  [[nodiscard]] std::string message() const { return std::string(operation) + ": " + code.message(); }

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
  return std::unexpected(error{std::error_code(system_error, std::system_category()), operation});
}

}  // namespace ipq
