// SPDX-License-Identifier: MIT
// Edited packets on the real kernel: the peer's stack takes them, and tshark finds nothing wrong with them.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "data/tshark.hpp"
#include "flow.hpp"
#include "ipq/edit.hpp"
#include "ipq/ipv4.hpp"
#include "ipq/ipv6.hpp"
#include "ipq/tcp.hpp"
#include "packet_bytes.hpp"

namespace kernel_tests {
namespace {

std::span<const std::byte> as_bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::vector<std::byte> copy_of(const bytes& packet) {
  const auto view = std::as_bytes(std::span(packet));
  return {view.begin(), view.end()};
}

// All checksum errors that UDP and TCP of a namespace have counted.
unsigned long checksum_errors() {
  unsigned long sum = 0;
  std::istringstream old{must_run("cat /proc/thread-self/net/snmp")};
  for (std::string names, values; std::getline(old, names) && std::getline(old, values);) {
    std::istringstream name_words{names}, value_words{values};
    for (std::string name, value; name_words >> name && value_words >> value;)
      if (name == "InCsumErrors") sum += std::stoul(value);
  }
  std::istringstream lines{must_run("cat /proc/thread-self/net/snmp6")};
  std::string name;
  for (unsigned long value; lines >> name >> value;)
    if (name == "Udp6InCsumErrors" || name == "Icmp6InCsumErrors") sum += value;
  return sum;
}

class edit : public flow_test {
 protected:
  using change = std::function<void(ipq::packet_editor&)>;

  // The packet of a message after a change, as it is written back.
  bytes edited(const message& m, const change& change_it) {
    const bytes payload = m.payload();
    ipq::packet packet;
    packet.payload = std::as_bytes(std::span(payload));
    auto editor = ipq::packet_editor::edit(packet, buffer_);
    if (!editor) throw std::runtime_error(editor.error().message());
    change_it(*editor);
    const auto done = editor->finish();
    bytes result(done.size());
    std::memcpy(result.data(), done.data(), done.size());
    return result;
  }

  // tshark looks at what arrived.
  void expect_no_fault(const std::vector<std::vector<std::byte>>& packets) {
    const auto verdict = test_data::ask_tshark(packets);
    if (!verdict) {
      const char* ci = getenv("CI");
      if (ci != nullptr && std::string_view(ci) == "true") FAIL() << "tshark is not installed";
      return;  // the peer's stack has judged already
    }
    EXPECT_TRUE(verdict->bad.empty()) << verdict->bad.size() << " packets are wrong, the first is " << verdict->bad[0];
    EXPECT_EQ(verdict->good, packets.size());
  }

 private:
  std::vector<std::byte> buffer_;
};

TEST_F(edit, payload_grown_and_shrunk_arrives) {
  const auto errors = in(far_ns(), checksum_errors);
  std::vector<std::vector<std::byte>> arrived;
  const device_tap tap{far_ns(), "far0"};
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    for (size_t before : {0u, 3u, 100u, 1400u}) {
      for (size_t after : {0u, 1u, 99u, 101u, 1452u}) {
        SCOPED_TRACE(std::to_string(before) + " to " + std::to_string(after));
        packets.send(std::string(before, 'b'));
        const message m = read_packet(h);
        const std::string text(after, 'a');
        set_verdict(h, m.id(), NF_ACCEPT,
                    edited(m, [&](ipq::packet_editor& e) { ASSERT_TRUE(e.replace_payload(as_bytes_of(text))); }));
        EXPECT_EQ(packets.arrived(), text);
        arrived.push_back(copy_of(tap.next()));
      }
    }
  }
  EXPECT_EQ(in(far_ns(), checksum_errors), errors);
  expect_no_fault(arrived);
}

TEST_F(edit, ports_ttl_and_dscp_arrive_changed) {
  const auto errors = in(far_ns(), checksum_errors);
  std::vector<std::vector<std::byte>> arrived;
  const device_tap tap{far_ns(), "far0"};
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    const udp_socket other{far_ns(), packets.far_address(), 5005};
    handle h{protocol, IPQ_COPY_PACKET};
    packets.send("to another port");
    const message m = read_packet(h);
    set_verdict(h, m.id(), NF_ACCEPT, edited(m, [](ipq::packet_editor& e) {
                  ASSERT_TRUE(e.set_destination_port(5005));
                  ASSERT_TRUE(e.set_source_port(1234));
                  e.set_ttl(7);
                  ASSERT_TRUE(e.set_dscp(46));
                }));
    EXPECT_EQ(other.receive(), "to another port");
    const auto packet = copy_of(tap.next());
    if (protocol == ipv4) {
      EXPECT_EQ(ipq::ipv4_view::parse(packet)->time_to_live(), 7);
      EXPECT_EQ(ipq::ipv4_view::parse(packet)->dscp(), 46);
    } else {
      EXPECT_EQ(ipq::ipv6_view::parse(packet)->hop_limit(), 7);
      EXPECT_EQ(ipq::ipv6_view::parse(packet)->dscp(), 46);
    }
    arrived.push_back(packet);
  }
  EXPECT_EQ(in(far_ns(), checksum_errors), errors);
  expect_no_fault(arrived);
}

