// SPDX-License-Identifier: MIT
// Sends copies of packets, for the rules' `duplicate`.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "failure.hpp"

namespace tool {

/// Raw sockets of both families whose packets carry a mark, by which a copy that meets the queue again is known. A
/// copy leaves as this machine's own: it passes the hooks output and postrouting, whatever hook the packet was at; one
/// for this machine itself comes in by the loopback interface.
class duplicator {
 public:
  /// Failures: no_rights, CAP_NET_RAW is missing; those of socket(2).
  [[nodiscard]] static outcome<duplicator> open(std::uint32_t mark);
  duplicator(duplicator&& other) noexcept
      : ipv4_(std::exchange(other.ipv4_, -1)), ipv6_(std::exchange(other.ipv6_, -1)), mark_(other.mark_) {}
  duplicator(const duplicator&) = delete;
  duplicator& operator=(const duplicator&) = delete;
  ~duplicator();

  /// Sends an IPv4 or IPv6 packet once, where its destination leads; one that is an address of a link alone, as
  /// fe80::1, by the interface `link`, 0: none is known. From any thread, without waiting. False: it could not be sent,
  /// as when it is longer than the interface takes.
  [[nodiscard]] bool send(std::span<const std::byte> packet, std::uint32_t link) const noexcept;

  [[nodiscard]] std::uint32_t mark() const noexcept { return mark_; }

 private:
  duplicator(int ipv4, int ipv6, std::uint32_t mark) noexcept : ipv4_(ipv4), ipv6_(ipv6), mark_(mark) {}
  int ipv4_ = -1, ipv6_ = -1;
  std::uint32_t mark_ = 0;
};

}  // namespace tool
