// SPDX-License-Identifier: MIT
// Tells the service manager how the service is, as sd_notify(3) does; nothing where there is no such manager.
#pragma once

#include <string_view>
#include <utility>

namespace tool {

/// Connected to $NOTIFY_SOCKET while rights are there; said later.
class service_manager {
 public:
  /// Failing to connect is no failure of the command: the manager will notice what it misses.
  service_manager() noexcept;
  service_manager(const service_manager&) = delete;
  service_manager& operator=(const service_manager&) = delete;
  ~service_manager();

  /// Lines such as "READY=1" and "STATUS=...".
  void say(std::string_view lines) const noexcept;
  /// "RELOADING=1" with the time that systemd wants beside it.
  void say_reloading() const noexcept;

 private:
  int fd_ = -1;
};

}  // namespace tool
