// SPDX-License-Identifier: MIT
// A queue over a scripted kernel: what a real one does once in 2^32 packets, or should never do.
#pragma once

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "ipq/queue.hpp"
#include "netlink/scripted_kernel.hpp"
#include "queue/binding.hpp"
#include "wire/config.hpp"

namespace ipq::queue_tests {

using netlink::byte_vector;
using namespace std::chrono_literals;

inline constexpr std::uint16_t number = 3;

class scripted_queue_test : public testing::Test {
 protected:
  /// Has the queue, of which the kernel copies `range` bytes of each packet.
  netlink::socket bound_socket(std::uint32_t range = 0xffff) {
    auto socket = kernel.open(NETLINK_NETFILTER);
    if (!socket) throw std::runtime_error(socket.error().message());
    alignas(4) std::byte request[wire::max_config_size];
    const auto length = wire::encode_config({.queue = number,
                                             .command = wire::config_command::bind,
                                             .copy = {{wire::copy_mode::packet, range}},
                                             .max_length = 1u << 20},
                                            request);
    if (!socket->send(std::span<const std::byte>(request, length))) throw std::runtime_error("bind");
    kernel.settle();
    return *std::move(socket);
  }
  /// The kernel copies `range` bytes of each packet, whatever the options say.
  queue open(const queue_options& options = {.number = number}, std::uint32_t range = 0xffff, bool had_owner = false) {
    auto socket = bound_socket(range);
    if (send_buffer != 0) socket.set_send_buffer(send_buffer);
    auto made = queues::maker::make({.socket = std::move(socket), .had_owner = had_owner}, options);
    if (!made) throw std::runtime_error(made.error().message());
    return *std::move(made);
  }

  /// Another queue on the same socket.
  static void bind_beside(const queue& q, std::uint16_t other) {
    alignas(4) std::byte request[wire::max_config_size];
    const auto length = wire::encode_config(
        {.queue = other, .command = wire::config_command::bind, .copy = {{wire::copy_mode::packet, 0xffff}}}, request);
    ASSERT_EQ(::send(q.fd(), request, length, 0), static_cast<ssize_t>(length));
  }

  std::uint32_t arrive(std::size_t size = 20) {
    const byte_vector bytes(size, std::byte{0x45});
    return kernel.queue_packet({.queue = number, .family = 2, .payload = bytes}).value();
  }
  static batch must_receive(queue& from) {
    const auto got = from.receive(queue::clock::now() + 10s);
    if (!got) throw std::runtime_error(got.error().message());
    return *got;
  }
  std::vector<std::uint32_t> waiting() { return kernel.find_queue(number)->waiting; }

  netlink::scripted_kernel kernel;
  std::size_t send_buffer = 0;  ///< of the next queue; 0: as it comes
};

}  // namespace ipq::queue_tests
