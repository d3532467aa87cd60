// SPDX-License-Identifier: MIT
// The scripted kernel is honest: both kernels get the same requests and must give the same answers, byte for byte.
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "data/message_bytes.hpp"
#include "data/recorded.hpp"
#include "kernel/netns.hpp"
#include "kernel/traffic.hpp"
#include "netlink/scripted_kernel.hpp"
#include "unit/without_capability.hpp"
#include "wire/config.hpp"
#include "wire/packet.hpp"
#include "wire/verdict.hpp"

namespace ipq::netlink {
namespace {

using kernel_tests::udp_socket;
using test_data::be16;
using test_data::be32;
using test_data::bytes_of;
using test_data::message_bytes;
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

class both_kernels : public kernel_tests::network_test {
 protected:
  /// Two sockets of each kernel, the first for most requests.
  void SetUp() override {
    network_test::SetUp();
    if (HasFatalFailure() || IsSkipped()) return;
    for (auto& each : real) each = std::move(*kernel().open(NETLINK_NETFILTER));
    for (auto& each : scripted) each = std::move(*script.open(NETLINK_NETFILTER));
  }

  /// All that is there to be received, without the port id in the header, as text.
  static std::string answers_of(const socket& from) {
    std::string text;
    byte_vector buffer(1 << 17);
    while (const auto received = from.receive(buffer, waiting::not_at_all)) {
      if (received->length == 0) break;
      std::memset(buffer.data() + 12, 0, 4);
      text += to_hex(std::span(buffer).first(received->length)) + "\n";
    }
    return text;
  }

  /// Sends the same to both; returns what the real one says, after it has compared the two.
  std::string ask(const byte_vector& request, std::size_t from = 0) {
    EXPECT_TRUE(real[from].send(request));
    EXPECT_TRUE(scripted[from].send(request));
    script.settle();
    const std::string expected = answers_of(real[from]);
    EXPECT_EQ(answers_of(scripted[from]), expected) << "for the request " << to_hex(request);
    return expected;
  }

