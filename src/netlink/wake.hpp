// SPDX-License-Identifier: MIT
// A wait for a socket that another thread, or a signal handler, can end.
#pragma once

#include <chrono>

#include "ipq/error.hpp"
#include "netlink/descriptor.hpp"
#include "netlink/socket.hpp"

namespace ipq::netlink {

class wake {
 public:
  /// Errors: those of eventfd(2).
  [[nodiscard]] static result<wake> create() noexcept;

  /// Ends this wait and every later one. Async-signal-safe.
  void signal() const noexcept;

  /// Waits until the socket has something or signal() was called, at most until `deadline`; time_point::max() is for
  /// ever. Errors: ETIMEDOUT, EINTR after a signal handler, those of ppoll(2).
  [[nodiscard]] result<void> wait(const socket& watched, std::chrono::steady_clock::time_point deadline) const;

 private:
  explicit wake(descriptor&& event) noexcept : event_(std::move(event)) {}
  descriptor event_;
};

}  // namespace ipq::netlink
