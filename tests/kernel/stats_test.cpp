// SPDX-License-Identifier: MIT
// ipq_get_stats: every packet is accounted for.
#include <gtest/gtest.h>

#include "flow.hpp"
#include "packet_bytes.hpp"
#include "process.hpp"

namespace kernel_tests {
namespace {

using get_stats = flow_test;

// Counters as text, so that a test compares all of them at once.
std::string text(const ipq_stats& s) {
  auto number = [](uint64_t n) { return n == IPQ_UNKNOWN ? std::string{"unknown"} : std::to_string(n); };
  return "received " + number(s.received) + " accepted " + number(s.accepted) + " dropped " + number(s.dropped) +
         " other " + number(s.other_verdicts) + " refused " + number(s.refused) + " wrong family " +
         number(s.wrong_family) + " no buffer " + number(s.lost_no_buffer);
}

TEST_F(get_stats, of_a_new_handle_is_zero) {
  EXPECT_EQ(text(stats_of(handle{ipv4})),
            "received 0 accepted 0 dropped 0 other 0 refused 0 wrong family 0 no buffer 0");
}

TEST_F(get_stats, counts_every_kind_of_verdict) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    auto next = [&] {
      packets.send("x");
      return read_packet(h).id();
    };
    set_verdict(h, next(), NF_ACCEPT);
    set_verdict(h, next(), NF_ACCEPT);
    set_verdict(h, next(), NF_ACCEPT);
    set_verdict(h, next(), NF_DROP);
    set_verdict(h, next(), NF_STOLEN);
    set_verdict(h, next(), NF_STOP);
    set_verdict(h, next(), NF_QUEUE);
    set_verdict(h, read_packet(h).id(), NF_REPEAT);
    next();
    EXPECT_EQ(text(stats_of(h)), "received 9 accepted 3 dropped 2 other 3 refused 0 wrong family 0 no buffer 0");
    EXPECT_EQ(waiting_packets(h, 2), 2u) << "the repeated packet is queued again, the last one has no verdict";
  }
}

TEST_F(get_stats, refused_verdict_is_counted_as_that_alone) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  set_verdict(h, 900, NF_ACCEPT);
  set_verdict(h, 900, NF_DROP);
  set_verdict(h, 900, 6);
  flow4().send("x");
  const auto first = read_message(h), second = read_message(h), third = read_message(h);
  for (const message* m : {&first, &second, &third}) EXPECT_EQ(m->type(), NLMSG_ERROR);
  EXPECT_EQ(text(stats_of(h)), "received 0 accepted 0 dropped 0 other 0 refused 3 wrong family 0 no buffer 0");
  const message m = read_packet(h);
  set_verdict(h, m.id(), 255);
  read_error(h);
  set_verdict(h, m.id());
  EXPECT_EQ(text(stats_of(h)), "received 1 accepted 1 dropped 0 other 0 refused 4 wrong family 0 no buffer 0");
}

TEST_F(get_stats, replacement_too_long_counts_as_dropped) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send("x");
  set_verdict(h, read_packet(h).id(), NF_ACCEPT, bytes(70'000));
  EXPECT_EQ(text(stats_of(h)), "received 1 accepted 0 dropped 1 other 0 refused 0 wrong family 0 no buffer 0");
}

TEST_F(get_stats, sums_up_over_ten_thousand_packets) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  for (int number = 0; number < 10000; ++number) {
    flow4().send(std::to_string(number));
    const auto id = read_packet(h).id();
    set_verdict(h, id, number % 3 == 0 ? NF_DROP : NF_ACCEPT);
    if (number % 3 == 0) continue;
    ASSERT_EQ(flow4().arrived(), std::to_string(number));
  }
  EXPECT_EQ(text(stats_of(h)),
            "received 10000 accepted 6666 dropped 3334 other 0 refused 0 wrong family 0 no buffer 0");
  EXPECT_TRUE(flow4().nothing_arrived());
}

TEST_F(get_stats, full_queue_is_counted) {
  flow4().rule();
  handle h{ipv4};
  ASSERT_EQ(ipq_set_max_length(h, 3), 0);
  ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_PACKET, 0), sent_mode);
  for (int number = 0; number < 10; ++number) flow4().send("x");
  for (int number = 0; number < 3; ++number) read_packet(h);
  EXPECT_TRUE(nothing_to_read(h));
  EXPECT_EQ(stats_of(h).received, 3u);
  EXPECT_EQ(stats_of(h).lost_no_buffer, 0u);
  if (queue_counters_are_shown()) {
    EXPECT_EQ(stats_of(h).lost_queue_full, 7u);
  } else {
    EXPECT_EQ(stats_of(h).lost_queue_full, IPQ_UNKNOWN);
  }
}

TEST_F(get_stats, full_receive_buffer_is_silent_and_counted) {
  flow4().rule();
  handle h{ipv4};
  const int small = 4608;
  ASSERT_EQ(setsockopt(h.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
  ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_PACKET, 0), sent_mode);
  constexpr uint64_t sent = 100;
  for (uint64_t number = 0; number < sent; ++number) flow4().send(std::string(1000, 'f'));
  uint64_t received = 0;
  bytes buffer(large_enough);
  // Reading goes on as if nothing had been lost: no ENOBUFS.
  for (ssize_t length; (length = ipq_read(h, buffer.data(), buffer.size(), -1)) != 0; ++received) {
    ASSERT_GT(length, 0) << last_error(h);
    ASSERT_EQ(ipq_message_type(buffer.data()), IPQM_PACKET);
    set_verdict(h, ipq_get_packet(buffer.data())->packet_id);
    flow4().arrived();
  }
  EXPECT_GT(received, 0u);
  EXPECT_LT(received, sent);
  EXPECT_EQ(stats_of(h).received, received);
  EXPECT_EQ(stats_of(h).lost_no_buffer, sent - received);
  EXPECT_TRUE(flow4().nothing_arrived());
  flow4().send("after the loss");
  set_verdict(h, read_packet(h).id());
  EXPECT_EQ(flow4().arrived(), "after the loss");
}

}  // namespace
}  // namespace kernel_tests
