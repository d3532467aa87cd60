// SPDX-License-Identifier: MIT
// Sockets and requests on the real kernel: strangers, buffers, losses, and packets that come in between.
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>

#include "data/message_bytes.hpp"
#include "kernel/child.hpp"
#include "kernel/netns.hpp"
#include "kernel/traffic.hpp"
#include "netlink/counters.hpp"
#include "netlink/request.hpp"
#include "unit/without_capability.hpp"
#include "wire/config.hpp"
#include "wire/packet.hpp"
#include "wire/verdict.hpp"

namespace ipq::netlink {
namespace {

using kernel_tests::child;
using kernel_tests::udp_socket;
using std::chrono::steady_clock;
using namespace std::chrono_literals;

/// A queue with its socket, and what the tests ask of the two.
class real_queue : public kernel_tests::network_test {
 protected:
  void SetUp() override {
    network_test::SetUp();
    if (HasFatalFailure() || IsSkipped()) return;
    auto opened = kernel().open(NETLINK_NETFILTER);
    ASSERT_TRUE(opened);
    connection = *std::move(opened);
  }

  result<void> configure(wire::config wanted) {
    wanted.acknowledge = true;
    wanted.sequence = ++sequence;
    alignas(4) std::byte request[wire::max_config_size];
    const std::size_t length = wire::encode_config(wanted, request);
    return execute(connection, std::span(request).first(length), sequence, "configure", steady_clock::now() + 10s,
                   others);
  }
  void bind(std::uint32_t max_length = 1024) {
    ASSERT_TRUE(configure({.command = wire::config_command::bind,
                           .copy = {{wire::copy_mode::packet, 0xffff}},
                           .max_length = max_length}));
  }
  std::optional<packet> receive() {
    const auto received = connection.receive(buffer, waiting::not_at_all);
    if (!received) return std::nullopt;
    wire::bytes rest(buffer.data(), received->length);
    const auto message = wire::next_message(rest);
    return message ? wire::parse_packet(*message) : std::nullopt;
  }
  /// To the peer's port 5000, by as many sockets as it takes for their send buffers to hold what is queued.
  void send_datagrams(int count) const {
    constexpr int held_by_one = 100;
    for (int sent = 0; sent < count;) {
      const udp_socket from(near_ns(), near_address);
      for (int i = 0; i < held_by_one && sent < count; ++i, ++sent) from.send(far_address, 5000, "x");
    }
  }
  /// net.core.rmem_max, by what any socket gets that asks for more: /proc shows it in no other network namespace than
  /// the first on kernels before 6.8.
  static std::size_t permitted() {
    const udp_socket greedy(kernel_tests::netns::current(), near_address);
    const int too_much = 1 << 30;
    int granted = 0;
    socklen_t size = sizeof granted;
    if (::setsockopt(greedy.fd(), SOL_SOCKET, SO_RCVBUF, &too_much, sizeof too_much) != 0 ||
        ::getsockopt(greedy.fd(), SOL_SOCKET, SO_RCVBUF, &granted, &size) != 0) {
      throw std::runtime_error("SO_RCVBUF");
    }
    return static_cast<std::size_t>(granted) / 2;  // the kernel doubles what it permits
  }
  void send(const wire::verdict& answer) const {
    std::vector<std::byte> request(wire::encoded_size(answer));
    wire::encode_verdict(answer, request);
    ASSERT_TRUE(connection.send(request));
  }

