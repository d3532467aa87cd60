// SPDX-License-Identifier: MIT
// Replacement packets: what the peer receives when a verdict brings a packet of its own.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <thread>

#include "flow.hpp"
#include "packet_bytes.hpp"
#include "process.hpp"

namespace kernel_tests {
namespace {

using payload = flow_test;

// A counter of the protocol statistics of the namespace that the thread is in.
unsigned long udp_checksum_errors(uint32_t protocol) {
  if (protocol == ipv6) {
    std::istringstream lines{must_run("cat /proc/thread-self/net/snmp6")};
    std::string name;
    for (unsigned long value; lines >> name >> value;)
      if (name == "Udp6InCsumErrors") return value;
    throw std::runtime_error("no Udp6InCsumErrors in /proc/net/snmp6");
  }
  std::istringstream lines{must_run("cat /proc/thread-self/net/snmp")};
  for (std::string names, values; std::getline(lines, names) && std::getline(lines, values);) {
    if (!names.starts_with("Udp:")) continue;
    std::istringstream name_words{names}, value_words{values};
    for (std::string name, value; name_words >> name && value_words >> value;)
      if (name == "InCsumErrors") return std::stoul(value);
  }
  throw std::runtime_error("no InCsumErrors in /proc/net/snmp");
}

// Queues a datagram and reads it.
message queued(const ipq_handle* h, const flow& packets, std::string_view text) {
  packets.send(text);
  return read_packet(h);
}

TEST_F(payload, rewritten_packet_arrives_rewritten) {
  for (auto protocol : {ipv4, ipv6}) {
    for (auto [chain, back] : {std::pair{"-A OUTPUT", false}, {"-A INPUT", true}}) {
      const flow& packets = flow_of(protocol).rule(chain);
      handle h{protocol, IPQ_COPY_PACKET};
      back ? packets.send_back("old text") : packets.send("old text");
      const message m = read_packet(h);
      bytes replacement = with_udp_payload(m.payload(), "new text");
      const bytes copy = replacement;
      EXPECT_EQ(ipq_set_verdict(h, m.id(), NF_ACCEPT, replacement.size(), replacement.data()),
                40 + static_cast<int>(replacement.size()));
      EXPECT_EQ(back ? packets.arrived_back() : packets.arrived(), "new text");
      EXPECT_EQ(replacement, copy);
      EXPECT_TRUE(nothing_to_read(h));
    }
  }
}

TEST_F(payload, may_grow_and_shrink_the_packet) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    for (size_t before : {0u, 3u, 100u, 1400u}) {
      for (size_t after : {0u, 1u, 99u, 101u, 1452u}) {
        SCOPED_TRACE(std::to_string(before) + " to " + std::to_string(after));
        const message m = queued(h, packets, std::string(before, 'b'));
        set_verdict(h, m.id(), NF_ACCEPT, with_udp_payload(m.payload(), std::string(after, 'a')));
        EXPECT_EQ(packets.arrived(), std::string(after, 'a'));
      }
    }
  }
}

TEST_F(payload, arrives_as_it_is_with_nothing_corrected) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    const auto errors_before = in(far_ns(), [&] { return udp_checksum_errors(protocol); });
    const message m = queued(h, packets, "right");
    bytes wrong = with_udp_payload(m.payload(), "wrong");
    spoil_udp_checksum(wrong);
    const device_tap tap{far_ns(), "far0"};
    set_verdict(h, m.id(), NF_ACCEPT, wrong);
    EXPECT_EQ(tap.next(), wrong);
    EXPECT_TRUE(packets.nothing_arrived()) << "the peer has to notice the checksum";
    EXPECT_EQ(in(far_ns(), [&] { return udp_checksum_errors(protocol); }), errors_before + 1);
    EXPECT_TRUE(nothing_to_read(h));
  }
}

TEST_F(payload, too_long_to_apply_is_dropped_in_silence) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    for (size_t size : {size_t{65532}, size_t{65535}, size_t{65536}, size_t{70'000}, size_t{1'000'000}}) {
      SCOPED_TRACE(size);
      const message m = queued(h, packets, "too long");
      bytes replacement = m.payload();
      replacement.resize(size);
      int sent = 0;
      EXPECT_EQ(
          errno_after([&] { sent = ipq_set_verdict(h, m.id(), NF_ACCEPT, replacement.size(), replacement.data()); }),
          untouched_errno);
      EXPECT_EQ(sent, 40 + static_cast<int>(size));
      EXPECT_TRUE(nothing_to_read(h));
      EXPECT_TRUE(packets.nothing_arrived());
      set_verdict(h, m.id());
      EXPECT_EQ(read_error(h).error(), ENOENT) << "it is gone from the queue";
    }
  }
}

