// SPDX-License-Identifier: MIT
// The run itself and the accounts around it.
#include "measurement.hpp"

#include <linux/netfilter.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <string>

#include "allocations.hpp"
#include "failure.hpp"
#include "private_network.hpp"

namespace bench {
namespace {

constexpr unsigned header_bytes = 20 + 8;  // IPv4 and UDP, in front of the payload
constexpr unsigned patience_seconds = 120;

double now(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// A loop that waits for a packet that never comes can't be told to stop.
extern "C" void give_up(int) {
  static const char message[] = "bench_libipq: a packet is missing: a loop has waited for it for two minutes\n";
  // Nothing is left to do about a message that cannot be written.
  [[maybe_unused]] const auto written = write(STDERR_FILENO, message, sizeof message - 1);
  _exit(1);
}

class watchdog {
 public:
  watchdog() {
    std::signal(SIGALRM, give_up);
    alarm(patience_seconds);
  }
  watchdog(const watchdog&) = delete;
  watchdog& operator=(const watchdog&) = delete;
  ~watchdog() { alarm(0); }
};

bool readable(int fd) {
  pollfd entry{fd, POLLIN, 0};
  return poll(&entry, 1, 0) != 0;
}

// The same memory for all loops.
std::span<unsigned char> message_buffer() {
  alignas(64) static unsigned char bytes[4096];
  return bytes;
}

}  // namespace

void bench_bed::check_empty(const loop& loop) const {
  if (readable(loop.fd())) throw failure("the queue's socket has more to read than the packets that were sent");
  const auto counters = read_queue_counters();
  if (counters && counters->waiting != 0) {
    throw failure(std::to_string(counters->waiting) + " packets wait in a queue that should be empty");
  }
}

void bench_bed::fill(const loop& loop, std::uint64_t packets, unsigned size) {
  check_empty(loop);
  const auto drops = read_receive_state(loop.fd()).drops;
  sender_.send(packets, size);
  if (const auto lost = read_receive_state(loop.fd()).drops - drops; lost != 0) {
    throw failure("the receive buffer lost " + std::to_string(lost) + " of " + std::to_string(packets) + " packets");
  }
  const auto counters = read_queue_counters();
  if (counters && counters->waiting != packets) {
    throw failure(std::to_string(counters->waiting) + " packets wait in the queue instead of " +
                  std::to_string(packets) + " (dropped: " + std::to_string(counters->dropped_full) + " queue full, " +
                  std::to_string(counters->dropped_user) + " buffer full)");
  }
}

std::uint64_t bench_bed::count_arrivals(std::uint32_t before, std::uint64_t expected) const {
  // What crosses loopback is delivered in a softirq, which may run a moment later.
  const double deadline = now(CLOCK_MONOTONIC) + patience_seconds;
  while (sink_.arrived() - before < expected && now(CLOCK_MONOTONIC) < deadline) usleep(1000);
  if (const auto arrived = sink_.arrived() - before; arrived != expected) {
    throw failure(std::to_string(arrived) + " packets arrived instead of " + std::to_string(expected));
  }
  return expected;
}

std::uint64_t bench_bed::packets_at_once(const contestant& contestant, unsigned size) {
  const auto loop = contestant.open(static_cast<unsigned>(packets_));
  fill(*loop, 1, size);
  const auto state = read_receive_state(loop->fd());
  loop->drain(1, NF_DROP, message_buffer());
  // One less, for whatever else the kernel may have to say.
  const std::uint64_t room = std::max(state.limit / state.used, 2U) - 1;
  return std::min(packets_, room);
}

sample bench_bed::run(const contestant& contestant, const scenario& what, std::uint64_t at_once) {
  const auto allocated_before = allocations();
  const auto loop = contestant.open(static_cast<unsigned>(at_once));
  // One is our own object; a library needs at least one more, or its malloc is not the one that counts.
  if (allocated_before && *allocations() - *allocated_before < 2 && &contestant != &contestants[floor]) {
    throw failure("the allocations of " + std::string(contestant.name) + " escape the count");
  }
  // What a loop prepares when the first packet comes is not a cost per packet.
  fill(*loop, 1, what.size);
  loop->drain(1, NF_DROP, message_buffer());

  const auto arrived = sink_.arrived();
  sample result;
  if (allocated_before) result.allocations = 0;
  while (result.packets < packets_) {
    const auto packets = std::min(at_once, packets_ - result.packets);
    fill(*loop, packets, what.size);

    watchdog watchdog;
    const auto allocated = allocations();
    const double wall = now(CLOCK_MONOTONIC), process = now(CLOCK_PROCESS_CPUTIME_ID),
                 cpu = now(CLOCK_THREAD_CPUTIME_ID);
    const drained drained = loop->drain(packets, what.verdict, message_buffer());
    result.cpu_seconds += now(CLOCK_THREAD_CPUTIME_ID) - cpu;
    result.process_seconds += now(CLOCK_PROCESS_CPUTIME_ID) - process;
    result.wall_seconds += now(CLOCK_MONOTONIC) - wall;
    if (allocated) *result.allocations += *allocations() - *allocated;

    result.packets += drained.packets;
    if (drained.packets != packets || drained.bytes < packets * (what.size + header_bytes)) {
      throw failure(std::string(contestant.name) + " saw " + std::to_string(drained.packets) + " packets with " +
                    std::to_string(drained.bytes) + " bytes instead of " + std::to_string(packets) + " whole ones");
    }
    check_empty(*loop);
  }
  result.arrived = count_arrivals(arrived, what.verdict == NF_ACCEPT ? packets_ : 0);
  return result;
}

}  // namespace bench
