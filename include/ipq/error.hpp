// SPDX-License-Identifier: MIT
// What goes wrong, as a value: the cause and the operation that met it.
#pragma once

#include <array>
#include <cerrno>
#include <cstdint>
#include <expected>
#include <string>
#include <system_error>
#include <type_traits>

#ifndef __cpp_lib_expected
#error "libipq++ needs C++23: -std=c++23 with g++ 12 or later, or clang 19"
#endif

namespace ipq {

/// An errno, kept as it came from the kernel, the operation that failed, and what else is known.
struct error {
  std::error_code code;
  const char* operation = "";         ///< a literal, as "bind queue"; never null
  const char* advice = "";            ///< a literal: what to do about it; never null, often empty
  int queue = -1;                     ///< queue number, -1 where it is about none
  std::uint64_t packet = 0;           ///< of a capture, from 1; 0 where it is about none
  std::uint64_t offset = 0;           ///< where in the file that packet, or what stands in its place, begins
  int owner = 0;                      ///< process that has the queue (EBUSY); 0 where it is not known
  std::array<char, 16> owner_name{};  ///< its command, NUL-terminated

  /// "bind queue 0: owned by suricata (pid 812)", "read capture, packet 7 at byte 1032: Bad message: the file ends
  /// here"
  [[nodiscard]] std::string message() const {
    // Appended, not added: for sums of strings GCC 12 warns of overlaps that can't be (its bug 105651).
    std::string text = operation;
    if (queue >= 0) text.append(" ").append(std::to_string(queue));
    if (packet != 0) {
      text.append(", packet ").append(std::to_string(packet)).append(" at byte ").append(std::to_string(offset));
    }
    text.append(": ");
    if (owner != 0) {
      return text.append("owned by ")
          .append(owner_name.data())
          .append(" (pid ")
          .append(std::to_string(owner))
          .append(")");
    }
    text.append(code.message());
    if (*advice != '\0') text.append(": ").append(advice);
    return text;
  }

  /// Whether the cause is this errno, as error.is(EPERM).
  [[nodiscard]] bool is(int system_error) const noexcept {
    return code.category() == std::system_category() && code.value() == system_error;
  }

  /// Whether the kernel had no memory, ENOBUFS or ENOMEM, which may be there in a moment: a source keeps verdicts that
  /// it could not send, but for those with a replacement, and its next call sends them.
  [[nodiscard]] bool lacks_memory() const noexcept { return is(ENOBUFS) || is(ENOMEM); }
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