TEST_F(payload, grows_to_the_65531_bytes_of_an_attribute) {
  iptables("-A OUTPUT -o lo -p udp -j QUEUE");
  handle h{ipv4, IPQ_COPY_PACKET};
  udp_socket socket{near_ns(), "127.0.0.1"};
  socket.send("127.0.0.1", socket.port(), "small");
  const message m = read_packet(h);
  const bytes largest = with_udp_payload(m.payload(), std::string(65531 - 28, 'g'));
  ASSERT_EQ(largest.size(), 65531u);
  set_verdict(h, m.id(), NF_ACCEPT, largest);
  EXPECT_EQ(socket.receive(), std::string(65531 - 28, 'g'));
}

TEST_F(payload, too_short_for_a_header_is_ignored) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    const size_t header = protocol == ipv4 ? 20 : 40;
    for (size_t size : {size_t{1}, size_t{8}, header - 1}) {
      SCOPED_TRACE(size);
      const message m = queued(h, packets, "the original");
      bytes stub(size, 0);
      EXPECT_EQ(ipq_set_verdict(h, m.id(), NF_ACCEPT, stub.size(), stub.data()), 40 + static_cast<int>(size));
      EXPECT_EQ(packets.arrived(), "the original");
      const message other = queued(h, packets, "the original");
      EXPECT_EQ(ipq_set_verdict(h, other.id(), NF_DROP, stub.size(), stub.data()), 40 + static_cast<int>(size));
      EXPECT_TRUE(packets.nothing_arrived()) << "the verdict counts all the same";
    }
  }
}

TEST_F(payload, of_a_header_alone_is_applied) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    const message m = queued(h, packets, "cut");
    bytes header = m.payload();
    header.resize(protocol == ipv4 ? 20 : 40);
    // An experimental protocol, so that nobody misses the header behind.
    constexpr uint8_t experiment = 253;
    header[protocol == ipv4 ? 9 : 6] = experiment;
    make_correct(header);
    const device_tap tap{far_ns(), "far0"};
    set_verdict(h, m.id(), NF_ACCEPT, header);
    EXPECT_EQ(tap.next(experiment), header);
  }
}

TEST_F(payload, is_ignored_without_buffer_or_length) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    message m = queued(h, packets, "the original");
    bytes replacement = with_udp_payload(m.payload(), "not this");
    EXPECT_EQ(ipq_set_verdict(h, m.id(), NF_ACCEPT, 0, replacement.data()), 40);
    EXPECT_EQ(packets.arrived(), "the original");
    m = queued(h, packets, "the original");
    EXPECT_EQ(ipq_set_verdict(h, m.id(), NF_ACCEPT, replacement.size(), nullptr), 40);
    EXPECT_EQ(packets.arrived(), "the original");
    EXPECT_TRUE(nothing_to_read(h));
  }
}

TEST_F(payload, verbatim_changes_nothing) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    for (size_t size : {0u, 1u, 2u, 3u, 700u, 1452u}) {
      const message m = queued(h, packets, std::string(size, 'v'));
      set_verdict(h, m.id(), NF_ACCEPT, m.payload());
      EXPECT_EQ(packets.arrived(), std::string(size, 'v'));
    }
  }
}

