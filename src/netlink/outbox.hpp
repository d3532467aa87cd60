// SPDX-License-Identifier: MIT
// The end of a pair of sockets through which this process hands messages to a reader of its own, never waiting.
#pragma once

#include <poll.h>

#include <cstddef>
#include <list>
#include <span>
#include <utility>
#include <vector>

#include "ipq/error.hpp"
#include "netlink/socket.hpp"

namespace ipq::netlink {

class outbox {
 public:
  /// And where the reader receives: whole messages, in order. SO_RCVBUF may be set on it. Errors: those of
  /// socketpair(2).
  [[nodiscard]] static result<std::pair<outbox, socket>> open();

  /// What does not fit yet is kept and goes out with the next post or flush. A reader that has closed its end gets
  /// nothing. Throws std::bad_alloc; the message then is lost.
  void post(std::span<const std::byte> message);
  void flush();

  /// Whether the process has the descriptor yet: a program may close what it did not open. A system call; without it
  /// nothing may be done here.
  [[nodiscard]] bool is_there() const noexcept { return writer_.is_there(); }

  /// A message that was sent over the reader's end, which is for receiving. EAGAIN: there is none.
  [[nodiscard]] result<datagram> take_back(std::span<std::byte> into);

  /// For poll(2): writable when some of the backlog may fit, readable when something may be taken back.
  [[nodiscard]] int fd() const noexcept { return writer_->fd(); }
  [[nodiscard]] short events() const noexcept {
    return static_cast<short>((backlog_.empty() ? 0 : POLLOUT) | (hung_up_ ? 0 : POLLIN));
  }

 private:
  explicit outbox(socket&& writer) noexcept : writer_(std::move(writer)) {}
  [[nodiscard]] bool send(std::span<const std::byte> message) const;

  unseen_socket writer_;
  bool hung_up_ = false;
  std::list<std::vector<std::byte>> backlog_;  ///< no deque: that has memory also when it is empty
};

}  // namespace ipq::netlink
