// SPDX-License-Identifier: MIT
// The drains, and the accounts around them.
#include "drain.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <string>
#include <tuple>

#include "failure.hpp"
#include "private_network.hpp"

namespace bench {
namespace {

/// The kernel's own length of a queue: more than that seldom waits.
constexpr std::uint64_t usual_length = 1024;

bool readable(int fd) {
  pollfd entry{fd, POLLIN, 0};
  return poll(&entry, 1, 0) != 0;
}

class drain final : public scenario {
 public:
  drain(description what, const ground& on, std::vector<const contestant*> contestants, unsigned size, verdicts given,
        std::uint64_t at_once)
      : scenario(std::move(what)),
        filler_(on.sink, on.sender),
        packets_(on.packets),
        wanted_at_once_(std::min(at_once, on.packets)),
        at_once_(wanted_at_once_),
        contestants_(std::move(contestants)),
        size_(size),
        given_(given) {}

  void prepare(const std::vector<std::size_t>& contestants) override {
    for (const auto index : contestants) {
      at_once_ = std::min(at_once_, packets_at_once(filler_, *contestants_[index], wanted_at_once_, size_));
    }
  }

  sample run(std::size_t index) override;

  std::string note() const override {
    if (at_once_ == wanted_at_once_) return {};
    return "queued " + std::to_string(at_once_) + " at a time, which is what the receive buffer holds";
  }

 private:
  std::uint64_t expected_arrivals() const {
    if (given_ == verdicts::drop) return 0;
    if (given_ == verdicts::accept) return packets_;
    std::uint64_t sum = 0;  // the first of each filling is accepted
    for (std::uint64_t left = packets_; left > 0; left -= std::min(left, at_once_)) {
      sum += (std::min(left, at_once_) + 1) / 2;
    }
    return sum;
  }

