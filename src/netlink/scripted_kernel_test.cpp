// SPDX-License-Identifier: MIT
// The scripted kernel itself; that it answers as the real one does is scripted_kernel_rights_test.cpp's to show.
#include "netlink/scripted_kernel.hpp"

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <array>
#include <string>
#include <thread>

#include "data/message_bytes.hpp"
#include "data/recorded.hpp"
#include "wire/config.hpp"
#include "wire/packet.hpp"
#include "wire/verdict.hpp"

namespace ipq::netlink {
namespace {

using namespace std::chrono_literals;
using test_data::bytes_of;
using test_data::to_hex;

byte_vector encoded(const wire::config& wanted) {
  alignas(4) std::byte into[wire::max_config_size];
  const std::size_t length = wire::encode_config(wanted, into);
  return {into, into + length};
}

byte_vector encoded(const wire::verdict& answer) {
  byte_vector into(wire::encoded_size(answer));
  wire::encode_verdict(answer, into);
  return into;
}

/// A datagram and the packet in it.
struct received_packet {
  byte_vector datagram;
  std::optional<struct packet> packet;
};

class scripted : public testing::Test {
 protected:
  scripted_kernel kernel;
  socket connection = std::move(*kernel.open(NETLINK_NETFILTER));

  void configure(const wire::config& wanted) const { ASSERT_TRUE(connection.send(encoded(wanted))); }
  void bind(wire::copy_mode mode = wire::copy_mode::packet, std::uint32_t range = 0xffff) const {
    configure({.command = wire::config_command::bind, .copy = {{mode, range}}});
  }
  byte_vector receive() {
    kernel.settle();
    byte_vector buffer(1 << 17);
    const auto received = connection.receive(buffer, waiting::not_at_all);
    buffer.resize(received ? received->length : 0);
    return buffer;
  }
  received_packet receive_packet() {
    received_packet received{receive(), {}};
    wire::bytes rest = received.datagram;
    if (const auto message = wire::next_message(rest)) received.packet = wire::parse_packet(*message);
    return received;
  }
  /// The errno of the error that is there next; -1 if nothing is.
  int receive_error() {
    const byte_vector datagram = receive();
    wire::bytes rest = datagram;
    const auto message = wire::next_message(rest);
    const auto reply = message ? wire::parse_error(*message) : std::nullopt;
    return reply ? reply->code : -1;
  }
};

TEST_F(scripted, requests_are_kept_as_they_came) {
  const byte_vector request =
      encoded({.queue = 7, .sequence = 11, .port_id = 12, .command = wire::config_command::bind, .max_length = 5});
  ASSERT_TRUE(connection.send(request));
  const auto requests = kernel.requests();
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].socket, 0u);
  EXPECT_EQ(requests[0].protocol, NETLINK_NETFILTER);
  EXPECT_EQ(requests[0].type, wire::message_config);
  EXPECT_EQ(requests[0].flags, std::uint16_t{NLM_F_REQUEST});
  EXPECT_EQ(requests[0].sequence, 11u);
  EXPECT_EQ(requests[0].port_id, 12u);
  EXPECT_EQ(requests[0].queue, 7);
  ASSERT_EQ(requests[0].attributes.size(), 2u);
  EXPECT_EQ(to_hex(requests[0].attributes[0].value), "01 00 00 00");
  EXPECT_EQ(requests[0].number(wire::config_queue_maxlen), 5u);
  EXPECT_EQ(requests[0].find(wire::config_params), nullptr);
  EXPECT_THROW(static_cast<void>(requests[0].number(wire::config_params)), std::out_of_range);
  EXPECT_EQ(to_hex(requests[0].bytes), to_hex(request));
}

TEST_F(scripted, several_requests_in_a_datagram_are_apart) {
  byte_vector both = encoded(wire::verdict{.id = 1, .value = 1, .payload_length = 1});
  both.push_back(std::byte{0x55});
  both.resize(wire::align(both.size()));
  const byte_vector second = encoded(wire::verdict{.id = 2, .value = 1});
  both.insert(both.end(), second.begin(), second.end());
  ASSERT_TRUE(connection.send(both));
  const auto requests = kernel.requests();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].bytes.size(), 37u);
  EXPECT_EQ(to_hex(*requests[0].find(wire::attribute_payload)), "55");
  EXPECT_EQ(to_hex(requests[1].bytes), to_hex(second));
}