  scripted_kernel script;
  std::array<socket, 2> real, scripted;
};

TEST_F(both_kernels, agree_on_configuration) {
  using wire::config_command;
  using wire::copy_mode;
  const std::vector<wire::config> requests{
      {.acknowledge = true},                   // no such queue
      {.acknowledge = true, .max_length = 5},  // likewise
      {.command = config_command::unbind},     // likewise
      {.acknowledge = true, .command = config_command::pf_bind},
      {.acknowledge = true, .command = config_command::pf_unbind},
      {.command = config_command::pf_bind},  // silence
      {.command = config_command::none},
      {.command = static_cast<config_command>(77)},
      {.command = config_command::bind, .flags = {{32, 32}}},
      {.acknowledge = true, .command = config_command::bind},
      {.sequence = 5, .port_id = 6, .command = config_command::bind},  // once more
      {.acknowledge = true, .command = config_command::none},
      {.acknowledge = true, .copy = {{copy_mode::packet, 0}}},
      {.acknowledge = true, .copy = {{static_cast<copy_mode>(9), 0}}},
      {.acknowledge = true, .max_length = 1024},
      {.acknowledge = true, .flags = {{4, 5}}},
      {.flags = {{0xffffffff, 0}}},
      {.acknowledge = true, .command = config_command::unbind, .max_length = 3},
      {.acknowledge = true, .command = config_command::unbind},
  };
  int number = 0;
  for (auto request : requests) {
    SCOPED_TRACE(number++);
    request.queue = 3;
    request.sequence += 1000;
    ask(encoded(request));
  }
}

TEST_F(both_kernels, agree_on_ownership) {
  using wire::config_command;
  EXPECT_NE(ask(encoded({.acknowledge = true, .command = config_command::bind})), "");
  for (const auto& request :
       {wire::config{.command = config_command::bind}, wire::config{.command = config_command::unbind},
        wire::config{.command = config_command::none}, wire::config{.acknowledge = true, .max_length = 4},
        wire::config{.acknowledge = true, .command = config_command::pf_bind}}) {
    EXPECT_NE(ask(encoded(request), 1), "");
  }
  EXPECT_NE(ask(encoded(wire::verdict{.id = 1, .value = 1}), 1), "");
  for (auto* sockets : {&real, &scripted}) (*sockets)[0] = socket();
  script.settle();
  EXPECT_NE(ask(encoded({.acknowledge = true, .command = config_command::bind}), 1), "");
}

TEST_F(both_kernels, agree_on_verdicts) {
  EXPECT_NE(ask(encoded(wire::verdict{.queue = 9, .id = 1, .value = 1})), "");
  ask(encoded({.acknowledge = true, .command = wire::config_command::bind}));
  for (const std::uint32_t value : {0u, 1u, 2u, 3u, 4u, 5u, 6u, 255u, 256u, 0x50003u, 0xffffffffu}) {
    for (const bool batch : {false, true}) {
      EXPECT_NE(ask(encoded(wire::verdict{.id = 7, .value = value, .batch = batch, .sequence = value})), "");
    }
  }
  const auto verdict = [](std::uint16_t type) { return message_bytes(type, NLM_F_REQUEST).nfgen(0, 0); };
  EXPECT_NE(ask(verdict(0x301).done()), "");
  EXPECT_NE(ask(verdict(0x303).done()), "");
  EXPECT_NE(ask(verdict(0x301).attribute(2, be32(1), be32(9), be32(0)).done()), "");
}

TEST_F(both_kernels, agree_on_messages_of_other_kinds) {
  const auto empty = [](std::uint16_t type, std::uint16_t flags) { return message_bytes(type, flags, 9).nfgen(0, 0); };
  EXPECT_NE(ask(empty(0x300, NLM_F_REQUEST).done()), "");
  EXPECT_NE(ask(empty(0x304, NLM_F_REQUEST).done()), "");
  EXPECT_NE(ask(empty(0x3ff, NLM_F_REQUEST).done()), "");
  EXPECT_EQ(ask(empty(0x302, 0).done()), "");
  EXPECT_NE(ask(empty(0x302, NLM_F_ACK).done()), "");
  EXPECT_NE(ask(empty(3, NLM_F_REQUEST | NLM_F_ACK).done()), "");
  EXPECT_NE(ask(message_bytes(0x302, NLM_F_REQUEST | NLM_F_ACK).raw(bytes_of({0, 0})).done()), "");
  EXPECT_EQ(ask(empty(0x302, NLM_F_REQUEST).done(7)), "");
  EXPECT_EQ(ask(empty(0x302, NLM_F_REQUEST).done(700)), "");
}

TEST_F(both_kernels, agree_on_several_messages_in_a_datagram) {
  byte_vector both = encoded({.acknowledge = true, .sequence = 1, .command = wire::config_command::bind});
  const byte_vector good = encoded({.acknowledge = true, .sequence = 2, .max_length = 3}),
                    bad = encoded(wire::verdict{.id = 1, .value = 1, .sequence = 3});
  both.insert(both.end(), bad.begin(), bad.end());
  both.insert(both.end(), good.begin(), good.end());
  const std::string answers = ask(both);
  EXPECT_EQ(std::ranges::count(answers, '\n'), 3);
}

TEST_F(both_kernels, agree_on_missing_rights) {
  const unit_tests::without_net_admin ordinary;
  script.set_rights(false);
  byte_vector both = encoded({.sequence = 1, .command = wire::config_command::bind});
  const byte_vector second = encoded({.sequence = 2, .max_length = 3});
  both.insert(both.end(), second.begin(), second.end());
  const std::string answers = ask(both);
  EXPECT_EQ(std::ranges::count(answers, '\n'), 1);
  EXPECT_NE(ask(encoded({.acknowledge = true, .command = wire::config_command::pf_bind})), "");
}

TEST_F(both_kernels, agree_on_short_attributes_but_for_the_explanation) {
  // The scripted kernel does not explain itself; the code is the same.
  for (const auto& request : {message_bytes(0x302, NLM_F_REQUEST).nfgen(0, 0).attribute(1, bytes_of({1, 0, 0})),
                              message_bytes(0x302, NLM_F_REQUEST).nfgen(0, 0).attribute(2, be32(0)),
                              message_bytes(0x302, NLM_F_REQUEST).nfgen(0, 0).attribute(3, be16(0)),
                              message_bytes(0x301, NLM_F_REQUEST).nfgen(0, 0).attribute(2, be32(0), be16(0))}) {
    const byte_vector bytes = request.done();
    std::array<int, 2> codes{};
    ASSERT_TRUE(real[0].send(bytes));
    ASSERT_TRUE(scripted[0].send(bytes));
    script.settle();
    for (const auto& [from, code] : {std::pair{&real[0], &codes[0]}, {&scripted[0], &codes[1]}}) {
      byte_vector buffer(1000);
      const auto received = from->receive(buffer, waiting::not_at_all);
      ASSERT_TRUE(received);
      wire::bytes rest(buffer.data(), received->length);
      *code = wire::parse_error(wire::next_message(rest).value())->code;
    }
    EXPECT_EQ(codes[0], ERANGE) << to_hex(bytes);
    EXPECT_EQ(codes[1], codes[0]) << to_hex(bytes);
  }
}

TEST_F(both_kernels, write_packets_alike) {
  iptables("-A OUTPUT -p udp --dport 5000 -j QUEUE");
  iptables("-A OUTPUT -p udp --dport 5001 -j MARK --set-mark 0x1234");
  iptables("-A OUTPUT -p udp --dport 5001 -j QUEUE");
  const udp_socket from(near_ns(), near_address);
  ask(encoded({.command = wire::config_command::bind, .copy = {{wire::copy_mode::packet, 0xffff}}}));
  byte_vector buffer(1 << 17);
  for (const auto& [mode, range] :
       {std::pair{wire::copy_mode::packet, 0xffffu}, {wire::copy_mode::packet, 30u}, {wire::copy_mode::packet, 0u}}) {
    for (const std::uint16_t port : std::array<std::uint16_t, 2>{5000, 5001}) {
      for (const char* payload : {"1", "22", "333", "4444"}) {
        ask(encoded({.copy = {{mode, range}}}));
        from.send(far_address, port, payload);
        const auto received = real[0].receive(buffer, waiting::not_at_all);
        ASSERT_TRUE(received);
        wire::bytes rest(buffer.data(), received->length);
        auto described = wire::parse_packet(wire::next_message(rest).value());
        ASSERT_TRUE(described);
        // The beginning of the packet is all that there is; what is said of its whole length comes along.
        ASSERT_EQ(script.queue_packet(*described), described->id);
        const std::string expected = to_hex(std::span(buffer).first(received->length));
        byte_vector copy(1 << 17);
        const auto again = scripted[0].receive(copy, waiting::not_at_all);
        ASSERT_TRUE(again);
        EXPECT_EQ(to_hex(std::span(copy).first(again->length)), expected);
        ask(encoded(wire::verdict{.id = described->id, .value = 0}));
      }
    }
  }
}

TEST_F(both_kernels, agree_on_interfaces) {
  const socket asks_real = std::move(*kernel().open(NETLINK_ROUTE)),
               asks_script = std::move(*script.open(NETLINK_ROUTE));
  script.set_interface(1, "lo", 772);
  for (const int index : {1, 9999}) {
    struct {
      nlmsghdr header;
      ifinfomsg body;
    } request{};
    request.header = {sizeof request, RTM_GETLINK, NLM_F_REQUEST, 3, 4};
    request.body.ifi_index = index;
    const auto bytes = std::as_bytes(std::span(&request, 1));
    byte_vector expected(1 << 16), answer(1 << 16);
    ASSERT_TRUE(asks_real.send(bytes));
    ASSERT_TRUE(asks_script.send(bytes));
    script.settle();
    const auto from_real = asks_real.receive(expected, waiting::not_at_all);
    const auto from_script = asks_script.receive(answer, waiting::not_at_all);
    ASSERT_TRUE(from_real && from_script);
    wire::bytes rest(expected.data(), from_real->length), scripted_rest(answer.data(), from_script->length);
    const auto one = wire::next_message(rest), other = wire::next_message(scripted_rest);
    ASSERT_TRUE(one && other);
    EXPECT_EQ(other->type, one->type);
    EXPECT_EQ(other->flags, one->flags);
    EXPECT_EQ(other->sequence, 3u);
    if (one->type == RTM_NEWLINK) {
      EXPECT_EQ(to_hex(other->body.subspan(2, 6)), to_hex(one->body.subspan(2, 6)));    // type and index
      EXPECT_EQ(to_hex(other->body.subspan(16, 7)), to_hex(one->body.subspan(16, 7)));  // "lo"
    } else {
      EXPECT_EQ(to_hex(other->body), to_hex(one->body));
    }
  }
}

}  // namespace
}  // namespace ipq::netlink
