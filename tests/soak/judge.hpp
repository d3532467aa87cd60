// SPDX-License-Identifier: MIT
// The far queue of a soak, served by the C++ library: random verdicts, edits, delays, and hand-overs to a new queue;
// and the queue beside it, to which some packets are sent on.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "ipq/queue.hpp"

namespace soak {

class judge {
 public:
  // Packets with this mark pass the rule that feeds the queue.
  static constexpr std::uint32_t seen_mark = 0x50a;

  // The queue is in the namespace of this descriptor, and so is that beside it, with the next number.
  judge(std::uint16_t number, int network_namespace, std::uint64_t seed);
  judge(const judge&) = delete;
  judge& operator=(const judge&) = delete;
  ~judge();

  // Ends when nothing waits. Afterwards error() says what went wrong.
  void stop();
  [[nodiscard]] const std::string& error() const { return error_; }

  // What became of the packets of a family.
  struct kinds {
    std::atomic<std::uint64_t> fragments = 0, segments = 0, accepted = 0, dropped = 0, held = 0, repeated = 0,
                               edited = 0, given_back = 0, marked = 0, passed_over = 0, lengthened = 0, moved = 0,
                               sent_on = 0;

    // Names of those that never came.
    [[nodiscard]] std::string missing() const;
  };
  std::array<kinds, 2> families;  // IPv4, IPv6
  [[nodiscard]] std::uint64_t sum(std::atomic<std::uint64_t> kinds::*which) const {
    return families[0].*which + families[1].*which;
  }
  std::atomic<std::uint64_t> packets = 0, reloads = 0;
  std::atomic<std::uint64_t> lost = 0;  // counted by the kernel, in both queues
  std::atomic<std::uint64_t> unaccounted = 0;

 private:
  struct delayed {
    ipq::queue::clock::time_point due;
    ipq::held_packet packet;
  };

  [[nodiscard]] ipq::queue_options options();
  void serve();
  void serve_beside();
  // True if the packet has got its verdict, as an edit of this kind is possible.
  bool lengthen(const ipq::packet& which);
  bool move(const ipq::packet& which, bool is_ipv4);
  void end_beside();
  void decide(const ipq::packet& which);
  void reload();
  void release_delayed();
  void look_at_counters();
  void must(const ipq::result<void>& outcome);

  const std::uint16_t number_;
  const int namespace_;
  std::mt19937_64 random_;
  ipq::queue queue_, beside_;
  std::vector<std::byte> buffer_, longer_;
  std::mutex lock_;
  std::deque<delayed> waiting_;  // for their time
  std::atomic<bool> stopping_ = false, ended_ = false;
  std::string error_, error_beside_;
  std::thread server_, releaser_, server_beside_;
};

}  // namespace soak