TEST_F(payload, verbatim_is_harmless_to_a_tcp_connection) {
  for (const char* chain : {"INPUT", "OUTPUT"}) iptables("-A " + std::string{chain} + " -p tcp -j QUEUE");
  handle h{ipv4, IPQ_COPY_PACKET};
  std::atomic<bool> done = false;
  std::thread echo([&] {
    bytes buffer(large_enough);
    while (!done) {
      if (ipq_read(h, buffer.data(), buffer.size(), 10'000) <= 0) continue;
      auto& packet = *ipq_get_packet(buffer.data());
      ipq_set_verdict(h, packet.packet_id, NF_ACCEPT, packet.data_len, packet.payload);
    }
  });
  std::string received(200'000, '\0');
  const std::string sent(received.size(), 't');
  ssize_t size = 0;
  try {
    tcp_listener there{far_ns(), far_address, 6000};
    const descriptor here = tcp_connect(near_ns(), far_address, 6000), accepted = there.accept();
    std::thread writer([&] { EXPECT_EQ(write(here.get(), sent.data(), sent.size()), 200'000); });
    size = recv(accepted.get(), received.data(), received.size(), MSG_WAITALL);
    writer.join();
  } catch (const std::exception& error) {
    ADD_FAILURE() << error.what();
  }
  done = true;
  echo.join();
  EXPECT_EQ(size, 200'000);
  EXPECT_EQ(received, sent);
}

// The kernel copies 65531 bytes at most; a program that returns what it got means no change.
TEST_F(payload, verbatim_is_harmless_where_the_kernel_cut_the_copy) {
  iptables("-A OUTPUT -o lo -p udp -j QUEUE");
  handle h{ipv4, IPQ_COPY_PACKET};
  udp_socket socket{near_ns(), "127.0.0.1"};
  for (size_t size : {65503u, 65504u, 65507u}) {
    SCOPED_TRACE(size);
    socket.send("127.0.0.1", socket.port(), std::string(size, 'l'));
    const message m = read_packet(h);
    EXPECT_EQ(m.packet().data_len, std::min<size_t>(size + 28, 65531));
    set_verdict(h, m.id(), NF_ACCEPT, m.payload());
    EXPECT_EQ(socket.receive(), std::string(size, 'l'));
  }
}

TEST_F(payload, partial_copy_that_is_returned_cuts_the_packet) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET, 100};
    const message m = queued(h, packets, std::string(500, 'p'));
    ASSERT_EQ(m.packet().data_len, 100u);
    const device_tap tap{far_ns(), "far0"};
    set_verdict(h, m.id(), NF_ACCEPT, m.payload());
    EXPECT_EQ(tap.next(), m.payload());
  }
}

TEST_F(payload, partial_copy_that_is_only_accepted_leaves_the_packet_whole) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET, 100};
  const message m = queued(h, flow4(), std::string(500, 'p'));
  set_verdict(h, m.id());
  EXPECT_EQ(flow4().arrived(), std::string(500, 'p'));
}

TEST_F(payload, goes_with_every_verdict) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    message m = queued(h, packets, "first");
    for (auto [verdict, text] : {std::pair{NF_QUEUE, "queued again"}, {NF_REPEAT, "repeated"}}) {
      set_verdict(h, m.id(), static_cast<unsigned int>(verdict), with_udp_payload(m.payload(), text));
      m = read_packet(h);
      EXPECT_EQ(udp_payload(m.payload()), text);
    }
    set_verdict(h, m.id(), NF_STOP, with_udp_payload(m.payload(), "stopped"));
    EXPECT_EQ(packets.arrived(), "stopped");
    m = queued(h, packets, "last");
    set_verdict(h, m.id(), NF_DROP, with_udp_payload(m.payload(), "dropped"));
    EXPECT_TRUE(packets.nothing_arrived());
    m = queued(h, packets, "stolen");
    set_verdict(h, m.id(), NF_STOLEN, with_udp_payload(m.payload(), "stolen"));
    EXPECT_TRUE(packets.nothing_arrived());
    EXPECT_TRUE(nothing_to_read(h));
  }
}

TEST_F(payload, buffer_may_be_freed_at_once) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  for (int round = 0; round < 20; ++round) {
    const message m = queued(h, flow4(), "old");
    const bytes replacement = with_udp_payload(m.payload(), "new " + std::to_string(round));
    auto* buffer = static_cast<unsigned char*>(malloc(replacement.size()));
    memcpy(buffer, replacement.data(), replacement.size());
    ipq_set_verdict(h, m.id(), NF_ACCEPT, replacement.size(), buffer);
    memset(buffer, 0xdd, replacement.size());
    free(buffer);
    EXPECT_EQ(flow4().arrived(), "new " + std::to_string(round));
  }
}

TEST_F(payload, works_where_only_metadata_was_copied) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_META};
  const message m = queued(h, flow4(), "unseen");
  set_verdict(h, m.id(), NF_ACCEPT,
              udp_packet(flow4().near_address(), flow::port, flow4().far_address(), flow::port, "made anew"));
  EXPECT_EQ(flow4().arrived(), "made anew");
}

}  // namespace
}  // namespace kernel_tests
