// SPDX-License-Identifier: MIT
// Memory for many datagrams, filled by one system call. It knows no message.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "ipq/error.hpp"
#include "netlink/socket.hpp"

namespace ipq::netlink {

class arena {
 public:
  /// Room for `count` datagrams of up to `size` bytes. Throws std::bad_alloc. Memory is used as far as datagrams fill
  /// it.
  arena(std::size_t count, std::size_t size);

  /// Receives as many datagrams as are there, without waiting; what was there before is overwritten. Returns how many.
  /// Errors: EAGAIN if there is none; those of recvmmsg(2).
  [[nodiscard]] result<std::size_t> receive(const socket& from);

  /// Waits for one datagram, which is then the only one here. Returns 1. Errors: those of socket::receive.
  [[nodiscard]] result<std::size_t> receive_one(const socket& from);

  /// Bytes of a datagram that was received last.
  [[nodiscard]] std::span<std::byte> operator[](std::size_t index) const noexcept {
    return {slot(index), messages_[index].msg_len};
  }
  /// The slot was too small for the datagram; the rest of it is lost.
  [[nodiscard]] bool truncated(std::size_t index) const noexcept {
    return (messages_[index].msg_hdr.msg_flags & MSG_TRUNC) != 0;
  }
  /// Whether the bytes lie in here.
  [[nodiscard]] bool contains(std::span<const std::byte> bytes) const noexcept;
  [[nodiscard]] std::size_t count() const noexcept { return messages_.size(); }

 private:
  [[nodiscard]] std::byte* slot(std::size_t index) const noexcept { return memory_.get() + index * size_; }

  std::size_t size_;
  std::unique_ptr<std::byte[]> memory_;
  std::vector<iovec> parts_;
  std::vector<mmsghdr> messages_;
};

}  // namespace ipq::netlink
