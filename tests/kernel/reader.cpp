// SPDX-License-Identifier: MIT
#include "reader.hpp"

#include <poll.h>

#include <cstring>
#include <stdexcept>
#include <utility>

#include "netns.hpp"

namespace kernel_tests {
namespace {

const int patience_us = static_cast<int>(std::chrono::microseconds{patience}.count());

}  // namespace

handle::handle(uint32_t protocol) : handle_(ipq_create_handle(0, protocol)) {
  if (handle_ == nullptr) throw std::runtime_error("ipq_create_handle: " + last_error());
}

handle::handle(uint32_t protocol, uint8_t mode, size_t range) : handle(protocol) {
  if (ipq_set_mode(handle_, mode, range) != sent_mode) throw std::runtime_error("ipq_set_mode: " + last_error(handle_));
}

handle::~handle() {
  ipq_destroy_handle(handle_);
}

int handle::destroy() {
  return ipq_destroy_handle(std::exchange(handle_, nullptr));
}

ipq_handle* handle::release() {
  return std::exchange(handle_, nullptr);
}

message read_message(const ipq_handle* h) {
  message m{bytes(large_enough)};
  ssize_t length = ipq_read(h, m.data.data(), m.data.size(), patience_us);
  if (length == 0) throw std::runtime_error("nothing to read in time");
  if (length < 0) throw std::runtime_error("ipq_read: " + last_error(h));
  m.data.resize(static_cast<size_t>(length));
  return m;
}

message read_packet(const ipq_handle* h) {
  message m = read_message(h);
  if (m.type() == NLMSG_ERROR) throw std::runtime_error("an error instead of a packet: " + std::to_string(m.error()));
  if (m.type() != IPQM_PACKET) throw std::runtime_error("message of unknown type " + std::to_string(m.type()));
  return m;
}

message read_error(const ipq_handle* h) {
  message m = read_message(h);
  if (m.type() != NLMSG_ERROR)
    throw std::runtime_error("message of type " + std::to_string(m.type()) + " instead of an error");
  return m;
}

bool nothing_to_read(const ipq_handle* h) {
  bytes buffer(large_enough);
  ssize_t length = ipq_read(h, buffer.data(), buffer.size(), -1);
  if (length < 0) throw std::runtime_error("ipq_read: " + last_error(h));
  return length == 0;
}

bool readable(int fd, int milliseconds) {
  pollfd wanted{fd, POLLIN, 0};
  return poll(&wanted, 1, milliseconds) == 1 && (wanted.revents & POLLIN) != 0;
}

void set_verdict(const ipq_handle* h, ipq_id_t id, unsigned int verdict, bytes data) {
  const ssize_t expected = sent_verdict + static_cast<ssize_t>(data.size());
  ssize_t sent = ipq_set_verdict(h, id, verdict, data.size(), data.empty() ? nullptr : data.data());
  if (sent != expected)
    throw std::runtime_error("ipq_set_verdict returned " + std::to_string(sent) + ": " + last_error(h));
}

std::string last_error(const ipq_handle* h) {
  const int number = errno;
  std::string text = std::string{ipq_errstr()} + " (errno: " + strerror(number) + ")";
  if (h != nullptr) text += std::string{"; "} + ipq_handle_errstr(h);
  errno = number;
  return text;
}

ipq_stats stats_of(const ipq_handle* h) {
  ipq_stats stats{};
  if (ipq_get_stats(h, &stats, sizeof stats) != 0) throw std::runtime_error("ipq_get_stats: " + last_error(h));
  return stats;
}

ipq_status status_of(const ipq_handle* h) {
  ipq_status status{};
  if (ipq_get_status(h, &status, sizeof status) != 0) throw std::runtime_error("ipq_get_status: " + last_error(h));
  return status;
}

uint64_t waiting_packets(const ipq_handle* h, uint64_t expected) {
  const uint64_t length = status_of(h).length;
  return length == IPQ_UNKNOWN && !queue_counters_are_shown() ? expected : length;
}

}  // namespace kernel_tests
