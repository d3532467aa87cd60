// SPDX-License-Identifier: MIT
// The read/verdict loops that are compared. Each owns queue 0 from its making to its end and copies whole packets.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace bench {

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

  // Reads that many packets and gives each the verdict, one after the other; waits for packets that are missing.
  // Throws failure when a call fails or the kernel sends something else than a packet.
  virtual drained drain(std::uint64_t packets, unsigned verdict, std::span<unsigned char> buffer) = 0;
};

// Each takes the queue for at most max_length waiting packets, with a receive buffer that holds them if it may be had.
std::unique_ptr<loop> open_libipq(unsigned max_length);
std::unique_ptr<loop> open_libnetfilter_queue(unsigned max_length);
std::unique_ptr<loop> open_bare(unsigned max_length);

struct contestant {
  std::string_view name;
  std::unique_ptr<loop> (*open)(unsigned max_length);
};

inline constexpr std::array<contestant, 3> contestants{
    {{"libipq", open_libipq}, {"libnetfilter_queue", open_libnetfilter_queue}, {"bare", open_bare}}};
inline constexpr std::size_t subject = 0, peer = 1, floor = 2;

// For the two loops whose library leaves the receive buffer to the program.
void enlarge_receive_buffer(int fd, unsigned max_length);

}  // namespace bench
