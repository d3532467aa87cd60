// SPDX-License-Identifier: MIT
// ipq_set_verdict: accepting, dropping, what is refused and how the refusal reads.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "flow.hpp"
#include "packet_bytes.hpp"
#include "process.hpp"

namespace kernel_tests {
namespace {

class verdict : public flow_test {
 protected:
  // Queues a datagram and reads it.
  static message queued(const ipq_handle* h, const flow& packets, std::string_view payload) {
    packets.send(payload);
    return read_packet(h);
  }
};

// The fields of an error message that repeat what was refused.
struct refused_request {
  nlmsghdr header;
  unsigned int value;
  unsigned long id;
  size_t data_len;
};

refused_request request_in(const message& error) {
  refused_request request{};
  memcpy(&request.header, error.data.data() + 20, sizeof request.header);
  memcpy(&request.value, error.data.data() + 36, sizeof request.value);
  memcpy(&request.id, error.data.data() + 44, sizeof request.id);
  memcpy(&request.data_len, error.data.data() + 52, sizeof request.data_len);
  return request;
}

TEST_F(verdict, accept_delivers_and_returns_40) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    const message m = queued(h, packets, "accepted");
    EXPECT_TRUE(packets.nothing_arrived());
    int sent = 0;
    EXPECT_EQ(errno_after([&] { sent = ipq_set_verdict(h, m.id(), NF_ACCEPT, 0, nullptr); }), untouched_errno);
    EXPECT_EQ(sent, 40);
    EXPECT_EQ(packets.arrived(), "accepted");
    EXPECT_TRUE(nothing_to_read(h));
  }
}

TEST_F(verdict, drop_does_not_deliver) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    EXPECT_EQ(ipq_set_verdict(h, queued(h, packets, "dropped").id(), NF_DROP, 0, nullptr), 40);
    EXPECT_TRUE(packets.nothing_arrived());
    EXPECT_TRUE(nothing_to_read(h));
  }
}

TEST_F(verdict, works_on_received_packets_too) {
  flow4().rule("-A INPUT");
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send_back("dropped");
  flow4().send_back("accepted");
  set_verdict(h, read_packet(h).id(), NF_DROP);
  set_verdict(h, read_packet(h).id(), NF_ACCEPT);
  EXPECT_EQ(flow4().arrived_back(), "accepted");
  EXPECT_TRUE(flow4().nothing_arrived_back());
}

TEST_F(verdict, for_an_unknown_id_is_enoent) {
  for (auto protocol : {ipv4, ipv6}) {
    handle h{protocol, IPQ_COPY_PACKET};
    for (ipq_id_t id : {ipq_id_t{1}, ipq_id_t{0}, ipq_id_t{0x7fffffff}, ipq_id_t{0xffffffff}, ~ipq_id_t{0}}) {
      EXPECT_EQ(ipq_set_verdict(h, id, NF_ACCEPT, 0, nullptr), 40);
      EXPECT_EQ(read_error(h).error(), ENOENT);
      EXPECT_TRUE(nothing_to_read(h));
    }
  }
}

TEST_F(verdict, second_one_is_enoent) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    for (const unsigned first : {0u + NF_ACCEPT, 0u + NF_DROP, 0u + NF_STOP}) {
      const message m = queued(h, packets, "twice");
      set_verdict(h, m.id(), first);
      EXPECT_EQ(ipq_set_verdict(h, m.id(), NF_ACCEPT, 0, nullptr), 40);
      EXPECT_EQ(read_error(h).error(), ENOENT);
      if (first != NF_DROP) {
        EXPECT_EQ(packets.arrived(), "twice");
      }
      EXPECT_TRUE(packets.nothing_arrived());
    }
  }
}

TEST_F(verdict, refused_is_60_bytes_that_repeat_the_request) {
  for (auto protocol : {ipv4, ipv6}) {
    handle h{protocol, IPQ_COPY_PACKET};
    bytes replacement(200, 0x77);
    const std::pair<bytes, unsigned int> requests[] = {{bytes{}, NF_ACCEPT}, {replacement, NF_REPEAT}};
    for (const auto& [data, value] : requests) {
      set_verdict(h, 0x1234567, value, data);
      bytes buffer(large_enough, 0xa5);
      ASSERT_EQ(ipq_read(h, buffer.data(), buffer.size(), 0), 60);
      EXPECT_EQ((bytes(buffer.begin() + 60, buffer.end())), bytes(buffer.size() - 60, 0xa5));
      buffer.resize(60);
      const message m{buffer};
      EXPECT_EQ(m.header().nlmsg_len, 60u);
      EXPECT_EQ(m.type(), NLMSG_ERROR);
      EXPECT_EQ(m.header().nlmsg_flags, 0);
      EXPECT_EQ(m.error(), ENOENT);
      const refused_request request = request_in(m);
      EXPECT_EQ(request.header.nlmsg_len, 40 + data.size());
      EXPECT_EQ(request.header.nlmsg_type, IPQM_VERDICT);
      EXPECT_EQ(request.header.nlmsg_flags, NLM_F_REQUEST);
      EXPECT_EQ(request.value, value);
      EXPECT_EQ(request.id, 0x1234567u);
      EXPECT_EQ(request.data_len, data.size());
    }
  }
}

