// SPDX-License-Identifier: MIT
// What travels in a soak, from the near namespace to the far one, and the look at what arrives: datagrams with their
// numbers, TCP connections, echo requests. All text is lower-case letters, so that edits may raise it to upper case.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "kernel/traffic.hpp"

namespace soak {

constexpr std::uint16_t udp_port = 5000, tcp_port = 5001;

// The first letter of a datagram says who has to drop it.
constexpr char by_nobody = 'n', by_command = 'd', by_library = 'e';

// Bytes that an edit adds behind the text of a datagram, and the sender that another edit puts in place of ours.
constexpr char added_byte = '+';
constexpr std::string_view moved_address4 = "192.0.2.77", moved_address6 = "2001:db8::77";
constexpr std::uint16_t moved_port = 4077;

// Text of which each byte follows from the seed and its position.
char letter(std::uint64_t seed, std::uint64_t at);

struct place {
  const kernel_tests::netns& near;
  const kernel_tests::netns& far;
  std::string near_address, far_address;
};

// Datagrams: small ones, full ones, and those that have to be fragmented.
class datagrams {
 public:
  datagrams(const place& where, std::uint64_t seed);
  datagrams(const datagrams&) = delete;
  datagrams& operator=(const datagrams&) = delete;
  ~datagrams();

  void stop();  // sends no more
  void end();   // receives no more

  std::atomic<std::uint32_t> sent = 0, arrived = 0;
  std::atomic<std::uint32_t> for_command = 0, for_library = 0;  // sent, to be dropped
  std::atomic<std::uint32_t> damaged = 0, repeated = 0, undropped = 0;
  std::atomic<std::uint32_t> lengthened = 0, moved = 0;  // arrived
  [[nodiscard]] std::uint32_t unread() const;
  [[nodiscard]] std::size_t memory() const { return seen_.capacity(); }

 private:
  void send();
  void receive();
  [[nodiscard]] char first_letter(std::uint32_t number) const;
  [[nodiscard]] std::size_t length_of(std::uint32_t number) const;
  [[nodiscard]] std::string text_of(std::uint32_t number) const;

  const place& where_;
  const std::uint64_t seed_;
  kernel_tests::udp_socket from_, to_;
  std::atomic<std::uint32_t> last_ = 0;
  std::atomic<bool> stopping_ = false, ending_ = false;
  std::vector<bool> seen_;
  std::thread sender_, receiver_;
};

// One connection after the other, each of a megabyte.
class connections {
 public:
  connections(const place& where, std::uint64_t seed);
  connections(const connections&) = delete;
  connections& operator=(const connections&) = delete;
  ~connections() { stop(); }

  void stop();  // when the one that is open has ended

  std::atomic<std::uint64_t> bytes = 0, damaged = 0, made = 0;

 private:
  const place& where_;
  const std::uint64_t seed_;
  kernel_tests::tcp_listener listener_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

// Echo requests, some of them larger than a frame; each has to be answered once, with its bytes.
class echoes {
 public:
  echoes(const place& where, std::uint64_t seed);
  echoes(const echoes&) = delete;
  echoes& operator=(const echoes&) = delete;
  ~echoes() { stop(); }

  void stop();  // when all are answered, or patience has ended

  std::atomic<std::uint32_t> sent = 0, answered = 0, damaged = 0;

 private:
  void run();

  const place& where_;
  const std::uint64_t seed_;
  kernel_tests::descriptor socket_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace soak
