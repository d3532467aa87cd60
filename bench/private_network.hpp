// SPDX-License-Identifier: MIT
// A network namespace of our own with loopback and the classic rule. It is gone with the process, however that ends.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace bench {

// Moves the calling thread into a new network namespace, as an ordinary user into a new user namespace too, and
// brings loopback up. Must come before any socket and any other thread. Throws unavailable.
void enter_private_network();

// iptables-legacy -A OUTPUT -p udp --dport PORT -j QUEUE
void queue_udp(std::uint16_t port);

// Runs a program to its end, in the network namespace of the calling thread. Throws unavailable if it is missing or
// fails; `needs` says what may be lacking then.
void run_program(const std::vector<std::string>& words, const std::string& needs);

// The kernel's own account of a queue.
struct queue_counters {
  std::uint64_t waiting = 0;       // for a verdict, read or not
  std::uint64_t dropped_full = 0;  // the queue's length
  std::uint64_t dropped_user = 0;  // no room in the socket
};

// nullopt where the kernel does not show it: only root of the machine may read it.
std::optional<queue_counters> read_queue_counters(std::uint16_t queue = 0);

}  // namespace bench