// Of the same form where the value is refused, whatever goes along.
TEST_F(verdict, refused_for_its_value_repeats_the_length_of_its_replacement) {
  for (auto protocol : {ipv4, ipv6}) {
    handle h{protocol, IPQ_COPY_PACKET};
    for (const size_t length : {size_t{1}, size_t{200}, size_t{65531}}) {
      for (const bool with_mark : {false, true}) {
        bytes replacement(length, 0x77);
        const int sent = with_mark ? ipq_set_vwmark(h, 5, 6, 1, length, replacement.data())
                                   : ipq_set_verdict(h, 5, 6, length, replacement.data());
        ASSERT_EQ(sent, static_cast<int>(40 + length));
        const message m = read_error(h);
        EXPECT_EQ(m.data.size(), 60u);
        EXPECT_EQ(m.error(), EINVAL);
        const refused_request request = request_in(m);
        EXPECT_EQ(request.header.nlmsg_len, 40 + length);
        EXPECT_EQ(request.value, 6u);
        EXPECT_EQ(request.id, 5u);
        EXPECT_EQ(request.data_len, length);
      }
    }
  }
}

TEST_F(verdict, refused_mode_is_76_bytes_that_repeat_the_request) {
  handle h{ipv4, IPQ_COPY_PACKET};
  ASSERT_EQ(ipq_set_mode(h, 9, 0x12345), sent_mode);
  bytes buffer(large_enough, 0xa5);
  ASSERT_EQ(ipq_read(h, buffer.data(), buffer.size(), 0), 76);
  EXPECT_EQ((bytes(buffer.begin() + 76, buffer.end())), bytes(buffer.size() - 76, 0xa5));
  buffer.resize(76);
  const message m{buffer};
  EXPECT_EQ(m.header().nlmsg_len, 76u);
  EXPECT_EQ(m.type(), NLMSG_ERROR);
  EXPECT_EQ(m.error(), EINVAL);
  nlmsghdr request;
  size_t range;
  memcpy(&request, buffer.data() + 20, sizeof request);
  memcpy(&range, buffer.data() + 44, sizeof range);
  EXPECT_EQ(request.nlmsg_len, 56u);
  EXPECT_EQ(request.nlmsg_type, IPQM_MODE);
  EXPECT_EQ(request.nlmsg_flags, NLM_F_REQUEST);
  EXPECT_EQ(buffer[36], 9);
  EXPECT_EQ(range, 0x12345u);
}

TEST_F(verdict, of_invalid_value_is_einval_and_the_packet_stays) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  const message m = queued(h, flow4(), "stays");
  for (unsigned int value : {6u, 255u, 0x100u, 0x10001u, 0x10003u, 0x80000000u, static_cast<unsigned int>(-1)}) {
    SCOPED_TRACE(value);
    EXPECT_EQ(ipq_set_verdict(h, m.id(), value, 0, nullptr), 40);
    const message error = read_error(h);
    EXPECT_EQ(error.error(), EINVAL);
    EXPECT_EQ(request_in(error).value, value);
    EXPECT_EQ(request_in(error).id, m.id());
  }
  EXPECT_TRUE(flow4().nothing_arrived());
  set_verdict(h, m.id());
  EXPECT_EQ(flow4().arrived(), "stays");
}

TEST_F(verdict, value_is_looked_at_before_the_id) {
  handle h{ipv4, IPQ_COPY_PACKET};
  set_verdict(h, 99999, 6);
  EXPECT_EQ(read_error(h).error(), EINVAL);
  set_verdict(h, 99999, 0x10001);
  EXPECT_EQ(read_error(h).error(), EINVAL);
  set_verdict(h, 99999, NF_STOP);
  EXPECT_EQ(read_error(h).error(), ENOENT);
}

TEST_F(verdict, stolen_takes_the_packet_without_an_error) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    for (int round = 0; round < 3; ++round) {
      const message m = queued(h, packets, "stolen");
      EXPECT_EQ(ipq_set_verdict(h, m.id(), NF_STOLEN, 0, nullptr), 40);
      EXPECT_TRUE(nothing_to_read(h));
      EXPECT_FALSE(readable(h.fd()));
      set_verdict(h, m.id());
      EXPECT_EQ(read_error(h).error(), ENOENT) << "it is gone from the queue";
    }
    EXPECT_TRUE(packets.nothing_arrived());
  }
}

