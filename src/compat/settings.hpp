// SPDX-License-Identifier: MIT
// What a handle is told from outside the program, by environment variables, and from inside, by functions.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace ipq::compat {

/// LIBIPQ_SOURCE=capture:IN[,OUT][,hook=N][,then=wait|end]
struct capture_settings {
  std::string in;
  std::string out;           ///< empty: what passes is not written
  std::uint8_t hook = 2;     ///< of all packets: NF_INET_*
  bool wait_at_end = false;  ///< else the end of the file is an error to the program
};

struct settings {
  std::uint16_t queue = 0;
  std::uint32_t max_length = 1024;  ///< packets, as ip_queue_maxlen was by default
  bool fail_open = false;
  bool debug = false;
  bool batch = false;                            ///< read ahead and send verdicts together
  std::optional<capture_settings> capture = {};  ///< instead of the kernel
};

/// Longer queues exceed what one socket's receive buffer may promise.
inline constexpr std::uint32_t max_max_length = 1 << 20;

/// Looks a variable up; nullptr if it is not set.
using environment = const char* (*)(const char* name);

/// Reads LIBIPQ_QUEUE (for IPv6 LIBIPQ_QUEUE_IPV6), LIBIPQ_MAX_LENGTH, LIBIPQ_FAIL_OPEN, LIBIPQ_DEBUG and
/// LIBIPQ_SOURCE. A malformed value, the empty one too, is an error that names the variable, the value and what was
/// expected.
[[nodiscard]] std::expected<settings, std::string> read_settings(bool ipv6, environment look_up);

/// The process's environment, which counts for nothing in a set-user-id program (secure_getenv(3)).
[[nodiscard]] const char* process_environment(const char* name) noexcept;

}  // namespace ipq::compat
