// SPDX-License-Identifier: MIT
// UDP over loopback.
#include "traffic.hpp"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "failure.hpp"
#include "measurement.hpp"

namespace bench {
namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace

file_descriptor open_udp() {
  file_descriptor opened(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (opened.get() < 0) throw failure(with_errno("cannot open a UDP socket"));
  return opened;
}

file_descriptor::~file_descriptor() {
  if (number_ >= 0) close(number_);
}

sender::sender(std::uint16_t port) : port_(port) {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) throw failure(with_errno("getrlimit"));
  files.rlim_cur = files.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) throw failure(with_errno("setrlimit"));
}

void sender::add_socket() {
  file_descriptor socket = open_udp();
  const auto address = loopback(port_);
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw failure(with_errno("cannot connect a UDP socket over loopback"));
  }
  sockets_.push_back(std::move(socket));
}

void sender::send(std::uint64_t packets, std::size_t size) {
  const std::vector<char> payload(size);
  std::size_t used = 0;
  while (packets > 0) {
    if (used == sockets_.size()) add_socket();
    if (::send(sockets_[used].get(), payload.data(), payload.size(), MSG_DONTWAIT) >= 0) {
      --packets;
    } else if (errno == EAGAIN) {
      ++used;
    } else {
      throw failure(with_errno("cannot send a UDP packet over loopback"));
    }
  }
}

void sender::prepare(std::uint64_t packets, std::size_t size) {
  // What a packet is charged with is less than its bytes and this.
  constexpr std::size_t charge = 1024;
  if (sockets_.empty()) add_socket();
  int buffer = 0;
  socklen_t length = sizeof buffer;
  if (getsockopt(sockets_[0].get(), SOL_SOCKET, SO_SNDBUF, &buffer, &length) != 0)
    throw failure(with_errno("SO_SNDBUF"));
  while (sockets_.size() * static_cast<std::size_t>(buffer) < packets * (size + charge)) add_socket();
}

void sender::send_one(std::uint64_t number, std::span<const char> payload) const {
  const int socket = sockets_[number % sockets_.size()].get();
  while (::send(socket, payload.data(), payload.size(), MSG_DONTWAIT) < 0) {
    if (errno != EAGAIN) throw failure(with_errno("cannot send a UDP packet over loopback"));
  }
}

void sender::flood(std::uint64_t packets, std::size_t size, double seconds_apart) {
  const std::vector<char> payload(size);
  double due = now(CLOCK_MONOTONIC);
  for (std::size_t used = 0; packets > 0; used = (used + 1) % sockets_.size()) {
    if (seconds_apart != 0) {
      while (now(CLOCK_MONOTONIC) < due) continue;
      due += seconds_apart;
    }
    if (::send(sockets_[used].get(), payload.data(), payload.size(), MSG_DONTWAIT) >= 0) {
      --packets;
    } else if (errno != EAGAIN) {
      throw failure(with_errno("cannot send a UDP packet over loopback"));
    }
  }
}

void sender::end_with_empty(const std::stop_token& end) {
  if (sockets_.empty()) add_socket();
  while (!end.stop_requested()) {
    if (::send(sockets_[0].get(), nullptr, 0, MSG_DONTWAIT) < 0 && errno != EAGAIN) {
      throw failure(with_errno("cannot send an empty UDP packet over loopback"));
    }
    usleep(1000);
  }
}

sink::sink() : socket_(open_udp()) {
  sock_filter refuse{BPF_RET | BPF_K, 0, 0, 0};
  const sock_fprog program{1, &refuse};
  auto address = loopback(0);
  socklen_t length = sizeof address;
  auto* general = reinterpret_cast<sockaddr*>(&address);
  if (setsockopt(socket_.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0 ||
      bind(socket_.get(), general, sizeof address) != 0 || getsockname(socket_.get(), general, &length) != 0) {
    throw failure(with_errno("cannot set up the receiving UDP socket"));
  }
  port_ = ntohs(address.sin_port);
}

std::uint32_t sink::arrived() const {
  return read_receive_state(socket_.get()).drops;
}

receive_state read_receive_state(int fd) {
  std::array<std::uint32_t, SK_MEMINFO_VARS> values{};
  socklen_t length = sizeof values;
  if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, values.data(), &length) != 0) {
    throw failure(with_errno("cannot read the state of a socket (SO_MEMINFO)"));
  }
  return {values[SK_MEMINFO_RMEM_ALLOC], values[SK_MEMINFO_RCVBUF], values[SK_MEMINFO_DROPS]};
}

}  // namespace bench
