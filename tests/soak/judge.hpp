// SPDX-License-Identifier: MIT
// The far queue of a soak, served by the C++ library: random verdicts, edits, delays, and hand-overs to a new queue.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "ipq/queue.hpp"

namespace soak {

class judge {
 public:
  // Packets with this mark pass the rule that feeds the queue.
  static constexpr std::uint32_t seen_mark = 0x50a;

  // The queue is in the namespace of this descriptor.
  judge(std::uint16_t number, int network_namespace, std::uint64_t seed);
  judge(const judge&) = delete;
  judge& operator=(const judge&) = delete;
  ~judge();

  // Ends when nothing waits. Afterwards error() says what went wrong.
  void stop();
  [[nodiscard]] const std::string& error() const { return error_; }

  std::atomic<std::uint64_t> packets = 0, dropped = 0, edited = 0, held = 0, fragments = 0, segments = 0, reloads = 0;
  std::atomic<std::uint64_t> lost = 0;  // counted by the kernel
  std::atomic<std::uint64_t> unaccounted = 0;

 private:
  struct delayed {
    ipq::queue::clock::time_point due;
    ipq::held_packet packet;
  };

  [[nodiscard]] ipq::queue_options options();
  void serve();
  void decide(const ipq::packet& which);
  void reload();
  void release_delayed();
  void look_at_counters();
  void must(const ipq::result<void>& outcome);

  const std::uint16_t number_;
  const int namespace_;
  std::mt19937_64 random_;
  ipq::queue queue_;
  std::vector<std::byte> buffer_;
  std::mutex lock_;
  std::deque<delayed> waiting_;  // for their time
  std::atomic<bool> stopping_ = false, ended_ = false;
  std::string error_;
  std::thread server_, releaser_;
};

}  // namespace soak