  filler filler_;
  std::uint64_t packets_;
  std::uint64_t wanted_at_once_;  // in the queue before the clock starts
  std::uint64_t at_once_;         // as far as receive buffers permit
  std::vector<const contestant*> contestants_;
  unsigned size_;
  verdicts given_;
};

sample drain::run(std::size_t index) {
  const contestant& contestant = *contestants_[index];
  const auto allocated_before = allocations();
  const auto loop = contestant.open({.max_length = static_cast<unsigned>(at_once_)});
  // One is our own object; a library needs at least one more, or its malloc is not the one that counts.
  if (allocated_before && *allocations() - *allocated_before < 2 && contestant.uses_library) {
    throw failure("the allocations of " + std::string(contestant.name) + " escape the count");
  }
  // What a loop prepares when the first packet comes is not a cost per packet.
  filler_.fill(loop->fd(), 1, size_);
  loop->drain(1, verdicts::drop, message_buffer());

  const auto arrived = filler_.arrived();
  sample result;
  expense spent;
  while (result.packets < packets_) {
    const auto packets = std::min(at_once_, packets_ - result.packets);
    filler_.fill(loop->fd(), packets, size_);

    const watchdog watchdog;
    const stopwatch watch;
    const drained drained = loop->drain(packets, given_, message_buffer());
    spent += watch.stop();

    result.packets += drained.packets;
    if (drained.packets != packets || drained.bytes < packets * (size_ + header_bytes)) {
      throw failure(std::string(contestant.name) + " saw " + std::to_string(drained.packets) + " packets with " +
                    std::to_string(drained.bytes) + " bytes instead of " + std::to_string(packets) + " whole ones");
    }
    filler_.check_empty(loop->fd());
  }
  result.arrived = expected_arrivals();
  filler_.check_arrivals(arrived, result.arrived);
  result.figures = {spent.cpu_seconds / static_cast<double>(packets_) * 1e9,
                    static_cast<double>(packets_) / spent.wall_seconds};
  result.allocations = spent.allocations;
  result.other_threads = spent.process_seconds / spent.cpu_seconds - 1;
  return result;
}

description describe(const char* table, std::string name, const std::vector<const contestant*>& contestants,
                     std::vector<goal> goals) {
  description what{.table = table, .name = std::move(name), .goals = std::move(goals), .counts_allocations = true};
  what.figures = {{"CPU per packet, ns", "cpu_ns_per_packet"}, {"packets per second", "packets_per_second"}};
  for (const auto* contestant : contestants) what.contestants.emplace_back(contestant->name);
  return what;
}

}  // namespace

void filler::check_empty(int fd) const {
  if (readable(fd)) throw failure("the queue's socket has more to read than the packets that were sent");
  const auto counters = read_queue_counters(queue_);
  if (counters && counters->waiting != 0) {
    throw failure(std::to_string(counters->waiting) + " packets wait in a queue that should be empty");
  }
}

void filler::fill(int fd, std::uint64_t packets, unsigned size) const {
  check_empty(fd);
  const auto drops = read_receive_state(fd).drops;
  sender_.send(packets, size);
  if (const auto lost = read_receive_state(fd).drops - drops; lost != 0) {
    throw failure("the receive buffer lost " + std::to_string(lost) + " of " + std::to_string(packets) + " packets");
  }
  const auto counters = read_queue_counters(queue_);
  if (counters && counters->waiting != packets) {
    throw failure(std::to_string(counters->waiting) + " packets wait in the queue instead of " +
                  std::to_string(packets) + " (dropped: " + std::to_string(counters->dropped_full) + " queue full, " +
                  std::to_string(counters->dropped_user) + " buffer full)");
  }
}

void filler::check_arrivals(std::uint32_t before, std::uint64_t expected) const {
  // What crosses loopback is delivered in a softirq, which may run a moment later.
  const double deadline = now(CLOCK_MONOTONIC) + patience_seconds;
  while (arrived() - before < expected && now(CLOCK_MONOTONIC) < deadline) usleep(1000);
  if (const auto came = arrived() - before; came != expected) {
    throw failure(std::to_string(came) + " packets arrived instead of " + std::to_string(expected));
  }
}

std::uint64_t packets_at_once(const filler& filler, const contestant& contestant, std::uint64_t packets,
                              unsigned size) {
  const auto loop = contestant.open({.max_length = static_cast<unsigned>(packets)});
  filler.fill(loop->fd(), 1, size);
  const auto state = read_receive_state(loop->fd());
  loop->drain(1, verdicts::drop, message_buffer());
  // One less, for whatever else the kernel may have to say.
  const std::uint64_t room = std::max(state.limit / state.used, 2U) - 1;
  return std::min(packets, room);
}

void add_drains_of_libipq(scenarios& to, const ground& on, const std::vector<unsigned>& sizes) {
  const std::vector<const contestant*> loops{&libipq, &libnetfilter_queue, &bare};
  const std::vector<goal> goals{{0, 0, 1, goal::kind::at_most, 1.03}, {0, 0, 2, goal::kind::at_most, 1.05}};
  for (const unsigned size : sizes) {
    for (const auto given : {verdicts::drop, verdicts::accept}) {
      const std::string name =
          std::to_string(size) + " bytes, " + (given == verdicts::accept ? "NF_ACCEPT" : "NF_DROP");
      to.push_back(std::make_unique<drain>(describe("libipq", name, loops, goals), on, loops, size, given, on.packets));
    }
  }
  // LIBIPQ_BATCH may not merge: a program may decide a packet at any time, and in any order.
  const std::vector<const contestant*> batching{&libipq_batch, &libnetfilter_queue, &bare_batch_unmerged, &bare_batch};
  for (const auto& [name, size, given] : {std::tuple{"batch, 64 bytes, NF_ACCEPT", 64u, verdicts::accept},
                                          {"batch, 64 bytes, NF_DROP", 64u, verdicts::drop},
                                          {"batch, 64 bytes, alternating", 64u, verdicts::alternating},
                                          {"batch, 1400 bytes, NF_ACCEPT", 1400u, verdicts::accept}}) {
    description what = describe("libipq", name, batching, {{0, 0, 1, goal::kind::at_most, 0.56}});
    to.push_back(std::make_unique<drain>(std::move(what), on, batching, size, given, usual_length));
  }
}

void add_drains(scenarios& to, const ground& on) {
  const std::vector<const contestant*> loops{&ipq_queue, &libnetfilter_queue, &bare_batch};
  const goal of_floor{0, 0, 2, goal::kind::at_most, 1.05};
  const auto add = [&](const std::string& name, unsigned size, verdicts given, std::uint64_t at_once,
                       const std::vector<goal>& goals) {
    description what = describe("libipq++", "drain, " + name, loops, goals);
    to.push_back(std::make_unique<drain>(std::move(what), on, loops, size, given, at_once));
  };
  const auto of_peer = [&](double bound) { return goal{0, 0, 1, goal::kind::at_most, bound}; };
  add("accept, 64 bytes", 64, verdicts::accept, usual_length, {of_peer(0.46), of_floor});
  add("accept, 1400 bytes", 1400, verdicts::accept, usual_length, {of_peer(0.46), of_floor});
  add("drop, 64 bytes", 64, verdicts::drop, usual_length, {of_peer(0.40), of_floor});
  add("alternating, 64 bytes", 64, verdicts::alternating, usual_length, {of_peer(0.53), of_floor});
  // So many that all of their data has left the cache; what that costs is the same for every loop.
  add("accept, 64 bytes, " + std::to_string(on.packets) + " waiting", 64, verdicts::accept, on.packets, {of_floor});

  const std::vector<const contestant*> recorded{&ipq_queue_recording, &ipq_queue};
  description what =
      describe("libipq++", "drain, accept, 64 bytes, recorded", recorded, {{0, 0, 1, goal::kind::at_most, 1.15}});
  what.counts_allocations = false;  // the writer's are not the reader's
  to.push_back(std::make_unique<drain>(std::move(what), on, recorded, 64, verdicts::accept, usual_length));
}

}  // namespace bench
