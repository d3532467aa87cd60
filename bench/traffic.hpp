// SPDX-License-Identifier: MIT
// Both ends of the UDP traffic: what fills the queue, and where accepted packets arrive.
#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <vector>

namespace bench {

class file_descriptor {
 public:
  explicit file_descriptor(int number) : number_(number) {}
  file_descriptor(file_descriptor&& other) noexcept : number_(other.number_) { other.number_ = -1; }
  file_descriptor& operator=(file_descriptor&&) = delete;
  ~file_descriptor();
  int get() const { return number_; }

 private:
  int number_;
};

// A UDP socket. Throws failure.
file_descriptor open_udp();

// Sends without ever waiting: what is queued counts against the sender's buffer, so many sockets share the load.
class sender {
 public:
  explicit sender(std::uint16_t port);

  // That many packets with that many bytes of UDP payload each.
  void send(std::uint64_t packets, std::size_t size);

  // So many sockets that this many packets can be on their way at a time, for flood.
  void prepare(std::uint64_t packets, std::size_t size);
  // The socket for it is that of its number; waits until it may send.
  void send_one(std::uint64_t number, std::span<const char> payload) const;
  void flood(std::uint64_t packets, std::size_t size, double seconds_apart = 0);
  // Sends an empty datagram, and more of them from time to time, until `done`.
  void end_with_empty(const std::stop_token& end);

 private:
  void add_socket();

  std::uint16_t port_;
  std::vector<file_descriptor> sockets_;
};

// A socket whose filter refuses every packet: each takes the same way, none is stored, and the kernel counts them.
class sink {
 public:
  sink();
  std::uint16_t port() const { return port_; }
  std::uint32_t arrived() const;

 private:
  file_descriptor socket_;
  std::uint16_t port_ = 0;
};

// What the kernel says about the receive side of any socket.
struct receive_state {
  std::uint32_t used = 0;   // bytes
  std::uint32_t limit = 0;  // bytes
  std::uint32_t drops = 0;  // packets
};
receive_state read_receive_state(int fd);

}  // namespace bench