TEST_F(edit, addresses_arrive_changed) {
  in(far_ns(), [] {
    must_run("ip addr add 192.0.2.3/24 dev far0");
    must_run("ip addr add 2001:db8::3/64 dev far0 nodad");
    return 0;
  });
  wait_for_path(near_ns(), near_address, far_ns(), "192.0.2.3");
  wait_for_path(near_ns(), near_address6, far_ns(), "2001:db8::3");
  const auto errors = in(far_ns(), checksum_errors);
  std::vector<std::vector<std::byte>> arrived;
  const device_tap tap{far_ns(), "far0"};
  for (auto protocol : {ipv4, ipv6}) {
    // In mangle, the kernel finds the route anew when the address has changed.
    const flow& packets = flow_of(protocol).rule("-t mangle -A OUTPUT");
    const udp_socket other{far_ns(), protocol == ipv4 ? "192.0.2.3" : "2001:db8::3", flow::port};
    handle h{protocol, IPQ_COPY_PACKET};
    packets.send("elsewhere");
    const message m = read_packet(h);
    set_verdict(h, m.id(), NF_ACCEPT, edited(m, [&](ipq::packet_editor& e) {
                  if (protocol == ipv4)
                    ASSERT_TRUE(e.set_destination(*ipq::ipv4_address::parse("192.0.2.3")));
                  else
                    ASSERT_TRUE(e.set_destination(*ipq::ipv6_address::parse("2001:db8::3")));
                }));
    EXPECT_EQ(other.receive(), "elsewhere");
    arrived.push_back(copy_of(tap.next()));
  }
  EXPECT_EQ(in(far_ns(), checksum_errors), errors);
  expect_no_fault(arrived);
}

// A connection whose every segment is edited: the handshake with its MSS, then data in capitals.
TEST_F(edit, tcp_connection_works_with_edited_segments) {
  for (auto protocol : {ipv4, ipv6}) {
    const auto far = protocol == ipv4 ? far_address : far_address6;
    const auto errors = in(far_ns(), checksum_errors);
    const std::string rule = "-t mangle -A OUTPUT -p tcp --dport 6000 -j QUEUE";
    protocol == ipv4 ? iptables(rule) : ip6tables(rule);
    handle h{protocol, IPQ_COPY_PACKET};
    const tcp_listener listener{far_ns(), far, 6000};
    const device_tap tap{far_ns(), "far0"};
    const endpoint there{far, 6000};
    const descriptor client{socket(there.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket"};
    ASSERT_TRUE(connect(client.get(), there.address(), there.size()) == 0 || errno == EINPROGRESS);

    bool clamped = false;
    const auto pass = [&] {
      const message m = read_packet(h);
      set_verdict(h, m.id(), NF_ACCEPT, edited(m, [&](ipq::packet_editor& e) {
                    const auto changed = e.clamp_tcp_mss(1000);
                    ASSERT_TRUE(changed);
                    clamped = clamped || *changed;
                    e.set_ttl(9);
                    ASSERT_TRUE(e.set_tcp_window(2000));
                    std::string text;
                    for (auto b : e.payload()) text += static_cast<char>(std::toupper(std::to_integer<int>(b)));
                    ASSERT_TRUE(e.overwrite_payload(0, as_bytes_of(text)));
                  }));
    };
    pass();  // SYN
    pass();  // ACK
    EXPECT_TRUE(clamped);
    const descriptor server = listener.accept();
    const std::string_view text = "an odd number of bytes.";
    ASSERT_EQ(send(client.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
    pass();
    char received[100];
    const auto size = recv(server.get(), received, sizeof received, 0);
    ASSERT_GT(size, 0);
    EXPECT_EQ(std::string_view(received, static_cast<size_t>(size)), "AN ODD NUMBER OF BYTES.");
    EXPECT_EQ(in(far_ns(), checksum_errors), errors);

    // The segments of the other direction are not ours, and veth leaves their checksums to hardware that is not there.
    std::vector<std::vector<std::byte>> arrived;
    while (arrived.size() < 3) {
      auto packet = copy_of(tap.next(IPPROTO_TCP));
      const auto found = ipq::decode(packet);
      const auto segment = std::span(packet).subspan(found->transport_offset);
      if (ipq::tcp_view::parse(segment)->destination_port() == 6000) arrived.push_back(packet);
    }
    expect_no_fault(arrived);
  }
}

// The test of the tests: the same way with a checksum that is spoilt.
TEST_F(edit, peer_refuses_what_was_wrong_before) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    const auto errors = in(far_ns(), checksum_errors);
    packets.send("right");
    message m = read_packet(h);
    bytes spoilt = m.payload();
    spoil_udp_checksum(spoilt);
    std::copy(spoilt.begin(), spoilt.end(), m.data.begin() + NLMSG_HDRLEN + sizeof(ipq_packet_msg_t));
    ASSERT_EQ(m.payload(), spoilt);
    set_verdict(h, m.id(), NF_ACCEPT,
                edited(m, [](ipq::packet_editor& e) { ASSERT_TRUE(e.replace_payload(as_bytes_of("still wrong"))); }));
    EXPECT_TRUE(packets.nothing_arrived());
    EXPECT_EQ(in(far_ns(), checksum_errors), errors + 1);
  }
}

}  // namespace
}  // namespace kernel_tests