TEST_F(verdict, may_come_in_any_order_from_sixteen_kept_buffers) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    std::vector<message> kept;
    for (int number = 0; number < 16; ++number) kept.push_back(queued(h, packets, std::to_string(number)));
    std::shuffle(kept.begin(), kept.end(), std::mt19937{7});
    for (const message& m : kept) {
      set_verdict(h, m.id());
      EXPECT_EQ(packets.arrived(), udp_payload(m.payload()));
    }
    for (int number = 0; number < 16; ++number)
      kept[static_cast<size_t>(number)] = queued(h, packets, std::to_string(number));
    for (auto m = kept.rbegin(); m != kept.rend(); ++m) {
      set_verdict(h, m->id());
      EXPECT_EQ(packets.arrived(), udp_payload(m->payload()));
    }
    EXPECT_TRUE(nothing_to_read(h));
  }
}

TEST_F(verdict, id_survives_32_bits_and_text) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  for (int round = 0; round < 5; ++round) {
    const message m = queued(h, flow4(), "by text");
    const auto stored = static_cast<unsigned int>(m.id());
    EXPECT_EQ(stored, m.id());
    set_verdict(h, std::stoul(std::to_string(stored)));
    EXPECT_EQ(flow4().arrived(), "by text");
  }
}

TEST_F(verdict, refusals_and_packets_come_in_order) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send("first");
  set_verdict(h, 50001);
  flow4().send("second");
  set_verdict(h, 50002, 77);
  EXPECT_EQ(udp_payload(read_packet(h).payload()), "first");
  message error = read_error(h);
  EXPECT_EQ(error.error(), ENOENT);
  EXPECT_EQ(request_in(error).id, 50001u);
  EXPECT_EQ(udp_payload(read_packet(h).payload()), "second");
  error = read_error(h);
  EXPECT_EQ(error.error(), EINVAL);
  EXPECT_EQ(request_in(error).id, 50002u);
  EXPECT_TRUE(nothing_to_read(h));
}

TEST_F(verdict, each_refusal_is_one_error) {
  handle h{ipv4, IPQ_COPY_PACKET};
  for (ipq_id_t id = 1000; id < 1100; ++id) set_verdict(h, id);
  for (ipq_id_t id = 1000; id < 1100; ++id) EXPECT_EQ(request_in(read_error(h)).id, id);
  EXPECT_TRUE(nothing_to_read(h));
}

// A program that gives its verdict with the fields of the buffer, whatever was read into it, and once more.
TEST_F(verdict, error_answered_with_two_more_verdicts_goes_on) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  bytes buffer(4096);
  auto answer = [&] { return ipq_set_verdict(h, ipq_get_packet(buffer.data())->packet_id, NF_ACCEPT, 0, nullptr); };
  flow4().send("once");
  ASSERT_GT(ipq_read(h, buffer.data(), buffer.size(), 0), 0);
  const message original{buffer};
  EXPECT_EQ(answer(), 40);
  EXPECT_EQ(answer(), 40);
  ASSERT_EQ(ipq_read(h, buffer.data(), buffer.size(), 0), 60);
  EXPECT_EQ(ipq_get_packet(buffer.data())->data_len, original.packet().data_len) << "old fields are still there";
  EXPECT_EQ(memcmp(ipq_get_packet(buffer.data())->payload, original.packet().payload, original.packet().data_len), 0);
  EXPECT_EQ(answer(), 40);
  EXPECT_EQ(answer(), 40);
  for (int error = 0; error < 2; ++error) {
    ASSERT_EQ(ipq_read(h, buffer.data(), buffer.size(), 0), 60);
    EXPECT_EQ(ipq_message_type(buffer.data()), NLMSG_ERROR);
    EXPECT_EQ(ipq_get_msgerr(buffer.data()), ENOENT);
  }
  EXPECT_TRUE(nothing_to_read(h));
  EXPECT_EQ(flow4().arrived(), "once");
  flow4().send("and on");
  set_verdict(h, read_packet(h).id());
  EXPECT_EQ(flow4().arrived(), "and on");
}

TEST_F(verdict, before_any_mode_is_refused) {
  handle h{ipv4};
  EXPECT_EQ(ipq_set_verdict(h, 1, NF_ACCEPT, 0, nullptr), 40);
  EXPECT_EQ(read_error(h).error(), ENOENT);
}

}  // namespace
}  // namespace kernel_tests
