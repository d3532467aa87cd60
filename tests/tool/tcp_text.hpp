// SPDX-License-Identifier: MIT
// A text that goes over TCP as a whole.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "kernel/traffic.hpp"

namespace tool_tests {

/// All that the next connection brings, up to its end.
inline std::string receive_text(const kernel_tests::tcp_listener& listener) {
  const auto connection = listener.accept();
  std::string received, part(1 << 16, '\0');
  for (ssize_t size; (size = ::read(connection.get(), part.data(), part.size())) > 0;) {
    received.append(part, 0, static_cast<std::size_t>(size));
  }
  return received;
}

/// Sends all of it and says that this was the end; what fails shows at the other side.
inline void send_text(int connection, std::string_view text) {
  while (!text.empty()) {
    const ssize_t size = ::write(connection, text.data(), text.size());
    if (size <= 0) break;
    text.remove_prefix(static_cast<std::size_t>(size));
  }
  ::shutdown(connection, SHUT_WR);
}

}  // namespace tool_tests