  socket connection;
  std::uint32_t sequence = 100;
  stash others;
  std::vector<std::byte> buffer = std::vector<std::byte>(wire::max_datagram);
};

TEST_F(real_queue, regress_message_of_another_process_is_refused) {
  bind();
  child stranger([&](const child::line& line) {
    const auto own = kernel().open(NETLINK_NETFILTER);
    sockaddr_nl to{};
    to.nl_family = AF_NETLINK;
    to.nl_pid = connection.port_id();
    const auto forged = test_data::message_bytes::packet(2, 0, 1).attribute(10, test_data::bytes_of("forged")).done();
    const auto sent = ::sendto(own->fd(), forged.data(), forged.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
    line.say(sent < 0 ? std::strerror(errno) : "sent");
  });
  ASSERT_EQ(stranger.hear(), "Connection refused");
  EXPECT_FALSE(connection.peek(buffer));
  const auto received = connection.receive(buffer, waiting::not_at_all);
  ASSERT_FALSE(received);
  EXPECT_TRUE(received.error().is(EAGAIN));
}

TEST_F(real_queue, execute_keeps_the_packets_that_come_meanwhile) {
  iptables("-A OUTPUT -p udp --dport 5000 -j QUEUE");
  bind();
  // Room for all of them, also where the process has to do with what is permitted: an answer must not get lost.
  connection.set_receive_buffer(1 << 20);
  std::atomic<bool> done = false;
  std::atomic<int> sent = 0;
  std::jthread traffic([&] {
    while (!done && sent < 400) {
      send_datagrams(5);
      sent += 5;
    }
  });
  int configured = 0;
  for (; configured < 200; ++configured) {
    ASSERT_TRUE(configure({.copy = {{wire::copy_mode::packet, 60000u + static_cast<std::uint32_t>(configured)}}}));
  }
  while (sent < 20) std::this_thread::sleep_for(1ms);
  done = true;
  traffic.join();
  ASSERT_TRUE(configure({.copy = {{wire::copy_mode::packet, 1}}}));
  // Each packet is there once, in order: first what was kept, then what is left in the socket.
  std::uint32_t last = 0;
  int packets = 0;
  for (const auto& datagram : others) {
    wire::bytes rest = datagram;
    const auto queued = wire::parse_packet(wire::next_message(rest).value());
    ASSERT_TRUE(queued);
    EXPECT_GT(queued->id, last);
    last = queued->id;
    ++packets;
  }
  while (const auto queued = receive()) {
    EXPECT_GT(queued->id, last);
    last = queued->id;
    ++packets;
  }
  EXPECT_EQ(packets, sent);
  EXPECT_EQ(connection.drops(), 0u);
}

TEST_F(real_queue, execute_is_told_what_the_kernel_refuses) {
  const auto code_of = [](const result<void>& answer) { return answer ? 0 : answer.error().code.value(); };
  EXPECT_EQ(code_of(configure({.queue = 9, .command = wire::config_command::unbind})), ENODEV);
  EXPECT_EQ(code_of(configure({.command = wire::config_command::bind})), 0);
  EXPECT_EQ(code_of(configure({.command = wire::config_command::bind})), EBUSY);
  EXPECT_EQ(code_of(configure({.command = wire::config_command::none})), EOPNOTSUPP);
  const unit_tests::without_net_admin ordinary;
  EXPECT_EQ(code_of(configure({.copy = {{wire::copy_mode::meta, 0}}})), EPERM);
}

TEST_F(real_queue, receive_buffer_is_forced_where_that_is_allowed) {
  if (!global_root("forcing a receive buffer")) return;
  const std::size_t limit = permitted();
  EXPECT_EQ(connection.set_receive_buffer(4 * limit), 4 * limit);
  EXPECT_EQ(connection.receive_buffer(), 4 * limit);
  EXPECT_EQ(connection.set_send_buffer(8 * limit), 8 * limit);
}

TEST_F(real_queue, receive_buffer_is_what_is_permitted_elsewhere) {
  const unit_tests::without_net_admin ordinary;
  const std::size_t limit = permitted();
  errno = EXDEV;
  EXPECT_EQ(connection.set_receive_buffer(8 * limit), 2 * limit);  // the kernel doubles what it permits
  EXPECT_EQ(errno, EXDEV);
  EXPECT_EQ(connection.receive_buffer(), 2 * limit);
}

TEST_F(real_queue, receive_buffer_that_grows_never_shrinks) {
  if (!global_root("forcing a receive buffer")) return;
  const std::size_t limit = permitted();
  {
    const unit_tests::without_net_admin ordinary;
    connection.grow_receive_buffer(8 * limit);
    EXPECT_EQ(connection.receive_buffer(), 2 * limit);
  }
  connection.grow_receive_buffer(4 * limit);
  EXPECT_EQ(connection.receive_buffer(), 4 * limit);
  const unit_tests::without_net_admin ordinary;
  errno = EXDEV;
  connection.grow_receive_buffer(8 * limit);
  EXPECT_EQ(errno, EXDEV);
  EXPECT_EQ(connection.receive_buffer(), 4 * limit);
}

TEST_F(real_queue, overrun_loses_packets_and_nothing_else) {
  iptables("-A OUTPUT -p udp --dport 5000 -j QUEUE");
  bind(10'000);
  connection.set_receive_buffer(20'000);
  constexpr int sent = 500;
  send_datagrams(sent);
  EXPECT_GT(connection.drops(), 0u);
  int received = 0;
  while (receive()) ++received;
  EXPECT_GT(received, 0);
  EXPECT_EQ(received + static_cast<int>(connection.drops()), sent);
  // Room is used again at once: no error stands between, and the kernel does not hold back.
  send_datagrams(1);
  const auto next = receive();
  ASSERT_TRUE(next);
  EXPECT_EQ(next->id, std::uint32_t{sent + 1});
}

// Without NETLINK_NO_ENOBUFS, as on other programs' sockets: an error, then everything that was kept, then packets
// again.
TEST_F(real_queue, regress_overrun_that_is_an_error_is_recovered_from) {
  iptables("-A OUTPUT -p udp --dport 5000 -j QUEUE");
  bind(10'000);
  const int off = 0;
  ASSERT_EQ(::setsockopt(connection.fd(), SOL_NETLINK, NETLINK_NO_ENOBUFS, &off, sizeof off), 0);
  connection.set_receive_buffer(20'000);
  send_datagrams(500);
  const auto overrun = connection.receive(buffer, waiting::not_at_all);
  ASSERT_FALSE(overrun);
  EXPECT_TRUE(overrun.error().is(ENOBUFS));
  int received = 0;
  while (receive()) ++received;
  EXPECT_GT(received, 0);
  send_datagrams(1);
  EXPECT_TRUE(receive());
}

TEST_F(real_queue, execute_passes_over_an_overrun) {
  iptables("-A OUTPUT -p udp --dport 5000 -j QUEUE");
  bind(10'000);
  const int off = 0;
  ASSERT_EQ(::setsockopt(connection.fd(), SOL_NETLINK, NETLINK_NO_ENOBUFS, &off, sizeof off), 0);
  connection.set_receive_buffer(20'000);
  send_datagrams(500);
  alignas(4) std::byte request[wire::max_config_size];
  const std::size_t length = wire::encode_config({.acknowledge = true, .sequence = 7, .max_length = 5}, request);
  const auto answer =
      execute(connection, std::span(request).first(length), 7, "set length", steady_clock::now() + 300ms, others);
  // The error comes first. The buffer was full, so the answer is lost; what was kept is not.
  ASSERT_FALSE(answer);
  EXPECT_TRUE(answer.error().is(ETIMEDOUT));
  EXPECT_FALSE(others.empty());
}

TEST_F(real_queue, time_stamps_come_once_they_are_enabled) {
  iptables("-A INPUT -i near0 -p udp -j QUEUE");
  bind();
  ASSERT_TRUE(connection.set_timestamps(true));
  const udp_socket from(far_ns(), far_address);
  // The kernel switches them on with a delay.
  for (int i = 0; i < 1000; ++i) {
    from.send(near_address, 5000, "x");
    const auto queued = receive();
    ASSERT_TRUE(queued);
    send({.id = queued->id, .value = 1});
    if (queued->timestamp) return;
    std::this_thread::sleep_for(1ms);
  }
  FAIL() << "no packet has a time stamp";
}

TEST_F(real_queue, every_attribute_of_a_verdict_is_understood_by_the_kernel) {
  iptables("-A OUTPUT -p udp --dport 5000 -j QUEUE");
  bind();
  const udp_socket from(near_ns(), near_address), to(far_ns(), far_address, 5000);
  from.send(far_address, 5000, "before");
  const auto queued = receive();
  ASSERT_TRUE(queued);
  std::vector<std::byte> payload(queued->payload.begin(), queued->payload.end());
  const auto conntrack = test_data::bytes_of({8, 0, 8, 0, 0, 0, 0, 7}), ethernet = test_data::byte_vector(14);
  // A bridge packet alone could use the tag and the link header; for others the kernel checks and ignores them.
  const wire::verdict answer{.id = queued->id,
                             .value = 1,
                             .acknowledge = true,
                             .sequence = 55,
                             .mark = 3,
                             .priority = 4,
                             .conntrack = conntrack,
                             .vlan = {{.protocol = 0x8100, .tci = 42}},
                             .l2_header = ethernet,
                             .payload_length = payload.size()};
  std::vector<std::byte> request(wire::encoded_size(answer));
  wire::encode_verdict(answer, request);
  request.insert(request.end(), payload.begin(), payload.end());
  const auto done = execute(connection, request, 55, "set verdict", steady_clock::now() + 10s, others);
  EXPECT_TRUE(done) << done.error().message();
  EXPECT_EQ(to.receive(), "before");
}

// Packets are several and the descriptor says so until the last is read.
TEST_F(real_queue, regress_descriptor_is_readable_as_long_as_packets_wait) {
  iptables("-A OUTPUT -p udp --dport 5000 -j QUEUE");
  bind();
  const udp_socket from(near_ns(), near_address);
  for (int i = 0; i < 5; ++i) from.send(far_address, 5000, "x");
  for (std::uint32_t i = 1; i <= 5; ++i) {
    ASSERT_TRUE(connection.wait_readable(steady_clock::now()));
    EXPECT_EQ(receive()->id, i);
  }
  EXPECT_FALSE(connection.wait_readable(steady_clock::now()));
}

}  // namespace
}  // namespace ipq::netlink
