// SPDX-License-Identifier: MIT
#include "traffic.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "packet_bytes.hpp"

namespace kernel_tests {
namespace {

const int patience_ms = static_cast<int>(std::chrono::milliseconds{patience}.count());

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

descriptor socket_in(const netns& where, int family, int type, int protocol) {
  return in(where, [&] { return descriptor{socket(family, type | SOCK_CLOEXEC, protocol), "socket"}; });
}

descriptor bound_socket(const netns& where, const endpoint& local, int type) {
  descriptor made = socket_in(where, local.family(), type, 0);
  const int on = 1;
  setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(made.get(), local.address(), local.size()) != 0) fail("bind a socket of the test");
  return made;
}

void wait_for(int fd, short event, const char* what) {
  pollfd wanted{fd, event, 0};
  if (poll(&wanted, 1, patience_ms) != 1) throw std::runtime_error(std::string{"nothing in time: "} + what);
}

}  // namespace

descriptor::descriptor(int fd, const char* what) : fd_(fd) {
  if (fd < 0) fail(what);
}

descriptor::~descriptor() {
  if (fd_ >= 0) close(fd_);
}

endpoint::endpoint(std::string_view address, uint16_t port) {
  const std::string text{address};
  if (text.find(':') == std::string::npos) {
    auto& in4 = reinterpret_cast<sockaddr_in&>(storage_);
    in4.sin_family = AF_INET;
    in4.sin_port = htons(port);
    size_ = sizeof in4;
    if (inet_pton(AF_INET, text.c_str(), &in4.sin_addr) == 1) return;
  } else {
    auto& in6 = reinterpret_cast<sockaddr_in6&>(storage_);
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(port);
    size_ = sizeof in6;
    if (inet_pton(AF_INET6, text.c_str(), &in6.sin6_addr) == 1) return;
  }
  throw std::invalid_argument("not an address: " + text);
}

udp_socket::udp_socket(const netns& where, std::string_view address, uint16_t port)
    : socket_(bound_socket(where, endpoint{address, port}, SOCK_DGRAM)) {}

uint16_t udp_socket::port() const {
  sockaddr_in6 local{};
  socklen_t size = sizeof local;
  if (getsockname(fd(), reinterpret_cast<sockaddr*>(&local), &size) != 0) fail("getsockname");
  // sin_port lies where sin6_port does.
  return ntohs(local.sin6_port);
}

void udp_socket::send(std::string_view address, uint16_t port, std::string_view payload) const {
  const endpoint to{address, port};
  // What waits for a neighbour's link address counts in the send buffer, and the kernel asks for it once a second:
  // those who try a path until it works fill the buffer meanwhile.
  for (int tries = 0;; ++tries) {
    if (sendto(fd(), payload.data(), payload.size(), MSG_DONTWAIT, to.address(), to.size()) ==
        static_cast<ssize_t>(payload.size()))
      return;
    if (errno != EAGAIN || tries == patience_ms / 10) fail("send a datagram to " + std::string{address});
    poll(nullptr, 0, 10);
  }
}

std::string udp_socket::receive() const {
  wait_for(fd(), POLLIN, "a datagram");
  auto datagram = receive_now();
  if (!datagram) throw std::runtime_error("a datagram with a wrong checksum");
  return *datagram;
}

std::optional<std::string> udp_socket::receive_now() const {
  std::string datagram(0x10000, '\0');
  ssize_t size = recv(fd(), datagram.data(), datagram.size(), MSG_DONTWAIT);
  if (size < 0 && errno == EAGAIN) return std::nullopt;
  if (size < 0) fail("receive a datagram");
  datagram.resize(static_cast<size_t>(size));
  return datagram;
}

tcp_listener::tcp_listener(const netns& where, std::string_view address, uint16_t port)
    : socket_(bound_socket(where, endpoint{address, port}, SOCK_STREAM)) {
  if (listen(socket_.get(), 8) != 0) fail("listen");
}

descriptor tcp_listener::accept() const {
  wait_for(socket_.get(), POLLIN, "a connection");
  return descriptor{accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC), "accept"};
}

descriptor tcp_connect(const netns& where, std::string_view address, uint16_t port) {
  const endpoint to{address, port};
  descriptor made = socket_in(where, to.family(), SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (connect(made.get(), to.address(), to.size()) != 0 && errno != EINPROGRESS) fail("connect");
  wait_for(made.get(), POLLOUT, "an answer to connect");
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(made.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) throw std::system_error(error, std::generic_category(), "connect");
  fcntl(made.get(), F_SETFL, fcntl(made.get(), F_GETFL) & ~O_NONBLOCK);
  return made;
}

void send_raw(const netns& where, const bytes& packet) {
  const endpoint to{destination_of(packet), 0};
  const descriptor raw = socket_in(where, to.family(), SOCK_RAW, IPPROTO_RAW);
  if (sendto(raw.get(), packet.data(), packet.size(), 0, to.address(), to.size()) !=
      static_cast<ssize_t>(packet.size()))
    fail("send a raw packet");
}

device_tap::device_tap(const netns& where, const char* device)
    : socket_(socket_in(where, AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL))) {
  sockaddr_ll local{};
  local.sll_family = AF_PACKET;
  local.sll_protocol = htons(ETH_P_ALL);
  local.sll_ifindex = in(where, [&] { return static_cast<int>(if_nametoindex(device)); });
  if (bind(socket_.get(), reinterpret_cast<sockaddr*>(&local), sizeof local) != 0) fail("bind a packet socket");
}

bytes device_tap::next(uint8_t protocol) const {
  for (;;) {
    wait_for(socket_.get(), POLLIN, "a packet on the device");
    bytes packet(0x10000);
    const ssize_t size = recv(socket_.get(), packet.data(), packet.size(), 0);
    if (size < 0) fail("receive from a packet socket");
    packet.resize(static_cast<size_t>(size));
    if (packet.size() >= 20 && transport_protocol(packet) == protocol) return packet;
  }
}

acceptor::acceptor(const ipq_handle* h) : handle_(h), thread_(), stop_(eventfd(0, EFD_CLOEXEC), "eventfd") {
  if (int error = pthread_create(&thread_, nullptr, loop, this); error != 0)
    throw std::system_error(error, std::generic_category(), "start a thread");
}

acceptor::~acceptor() {
  finish();
}

size_t acceptor::finish() {
  if (std::exchange(running_, false)) {
    eventfd_write(stop_.get(), 1);
    pthread_join(thread_, nullptr);
  }
  return accepted_;
}

void* acceptor::loop(void* self) {
  auto& me = *static_cast<acceptor*>(self);
  bytes buffer(large_enough);
  for (;;) {
    pollfd wanted[] = {{me.handle_->fd, POLLIN, 0}, {me.stop_.get(), POLLIN, 0}};
    if (poll(wanted, 2, -1) < 0) continue;
    if (wanted[1].revents != 0) return nullptr;
    if (ipq_read(me.handle_, buffer.data(), buffer.size(), -1) <= 0) continue;
    if (ipq_message_type(buffer.data()) != IPQM_PACKET) continue;
    ipq_set_verdict(me.handle_, ipq_get_packet(buffer.data())->packet_id, NF_ACCEPT, 0, nullptr);
    ++me.accepted_;
  }
}

}  // namespace kernel_tests