TEST_F(scripted, packet_arrives_with_everything_that_was_described) {
  bind();
  configure({.flags = {{wire::queue_uid_gid | wire::queue_secctx | wire::queue_conntrack,
                        wire::queue_uid_gid | wire::queue_secctx | wire::queue_conntrack}}});
  const byte_vector payload = bytes_of("a packet"), ethernet(14, std::byte{1}), conntrack = bytes_of({4, 0, 1, 0});
  const packet described{.id = 99,
                         .queue = 0,
                         .family = 10,
                         .hook = 2,
                         .hw_protocol = 0x86dd,
                         .mark = 3,
                         .priority = 4,
                         .indev = 5,
                         .outdev = 6,
                         .physindev = 7,
                         .physoutdev = 8,
                         .hw_addr = {1, 2, 3, 4, 5, 6},
                         .hw_addr_length = 6,
                         .checksum_not_ready = true,
                         .checksum_not_verified = true,
                         .gso = true,
                         .timestamp = {{1'700'000'000, 999'999}},
                         .uid = 1000,
                         .gid = 100,
                         .cgroup_classid = 9,
                         .vlan = {{0x8100, 42}},
                         .conntrack_info = 2,
                         .conntrack = conntrack,
                         .l2_header = ethernet,
                         .security_context = "context",
                         .payload = payload};
  ASSERT_EQ(kernel.queue_packet(described), 1u);
  const auto received = receive_packet();
  ASSERT_TRUE(received.packet);
  const packet& packet = *received.packet;
  EXPECT_EQ(packet.id, 1u);
  EXPECT_EQ(packet.family, 10);
  EXPECT_EQ(packet.hook, 2);
  EXPECT_EQ(packet.hw_protocol, 0x86dd);
  EXPECT_EQ(packet.mark, 3u);
  EXPECT_EQ(packet.priority, 4u);
  EXPECT_EQ(packet.indev, 5u);
  EXPECT_EQ(packet.outdev, 6u);
  EXPECT_EQ(packet.physindev, 7u);
  EXPECT_EQ(packet.physoutdev, 8u);
  EXPECT_EQ(packet.hw_addr, described.hw_addr);
  EXPECT_EQ(packet.hw_addr_length, 6);
  EXPECT_TRUE(packet.checksum_not_ready);
  EXPECT_TRUE(packet.checksum_not_verified);
  EXPECT_TRUE(packet.gso);
  ASSERT_TRUE(packet.timestamp);
  EXPECT_EQ(packet.timestamp->microseconds, 999'999);
  EXPECT_EQ(packet.uid, 1000u);
  EXPECT_EQ(packet.gid, 100u);
  EXPECT_EQ(packet.cgroup_classid, 9u);
  ASSERT_TRUE(packet.vlan);
  EXPECT_EQ(packet.vlan->protocol, 0x8100);
  EXPECT_EQ(packet.vlan->tci, 42);
  EXPECT_EQ(packet.conntrack_info, 2u);
  EXPECT_EQ(to_hex(packet.conntrack), to_hex(conntrack));
  EXPECT_EQ(to_hex(packet.l2_header), to_hex(ethernet));
  EXPECT_EQ(packet.security_context, "context");
  EXPECT_EQ(to_hex(packet.payload), to_hex(payload));
  EXPECT_FALSE(packet.truncated);
}

TEST_F(scripted, packet_is_copied_as_far_as_the_mode_says) {
  const byte_vector payload(100, std::byte{7});
  EXPECT_FALSE(kernel.queue_packet({.payload = payload}));  // nobody listens
  configure({.command = wire::config_command::bind});
  EXPECT_FALSE(kernel.queue_packet({.payload = payload}));  // copy mode none
  configure({.copy = {{wire::copy_mode::meta, 50}}});
  ASSERT_TRUE(kernel.queue_packet({.payload = payload}));
  EXPECT_TRUE(receive_packet().packet->payload.empty());
  configure({.copy = {{wire::copy_mode::packet, 50}}});
  ASSERT_TRUE(kernel.queue_packet({.payload = payload}));
  const auto cut = receive_packet();
  EXPECT_EQ(cut.packet->payload.size(), 50u);
  EXPECT_EQ(cut.packet->original_length, 100u);
  EXPECT_TRUE(cut.packet->truncated);
  configure({.copy = {{wire::copy_mode::packet, 0}}});
  EXPECT_EQ(kernel.find_queue(0)->copy_range, 65531u);
  EXPECT_EQ(kernel.find_queue(0)->waiting.size(), 2u);
}

TEST_F(scripted, full_queue_drops_or_fails_open) {
  bind();
  configure({.max_length = 1});
  EXPECT_TRUE(kernel.queue_packet({}));
  EXPECT_FALSE(kernel.queue_packet({}));
  EXPECT_EQ(kernel.find_queue(0)->dropped, 1u);
  configure({.flags = {{wire::queue_fail_open, wire::queue_fail_open}}});
  EXPECT_FALSE(kernel.queue_packet({}));
  EXPECT_EQ(kernel.find_queue(0)->dropped, 1u);
}

TEST_F(scripted, verdicts_are_kept_and_take_their_packets_away) {
  bind();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(kernel.queue_packet({}));
  const byte_vector payload = bytes_of("new");
  byte_vector verdict =
      encoded(wire::verdict{.id = 2, .value = 1, .mark = 5, .priority = 6, .payload_length = payload.size()});
  verdict.insert(verdict.end(), payload.begin(), payload.end());
  ASSERT_TRUE(connection.send(verdict));
  ASSERT_TRUE(connection.send(encoded(wire::verdict{.id = 1, .value = 0})));
  const auto verdicts = kernel.verdicts();
  ASSERT_EQ(verdicts.size(), 2u);
  EXPECT_EQ(verdicts[0].id, 2u);
  EXPECT_EQ(verdicts[0].value, 1u);
  EXPECT_EQ(verdicts[0].mark, 5u);
  EXPECT_EQ(verdicts[0].priority, 6u);
  EXPECT_EQ(to_hex(verdicts[0].payload.value()), to_hex(payload));
  EXPECT_EQ(verdicts[1].id, 1u);
  EXPECT_FALSE(verdicts[1].payload);
  EXPECT_EQ(kernel.find_queue(0)->waiting, std::vector<std::uint32_t>{3});
}

TEST_F(scripted, batch_takes_all_up_to_its_id_also_around_the_end_of_numbers) {
  bind();
  kernel.set_next_id(0, 0xffffffff);
  ASSERT_EQ(kernel.queue_packet({}), 0xffffffffu);
  ASSERT_EQ(kernel.queue_packet({}), 0u);
  ASSERT_EQ(kernel.queue_packet({}), 1u);
  ASSERT_TRUE(connection.send(encoded(wire::verdict{.id = 0, .value = 1, .batch = true})));
  const auto verdicts = kernel.verdicts();
  ASSERT_EQ(verdicts.size(), 2u);
  EXPECT_EQ(verdicts[0].id, 0xffffffffu);
  EXPECT_EQ(verdicts[1].id, 0u);
  EXPECT_EQ(kernel.find_queue(0)->waiting, std::vector<std::uint32_t>{1});
  ASSERT_TRUE(connection.send(encoded(wire::verdict{.id = 0, .value = 1, .batch = true})));
  for (int i = 0; i < 3; ++i) receive();
  EXPECT_EQ(receive_error(), ENOENT);
}

TEST_F(scripted, last_descriptor_that_is_closed_frees_the_queue) {
  bind();
  ASSERT_TRUE(kernel.queue_packet({}));
  {
    const auto copy = connection.duplicate();
    ASSERT_TRUE(copy);
    connection = socket();
    EXPECT_TRUE(kernel.find_queue(0));
    EXPECT_EQ(kernel.open_sockets(NETLINK_NETFILTER), 1u);
  }
  EXPECT_FALSE(kernel.find_queue(0));
  EXPECT_EQ(kernel.open_sockets(NETLINK_NETFILTER), 0u);
  connection = std::move(*kernel.open(NETLINK_NETFILTER));
  bind();
  EXPECT_EQ(kernel.find_queue(0)->owner, 1u);
  EXPECT_TRUE(kernel.find_queue(0)->waiting.empty());
}

TEST_F(scripted, what_was_sent_before_closing_is_carried_out) {
  bind();
  ASSERT_TRUE(kernel.queue_packet({}));  // never read
  ASSERT_TRUE(connection.send(encoded(wire::verdict{.id = 1, .value = 1})));
  connection = socket();
  EXPECT_EQ(kernel.verdicts().size(), 1u);
  EXPECT_FALSE(kernel.find_queue(0));
}

TEST_F(scripted, thousands_of_packets_wait_for_their_reader) {
  bind();
  configure({.max_length = 5000});
  const byte_vector payload(1500, std::byte{1});
  for (int i = 0; i < 5000; ++i) ASSERT_TRUE(kernel.queue_packet({.payload = payload}));
  byte_vector buffer(1 << 16);
  for (std::uint32_t i = 1; i <= 5000; ++i) {
    const auto received = connection.receive(buffer, waiting::until_something_comes);
    ASSERT_TRUE(received);
    wire::bytes rest(buffer.data(), received->length);
    ASSERT_EQ(wire::parse_packet(wire::next_message(rest).value())->id, i);
  }
}

TEST_F(scripted, handler_comes_before_the_kernel) {
  kernel.set_handler([](const scripted_request& request) -> std::optional<scripted_kernel::answers> {
    if (request.queue == 5) return scripted_kernel::answers{scripted_kernel::answer(request, ENOMEM)};
    return std::nullopt;
  });
  configure({.queue = 5, .command = wire::config_command::bind});
  EXPECT_EQ(receive_error(), ENOMEM);
  EXPECT_FALSE(kernel.find_queue(5));
  bind();
  EXPECT_TRUE(kernel.find_queue(0));
}

TEST_F(scripted, delivers_any_bytes) {
  kernel.deliver(bytes_of("any bytes"));
  EXPECT_EQ(to_hex(receive()), to_hex(bytes_of("any bytes")));
  EXPECT_THROW(kernel.deliver(bytes_of("x"), NETLINK_ROUTE), std::logic_error);
}

TEST_F(scripted, answers_while_the_caller_waits) {
  configure({.acknowledge = true, .command = wire::config_command::pf_bind});
  ASSERT_TRUE(connection.wait_readable(std::chrono::steady_clock::now() + 10s));
  EXPECT_EQ(receive_error(), 0);
}

TEST_F(scripted, requests_of_other_threads_can_be_waited_for) {
  EXPECT_FALSE(kernel.wait_for_requests(1, 1ms));
  std::thread sender([&] {
    std::this_thread::sleep_for(10ms);
    configure({});
    configure({});
  });
  EXPECT_TRUE(kernel.wait_for_requests(2));
  sender.join();
}

TEST_F(scripted, announces_interfaces_to_those_who_listen) {
  const socket listener = *kernel.open(NETLINK_ROUTE, RTMGRP_LINK), deaf = *kernel.open(NETLINK_ROUTE);
  kernel.set_interface(3, "eth0", 1);
  kernel.remove_interface(3);
  kernel.remove_interface(3);  // which is gone
  std::byte buffer[200];
  for (const std::uint16_t type : std::array<std::uint16_t, 2>{RTM_NEWLINK, RTM_DELLINK}) {
    const auto received = listener.receive(buffer, waiting::not_at_all);
    ASSERT_TRUE(received);
    wire::bytes rest(buffer, received->length);
    EXPECT_EQ(wire::next_message(rest)->type, type);
  }
  EXPECT_FALSE(listener.receive(buffer, waiting::not_at_all));
  EXPECT_FALSE(deaf.receive(buffer, waiting::not_at_all));
}

}  // namespace
}  // namespace ipq::netlink
