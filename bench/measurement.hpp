// SPDX-License-Identifier: MIT
// One run: packets are queued, then the clock starts, then one loop drains them. Every packet is accounted for.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "loop.hpp"
#include "traffic.hpp"

namespace bench {

struct scenario {
  unsigned size = 0;     // bytes of UDP payload
  unsigned verdict = 0;  // NF_DROP or NF_ACCEPT
};

struct sample {
  std::uint64_t packets = 0;   // read and answered
  std::uint64_t arrived = 0;   // of them, at the receiver
  double cpu_seconds = 0;      // of the reading thread, in the kernel and out of it
  double process_seconds = 0;  // of all threads
  double wall_seconds = 0;
  std::optional<std::uint64_t> allocations;
};

// All runs of one loop in one scenario.
struct series {
  scenario what;
  std::size_t contestant = 0;
  std::vector<sample> samples;
};

class bench_bed {
 public:
  // In the private network, with the rule in place for the sink's port.
  bench_bed(const sink& sink, std::uint64_t packets) : sink_(sink), sender_(sink.port()), packets_(packets) {}

  // The most packets of this size that the loop's receive buffer holds at once, at most those of a run.
  std::uint64_t packets_at_once(const contestant& contestant, unsigned size);

  // Throws failure when a packet is missing, left over or in the wrong place.
  sample run(const contestant& contestant, const scenario& what, std::uint64_t at_once);

 private:
  void fill(const loop& loop, std::uint64_t packets, unsigned size);
  void check_empty(const loop& loop) const;
  std::uint64_t count_arrivals(std::uint32_t before, std::uint64_t expected) const;

  const sink& sink_;
  sender sender_;
  std::uint64_t packets_;
};

}  // namespace bench
