// SPDX-License-Identifier: MIT
// The read/verdict loops that are compared. Each owns a queue from its making to its end.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace bench {

enum class verdicts { accept, drop, alternating };

// NF_ACCEPT or NF_DROP, for the packet of that index.
std::uint32_t verdict_of(verdicts given, std::uint64_t index);

struct loop_options {
  unsigned max_length = 1024;  // packets that may wait, for which the receive buffer has room if that may be had
  std::uint16_t queue = 0;
  bool gso = false;
  std::uint32_t copy_range = 0xffff;
};

struct drained {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;  // of the packets, as the loop saw them
};

class loop {
 public:
  loop() = default;
  loop(const loop&) = delete;
  loop& operator=(const loop&) = delete;
  virtual ~loop() = default;

  // The netlink socket, for looking at it from outside.
  virtual int fd() const = 0;

  // Reads that many packets and gives each its verdict, in order of arrival; waits for packets that are missing. The
  // first packet of header_bytes, an empty datagram, ends it early. Throws failure when a call fails or the kernel
  // sends something else than a packet.
  virtual drained drain(std::uint64_t packets, verdicts given, std::span<unsigned char> buffer) = 0;
};

struct contestant {
  std::string_view name;
  std::unique_ptr<loop> (*open)(const loop_options& options);
  bool uses_library = true;
};

// The C library, whole packets of queue 0 only.
extern const contestant libipq;
// The same with IPQ_CREATE_BATCH.
extern const contestant libipq_batch;
// The C++ library's queue, as it is and with queue_options::when_idle.
extern const contestant ipq_queue;
extern const contestant ipq_queue_latency;
extern const contestant ipq_queue_throughput;
// With a recording of all of them.
extern const contestant ipq_queue_recording;
extern const contestant libnetfilter_queue;
// One recv and one send per packet: the floor for libipq.
extern const contestant bare;
// recvmmsg, and verdicts together: the floor for the C++ library. The second one sleeps 30 us before it reads.
extern const contestant bare_batch;
extern const contestant bare_batch_unmerged;
extern const contestant bare_batch_waiting;

// For the loops whose library leaves the receive buffer to the program.
void enlarge_receive_buffer(int fd, unsigned max_length);
// What that asks for; the kernel doubles it.
int receive_buffer_for(unsigned max_length);

}  // namespace bench
