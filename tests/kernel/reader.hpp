// SPDX-License-Identifier: MIT
// A libipq handle that closes itself, and messages read from it within a time limit.
#pragma once

#include <libipq.h>

// Before the kernel's headers, which then leave out what both define.
#include <netinet/in.h>

#include <linux/netfilter.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace kernel_tests {

using bytes = std::vector<unsigned char>;

constexpr uint32_t ipv4 = 2, ipv6 = 10;  // protocols of ipq_create_handle

// Larger than any message: 112 bytes and the 65531 that the kernel copies at most.
constexpr size_t large_enough = 0x10100;

// Return values of the original, for what it sent to the kernel.
constexpr ssize_t sent_mode = 56, sent_verdict = 40;

// A message as ipq_read stored it.
struct message {
  bytes data;

  const nlmsghdr& header() const { return *reinterpret_cast<const nlmsghdr*>(data.data()); }
  int type() const { return ipq_message_type(data.data()); }
  const ipq_packet_msg_t& packet() const { return *ipq_get_packet(data.data()); }
  ipq_id_t id() const { return packet().packet_id; }
  bytes payload() const { return {packet().payload, packet().payload + packet().data_len}; }
  // Positive errno of an error message.
  int error() const { return ipq_get_msgerr(data.data()); }
};

// A handle, destroyed with its object.
class handle {
 public:
  // Throws when the handle cannot be made.
  explicit handle(uint32_t protocol = ipv4);
  // Also sets the mode, and throws unless that returns 56.
  handle(uint32_t protocol, uint8_t mode, size_t range = 0);
  handle(const handle&) = delete;
  handle& operator=(const handle&) = delete;
  ~handle();

  operator ipq_handle*() const { return handle_; }
  int fd() const { return handle_->fd; }

  // Destroys the handle now; returns what ipq_destroy_handle returned.
  int destroy();
  // Gives the handle up; the caller destroys it.
  ipq_handle* release();

 private:
  ipq_handle* handle_;
};

// The next message, read with a buffer that is large enough. Throws when ipq_read fails, or when nothing comes within
// `patience`.
message read_message(const ipq_handle* h);

// As read_message, and throws unless the message is a packet.
message read_packet(const ipq_handle* h);

// As read_message, and throws unless the message is an error.
message read_error(const ipq_handle* h);

// Whether one look (negative timeout) finds nothing. Throws when ipq_read fails.
bool nothing_to_read(const ipq_handle* h);

// Whether poll() finds the descriptor readable within so many milliseconds.
bool readable(int fd, int milliseconds = 0);

// A verdict that must be sent without an error; throws otherwise. With data, data replaces the packet.
void set_verdict(const ipq_handle* h, ipq_id_t id, unsigned int verdict = NF_ACCEPT, bytes data = {});

// Everything that ipq_errstr, ipq_handle_errstr and errno say now, for failure messages.
std::string last_error(const ipq_handle* h = nullptr);

ipq_stats stats_of(const ipq_handle* h);
ipq_status status_of(const ipq_handle* h);

// Packets that wait for a verdict; where the kernel does not show them, `expected`.
uint64_t waiting_packets(const ipq_handle* h, uint64_t expected);

}  // namespace kernel_tests
