// SPDX-License-Identifier: MIT
#include "netlink/request.hpp"

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <memory>
#include <thread>

#include "data/message_bytes.hpp"
#include "data/recorded.hpp"
#include "netlink/scripted_kernel.hpp"
#include "wire/config.hpp"
#include "wire/packet.hpp"
#include "wire/verdict.hpp"

namespace ipq::netlink {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;
using test_data::recorded;
using test_data::to_hex;

constexpr std::uint32_t sequence = 0x5e9;

steady_clock::time_point later() {
  return steady_clock::now() + 10s;
}

byte_vector bind_request(std::uint16_t queue = 0, std::uint32_t number = sequence) {
  alignas(4) std::byte request[wire::max_config_size];
  const std::size_t length = wire::encode_config({.queue = queue,
                                                  .acknowledge = true,
                                                  .sequence = number,
                                                  .command = wire::config_command::bind,
                                                  .copy = {{wire::copy_mode::packet, 0xffff}}},
                                                 request);
  return {request, request + length};
}

struct execution {
  result<void> answer;
  stash others;
};

execution execute_on(const socket& connection, const byte_vector& request,
                     steady_clock::time_point deadline = later()) {
  stash others;
  auto answer = execute(connection, request, sequence, "bind queue", deadline, others);
  return {answer, std::move(others)};
}

class scripted_request_test : public testing::Test {
 protected:
  scripted_kernel kernel;
  socket connection = std::move(*kernel.open(NETLINK_NETFILTER));
};

using request_execution = scripted_request_test;

TEST_F(request_execution, acknowledged) {
  const auto done = execute_on(connection, bind_request());
  EXPECT_TRUE(done.answer) << done.answer.error().message();
  EXPECT_TRUE(done.others.empty());
  EXPECT_EQ(kernel.find_queue(0)->owner, 0u);
}

TEST_F(request_execution, refused_with_the_kernels_errno_and_the_callers_operation) {
  ASSERT_TRUE(execute_on(connection, bind_request()).answer);
  const auto again = execute_on(connection, bind_request());
  ASSERT_FALSE(again.answer);
  EXPECT_TRUE(again.answer.error().is(EBUSY));
  EXPECT_EQ(again.answer.error().message(), "bind queue: Device or resource busy");
}

TEST_F(request_execution, refusal_of_another_kind_of_request_with_the_same_number_is_not_the_answer) {
  alignas(4) std::byte verdict[wire::max_verdict_size];
  const std::size_t length = wire::encode_verdict({.queue = 0, .id = 9, .value = 1, .sequence = sequence}, verdict);
  ASSERT_TRUE(connection.send(std::span<const std::byte>(verdict, length)));
  const auto done = execute_on(connection, bind_request());
  EXPECT_TRUE(done.answer) << done.answer.error().message();
  EXPECT_EQ(done.others.size(), 1u);
}

TEST_F(request_execution, packets_that_come_first_are_kept_in_their_order) {
  ASSERT_TRUE(execute_on(connection, bind_request()).answer);
  for (int i = 1; i <= 5; ++i) ASSERT_EQ(kernel.queue_packet({}), static_cast<std::uint32_t>(i));
  const auto done = execute_on(connection, bind_request(1));
  ASSERT_TRUE(done.answer);
  ASSERT_EQ(done.others.size(), 5u);
  std::uint32_t id = 0;
  for (const auto& datagram : done.others) {
    wire::bytes rest = datagram;
    EXPECT_EQ(wire::parse_packet(wire::next_message(rest).value())->id, ++id);
  }
}

TEST_F(request_execution, answers_to_others_are_kept) {
  // A verdict on a packet that is not there: its error stands before the answer.
  ASSERT_TRUE(execute_on(connection, bind_request()).answer);
  alignas(4) std::byte verdict[wire::max_verdict_size];
  ASSERT_TRUE(connection.send(
      std::span(verdict).first(wire::encode_verdict({.id = 99, .value = 1, .sequence = sequence + 1}, verdict))));
  const auto done = execute_on(connection, bind_request(1));
  ASSERT_TRUE(done.answer);
  ASSERT_EQ(done.others.size(), 1u);
  wire::bytes rest = done.others[0];
  const auto error = wire::parse_error(*wire::next_message(rest));
  EXPECT_EQ(error->code, ENOENT);
  EXPECT_EQ(error->sequence, sequence + 1);
}

TEST_F(request_execution, what_is_no_message_is_kept) {
  kernel.deliver(test_data::bytes_of("no message"));
  kernel.deliver(test_data::message_bytes(2, 0x100, sequence).raw(test_data::byte_vector(19)).done());
  const auto done = execute_on(connection, bind_request());
  EXPECT_TRUE(done.answer);
  EXPECT_EQ(done.others.size(), 2u);
}

TEST_F(request_execution, later_datagrams_stay_in_the_socket) {
  kernel.set_handler([](const scripted_request& request) {
    return scripted_kernel::answers{scripted_kernel::answer(request, 0), recorded("packet_input")};
  });
  const auto done = execute_on(connection, bind_request());
  EXPECT_TRUE(done.answer);
  EXPECT_TRUE(done.others.empty());
  std::byte buffer[1000];
  const auto next = connection.receive(buffer, waiting::until_something_comes);
  EXPECT_EQ(to_hex(std::span(buffer).first(next->length)), to_hex(recorded("packet_input")));
}

// A view of a datagram must not be overwritten by the next receive.
TEST_F(request_execution, regress_mdlayher_netlink_what_is_kept_outlives_later_receives) {
  kernel.deliver(recorded("packet_tail_1"));
  kernel.deliver(recorded("packet_input"));
  const auto done = execute_on(connection, bind_request());
  ASSERT_TRUE(done.answer);
  ASSERT_EQ(done.others.size(), 2u);
  EXPECT_EQ(to_hex(done.others[0]), to_hex(recorded("packet_tail_1")));
  EXPECT_EQ(to_hex(done.others[1]), to_hex(recorded("packet_input")));
}

TEST_F(request_execution, lost_acknowledgement_times_out) {
  kernel.set_handler([](const scripted_request&) { return scripted_kernel::answers(); });
  const auto begin = steady_clock::now();
  const auto done = execute_on(connection, bind_request(), begin + 50ms);
  ASSERT_FALSE(done.answer);
  EXPECT_TRUE(done.answer.error().is(ETIMEDOUT));
  EXPECT_EQ(done.answer.error().message(), "bind queue: Connection timed out");
  EXPECT_GE(steady_clock::now() - begin, 50ms);
}

TEST(request, lost_acknowledgement_times_out_while_packets_keep_coming) {
  // Somebody else answers the packets, so there are always more; here, as many as can be there at once.
  auto [connection, far_end] = *open_pair();
  constexpr std::size_t many = 50;
  for (std::size_t i = 0; i < many; ++i) ASSERT_TRUE(far_end.send(recorded("packet_tail_1")));
  const auto done = execute_on(connection, bind_request(), steady_clock::now() - 1s);
  ASSERT_FALSE(done.answer);
  EXPECT_TRUE(done.answer.error().is(ETIMEDOUT));
  EXPECT_LT(done.others.size(), many);
}

TEST_F(request_execution, signals_do_not_end_it) {
  static std::atomic<int> signals;
  signals = 0;
  struct sigaction before, action{};
  action.sa_handler = [](int) { ++signals; };
  ::sigaction(SIGUSR1, &action, &before);
  kernel.set_handler([](const scripted_request&) { return scripted_kernel::answers(); });
  std::thread signaller([&, target = ::pthread_self()] {
    if (!kernel.wait_for_requests(1)) ADD_FAILURE() << "no request";
    while (signals < 5) {
      ::pthread_kill(target, SIGUSR1);
      std::this_thread::sleep_for(2ms);
    }
    kernel.deliver(scripted_kernel::answer(kernel.requests().at(0), 0));
  });
  const auto done = execute_on(connection, bind_request());
  signaller.join();
  ::sigaction(SIGUSR1, &before, nullptr);
  EXPECT_TRUE(done.answer) << done.answer.error().message();
}

TEST(request, end_of_the_kernel_is_an_error) {
  auto kernel = std::make_unique<scripted_kernel>();
  const socket connection = *kernel->open(NETLINK_NETFILTER);
  kernel->set_handler([](const scripted_request&) { return scripted_kernel::answers(); });
  std::thread end([&] {
    if (!kernel->wait_for_requests(1)) ADD_FAILURE() << "no request";
    kernel.reset();
  });
  const auto done = execute_on(connection, bind_request());
  end.join();
  ASSERT_FALSE(done.answer);
  EXPECT_TRUE(done.answer.error().is(ECONNRESET));
}

TEST(request, that_cannot_be_sent_is_an_error) {
  auto [connection, far_end] = *open_pair();
  far_end = socket();
  const auto done = execute_on(connection, bind_request());
  ASSERT_FALSE(done.answer);
  EXPECT_TRUE(done.answer.error().is(EPIPE));
  EXPECT_EQ(done.answer.error().message(), "bind queue: Broken pipe");
}

TEST_F(request_execution, errors_of_every_kind_pass) {
  for (const int code : {1, 13, 22, 524, 4095}) {
    kernel.set_handler([code](const scripted_request& request) {
      return scripted_kernel::answers{scripted_kernel::answer(request, code)};
    });
    const auto done = execute_on(connection, bind_request());
    ASSERT_FALSE(done.answer);
    EXPECT_TRUE(done.answer.error().is(code)) << code;
  }
}

// An error on a verdict was taken for a failure of the reader: it is a datagram like others.
TEST_F(request_execution, regress_go_nfqueue_unknown_id_is_no_error_of_receiving) {
  ASSERT_TRUE(execute_on(connection, bind_request()).answer);
  alignas(4) std::byte verdict[wire::max_verdict_size];
  ASSERT_TRUE(connection.send(std::span(verdict).first(wire::encode_verdict({.id = 99, .value = 1}, verdict))));
  kernel.settle();
  ASSERT_EQ(kernel.queue_packet({}), 1u);
  std::byte buffer[1000];
  const auto error = connection.receive(buffer, waiting::not_at_all);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->length, 36u);
  const auto packet = connection.receive(buffer, waiting::not_at_all);
  ASSERT_TRUE(packet);
  wire::bytes rest(buffer, packet->length);
  EXPECT_EQ(wire::next_message(rest)->type, wire::message_packet);
}

}  // namespace
}  // namespace ipq::netlink
