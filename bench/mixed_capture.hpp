// SPDX-License-Identifier: MIT
// A capture of what networks carry, repeated to the length that a measurement needs. Its file has no name: it is gone
// with the process, however that ends.
#pragma once

#include <cstdint>
#include <string>

namespace bench {

// A file without a name, for other programs as /dev/fd/N.
class nameless_file {
 public:
  // In `folder`. Throws failure.
  explicit nameless_file(const std::string& folder);
  nameless_file(const nameless_file&) = delete;
  nameless_file& operator=(const nameless_file&) = delete;
  ~nameless_file();

  int fd() const { return fd_; }
  std::string path() const { return "/dev/fd/" + std::to_string(fd_); }
  std::uint64_t size() const;

 private:
  int fd_;
};

// Frames as they stand in a pcap file of microseconds and this machine's byte order.
struct frames {
  std::string header;
  std::string records;
  std::uint64_t count = 0;
};

// Ethernet with short and long packets, TCP, UDP, ICMP and IPv6, and one ARP in a thousand; always the same.
frames mixed_frames(std::uint64_t count);
// Those of a file. Throws failure where it is no such file.
frames frames_of(const std::string& path);

// Writes them again and again, until there are `count` at least; how many there are then. Throws failure.
std::uint64_t write_repeated(int fd, const frames& from, std::uint64_t count);

// Where that many bytes have room thrice: in memory, or on disk. Throws unavailable.
std::string folder_with_room(std::uint64_t bytes);

}  // namespace bench
