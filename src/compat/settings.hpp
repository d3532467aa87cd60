// SPDX-License-Identifier: MIT
// What a handle is told from outside the program, by environment variables, and from inside, by functions.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace ipq::compat {

struct settings {
  std::uint16_t queue = 0;
  std::uint32_t max_length = 1024;  ///< packets, as ip_queue_maxlen was by default
  bool fail_open = false;
  bool debug = false;
};

/// Longer queues exceed what one socket's receive buffer may promise.
inline constexpr std::uint32_t max_max_length = 1 << 20;

/// Looks a variable up; nullptr if it is not set.
using environment = const char* (*)(const char* name);

/// Reads LIBIPQ_QUEUE (for IPv6 LIBIPQ_QUEUE_IPV6), LIBIPQ_MAX_LENGTH, LIBIPQ_FAIL_OPEN and LIBIPQ_DEBUG. A malformed
/// value, the empty one too, is an error that names the variable, the value and what was expected.
[[nodiscard]] std::expected<settings, std::string> read_settings(bool ipv6, environment look_up);

/// The process's environment, which counts for nothing in a set-user-id program (secure_getenv(3)).
[[nodiscard]] const char* process_environment(const char* name) noexcept;

}  // namespace ipq::compat
