// SPDX-License-Identifier: MIT
// Real traffic between namespaces: UDP and TCP sockets of either namespace, raw packets, and what arrives on a device.
#pragma once

#include <pthread.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "command.hpp"
#include "netns.hpp"
#include "reader.hpp"

namespace kernel_tests {

// A file descriptor, closed with its object.
class descriptor {
 public:
  // Throws, naming what failed, when fd is -1.
  descriptor(int fd, const char* what);
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~descriptor();

  int get() const { return fd_; }

 private:
  int fd_;
};

// "192.0.2.1" or "2001:db8::1" and a port as an address for socket calls.
class endpoint {
 public:
  endpoint(std::string_view address, uint16_t port);

  const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const { return size_; }
  int family() const { return storage_.ss_family; }

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

// A UDP socket bound to an address of a namespace.
class udp_socket {
 public:
  // Port 0 lets the kernel choose.
  udp_socket(const netns& where, std::string_view address, uint16_t port = 0);

  int fd() const { return socket_.get(); }
  uint16_t port() const;

  // Throws when the kernel refuses, or when too many datagrams of this socket wait in a queue: they all count against
  // its send buffer. A packet that is dropped later is no error.
  void send(std::string_view address, uint16_t port, std::string_view payload) const;

  // The next datagram; throws when none comes within `patience`.
  std::string receive() const;
  // What is there now, if anything.
  std::optional<std::string> receive_now() const;

 private:
  descriptor socket_;
};

// A TCP socket that listens on an address of a namespace.
class tcp_listener {
 public:
  tcp_listener(const netns& where, std::string_view address, uint16_t port);
  // The next connection; throws when none comes within `patience`.
  descriptor accept() const;

 private:
  descriptor socket_;
};

// Connects, and throws when that takes longer than `patience`. Something else must let the packets through meanwhile.
descriptor tcp_connect(const netns& where, std::string_view address, uint16_t port);

// Sends ready-made IPv4 or IPv6 packets by a raw socket of a namespace, to where their headers say.
void send_raw(const netns& where, const bytes& packet);

// Sees every IP packet that arrives on, or leaves, a device: a packet socket. Link headers are cut off.
class device_tap {
 public:
  device_tap(const netns& where, const char* device);
  // The next packet of a transport protocol, from its IP header on; throws when none comes within `patience`. The
  // kernel sends packets of its own for IPv6, at any time.
  bytes next(uint8_t protocol = IPPROTO_UDP) const;

 private:
  descriptor socket_;
};

// Accepts every packet of a handle in a thread of its own until the object goes; errors are ignored.
class acceptor {
 public:
  explicit acceptor(const ipq_handle* h);
  acceptor(const acceptor&) = delete;
  acceptor& operator=(const acceptor&) = delete;
  ~acceptor();

  // How many packets were accepted. Ends the thread.
  size_t finish();

 private:
  const ipq_handle* handle_;
  pthread_t thread_;
  descriptor stop_;
  size_t accepted_ = 0;
  bool running_ = true;

  static void* loop(void* self);
};

}  // namespace kernel_tests
