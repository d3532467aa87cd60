// SPDX-License-Identifier: MIT
// Packets are queued, then the clock starts, then one loop drains them. Every packet is accounted for.
#pragma once

#include "scenario.hpp"
#include "traffic.hpp"

namespace bench {

// Fills the queue that a loop has and looks at it from outside.
class filler {
 public:
  filler(const sink& sink, sender& sender, std::uint16_t queue = 0) : sink_(sink), sender_(sender), queue_(queue) {}

  // Throws failure if anything waits in the queue or its socket.
  void check_empty(int fd) const;
  // Queues that many packets, all of which then wait for the loop with this socket. Throws failure if one is lost.
  void fill(int fd, std::uint64_t packets, unsigned size) const;
  // Waits until that many more than `before` have arrived. Throws failure if it were more or less.
  void check_arrivals(std::uint32_t before, std::uint64_t expected) const;
  std::uint32_t arrived() const { return sink_.arrived(); }

 private:
  const sink& sink_;
  sender& sender_;
  std::uint16_t queue_;
};

// The most packets of this size that the contestant's receive buffer holds at once, at most those of a run.
std::uint64_t packets_at_once(const filler& filler, const contestant& contestant, std::uint64_t packets, unsigned size);

}  // namespace bench
