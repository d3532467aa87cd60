// SPDX-License-Identifier: MIT
// What the real kernel tells of a packet, and the options that change it.
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "ipq/edit.hpp"
#include "ipq/owned_packet.hpp"
#include "kernel/live_queue.hpp"
#include "kernel/process.hpp"
#include "kernel/traffic.hpp"

namespace ipq {
namespace {

using namespace queue_tests;
using kernel_tests::descriptor;

class live_attributes : public live_queue {
 protected:
  static std::uint32_t index_of(const char* device) { return ::if_nametoindex(device); }

  struct transfer {
    std::size_t packets = 0;    ///< of the sending direction, with payload
    std::size_t segmented = 0;  ///< of them, with gso set
    std::size_t largest = 0;    ///< bytes of a packet
    std::size_t not_ready = 0;  ///< packets whose checksum was still to be computed
    std::string arrived;
  };

  /// Sends a megabyte over TCP through a queue in OUTPUT and gives each packet the verdict of `judge`.
  transfer send_much(const queue_options& options, const std::function<verdict(const packet&)>& judge) {
    constexpr std::uint16_t port = 5005;
    const kernel_tests::tcp_listener listener{far_ns(), far_address, port};
    const descriptor near = kernel_tests::tcp_connect(near_ns(), far_address, port);
    const descriptor far = listener.accept();
    must_run("iptables-legacy -w -A OUTPUT -p tcp --dport 5005 -j " + std::string(to_queue));
    queue q = must_open(options);
    transfer seen;
    std::thread server([&] {
      must(serve(q, [&](const packet& p) {
        if (p.original_length > 100) ++seen.packets;
        if (p.gso) ++seen.segmented;
        if (p.checksum_not_ready) ++seen.not_ready;
        seen.largest = std::max<std::size_t>(seen.largest, p.original_length);
        return judge(p);
      }));
    });
    const std::string much = text();
    std::thread sender([&] {
      for (std::size_t sent = 0; sent < much.size();) {
        const auto part = ::send(near.get(), much.data() + sent, much.size() - sent, MSG_NOSIGNAL);
        if (part <= 0) break;
        sent += static_cast<std::size_t>(part);
      }
      ::shutdown(near.get(), SHUT_WR);
    });
    std::vector<char> part(65536);
    for (ssize_t length; (length = ::recv(far.get(), part.data(), part.size(), 0)) > 0;) {
      seen.arrived.append(part.data(), static_cast<std::size_t>(length));
    }
    sender.join();
    q.stop();
    server.join();
    return seen;
  }
  static std::string text() {
    std::string much(1'000'000, '\0');
    for (std::size_t i = 0; i < much.size(); ++i) much[i] = static_cast<char>(i * 7 + i / 251);
    return much;
  }
};

TEST_F(live_attributes, of_sent_packets) {
  must_run("iptables-legacy -w -t mangle -A OUTPUT -p udp --dport 5000 -j MARK --set-mark 0x1234");
  flow4().rule("-A OUTPUT", to_queue);
  const int priority = 5;
  ASSERT_EQ(::setsockopt(flow4().near_socket().fd(), SOL_SOCKET, SO_PRIORITY, &priority, sizeof priority), 0);
  queue q = must_open();
  flow4().send("x");
  const batch got = must(q.receive(soon()));
  const packet& p = got[0];
  EXPECT_EQ(p.family, 2);
  EXPECT_EQ(p.hook, 3);
  EXPECT_EQ(p.hw_protocol, 0x800);
  EXPECT_EQ(p.mark, 0x1234u);
  EXPECT_EQ(p.priority, 5u);
  EXPECT_EQ(p.indev, 0u);
  EXPECT_EQ(p.outdev, index_of("near0"));
  EXPECT_EQ(p.hw_addr_length, 0);
  EXPECT_EQ(p.original_length, 29u);
  EXPECT_FALSE(p.truncated);
  EXPECT_FALSE(p.gso);
  EXPECT_FALSE(p.uid);
  EXPECT_FALSE(p.timestamp);
  EXPECT_FALSE(p.conntrack_info);
  EXPECT_TRUE(p.conntrack.empty());
  EXPECT_TRUE(p.security_context.empty());
  // A copy is the same, after the batch has ended.
  const owned_packet kept(p);
  must(q.set_verdict(p, verdict::accept()));
  flow4().send("another");
  static_cast<void>(q.receive(soon()));
  EXPECT_EQ(kept->mark, 0x1234u);
  EXPECT_EQ(static_cast<char>(kept->payload.back()), 'x');
}

TEST_F(live_attributes, of_received_packets) {
  flow4().rule("-A INPUT", to_queue);
  queue q = must_open();
  flow4().send_back("x");
  const batch got = must(q.receive(soon()));
  const packet& p = got[0];
  EXPECT_EQ(p.hook, 1);
  EXPECT_EQ(p.indev, index_of("near0"));
  EXPECT_EQ(p.outdev, 0u);
  ASSERT_EQ(p.hw_addr_length, 6);
  const std::array<std::uint8_t, 8> far_mac_bytes{2, 0, 0, 0, 0, 2};
  EXPECT_TRUE(std::equal(p.hw_addr.begin(), p.hw_addr.begin() + 6, far_mac_bytes.begin()));
  must(q.set_verdict(p, verdict::accept()));
  EXPECT_EQ(flow4().arrived_back(), "x");
}

TEST_F(live_attributes, of_bridged_packets) {
  // near0 and a port whose other end is here too: what far0 sends to that one crosses the bridge.
  must_run("ip -batch -",
           "link add port1 type veth peer name inner address 02:00:00:00:00:77\n"
           "link add bridge0 type bridge\n"
           "link set near0 master bridge0\n"
           "link set port1 master bridge0\n"
           "link set bridge0 addrgenmode none up\n"
           "link set port1 addrgenmode none up\n"
           "link set inner addrgenmode none up\n");
  for (const char* port : {"near0", "port1"}) {
    kernel_tests::wait_until("a port that forwards", [&] {
      return must_run(std::string("ip -d link show dev ") + port).find("forwarding") != std::string::npos;
    });
  }
  if (::access("/proc/sys/net/bridge/bridge-nf-call-iptables", F_OK) != 0)
    GTEST_SKIP() << "the kernel has no br_netfilter";
  must_run("iptables-legacy -w -A FORWARD -p udp --dport 5000 -j " + std::string(to_queue));
  queue q = must_open();
  kernel_tests::in(
      far_ns(), [] { return must_run("ip neigh replace 192.0.2.77 lladdr 02:00:00:00:00:77 nud permanent dev far0"); });
  const kernel_tests::udp_socket sender{far_ns(), far_address};
  sender.send("192.0.2.77", 5000, "x");
  const batch got = must(q.receive(soon()));
  EXPECT_EQ(got[0].hook, 2);
  EXPECT_EQ(got[0].indev, index_of("bridge0"));
  EXPECT_EQ(got[0].outdev, index_of("bridge0"));
  EXPECT_EQ(got[0].physindev, index_of("near0"));
  EXPECT_EQ(got[0].physoutdev, index_of("port1"));
}

TEST_F(live_attributes, security_context_is_granted_and_there_where_somebody_labels) {
  queued();
  queue q = must_open({.security_context = true});
  flow4().send("x");
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].security_context.find('\0'), std::string_view::npos);
  must(q.set_verdict(got[0], verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"x"}));
}

TEST_F(live_attributes, segments_come_one_by_one_without_gso) {
  const auto seen = send_much({.max_length = 10'000}, [](const packet&) { return verdict::accept(); });
  EXPECT_EQ(seen.segmented, 0u);
  EXPECT_EQ(seen.not_ready, 0u);
  EXPECT_LE(seen.largest, 1500u);
  EXPECT_TRUE(seen.arrived == text());
}

TEST_F(live_attributes, segments_come_together_with_gso) {
  const auto seen = send_much({.max_length = 10'000, .gso = true}, [](const packet&) { return verdict::accept(); });
  EXPECT_GT(seen.segmented, 0u);
  EXPECT_GT(seen.largest, 1500u);
  EXPECT_LT(seen.packets, 600u) << "it takes 690 segments";
  EXPECT_TRUE(seen.arrived == text());
}

TEST_F(live_attributes, segments_that_come_together_are_edited_and_arrive) {
  std::vector<std::byte> buffer;
  std::size_t edited = 0;
  const auto seen = send_much({.max_length = 10'000, .gso = true}, [&](const packet& p) {
    auto editor = packet_editor::edit(p, buffer);
    if (!editor) return verdict::drop();
    editor->set_ttl(9);
    if (p.gso) ++edited;
    return verdict::accept().with_payload(editor->finish());
  });
  EXPECT_GT(edited, 0u);
  EXPECT_GT(seen.not_ready, 0u) << "there was nothing to compute";
  EXPECT_TRUE(seen.arrived == text());
}

TEST_F(live_attributes, datagrams_whose_checksum_is_not_ready_are_edited_and_arrive) {
  queue q = must_open({.max_length = 1000, .gso = true});
  std::vector<std::byte> buffer;
  for (const auto protocol : {kernel_tests::ipv4, kernel_tests::ipv6}) {
    const flow& packets = flow_of(protocol).rule("-A OUTPUT", to_queue);
    for (const std::size_t size : {0u, 1u, 2u, 3u, 99u, 100u, 512u, 1023u, 1400u, 1452u, 4000u}) {
      SCOPED_TRACE(std::to_string(protocol) + ": " + std::to_string(size));
      for (const char filler : {'\0', 'a', '\xff'}) {
        std::string text(size, filler);
        packets.send(text);
        const batch got = must(q.receive(soon()));
        ASSERT_EQ(got.size(), 1u);
        // What is cut into fragments behind the queue has its checksum already.
        EXPECT_EQ(got[0].checksum_not_ready, size < 1500);
        auto editor = packet_editor::edit(got[0], buffer);
        ASSERT_TRUE(editor) << editor.error().message();
        editor->set_ttl(9);
        if (size > 0) {
          text[0] = 'x';
          const std::byte fresh[] = {std::byte{'x'}};
          ASSERT_TRUE(editor->overwrite_payload(0, fresh));
        }
        must(q.set_verdict(got[0], verdict::accept().with_payload(editor->finish())));
        must(q.flush());
        EXPECT_EQ(packets.arrived(), text);
      }
    }
  }
}

TEST_F(live_attributes, segments_of_udp_are_refused_by_the_editor_and_arrive_as_they_are) {
  queue q = must_open({.max_length = 1000, .gso = true});
  for (const auto protocol : {kernel_tests::ipv4, kernel_tests::ipv6}) {
    const flow& packets = flow_of(protocol).rule("-A OUTPUT", to_queue);
    const int segment = 1000;
    ASSERT_EQ(::setsockopt(packets.near_socket().fd(), SOL_UDP, UDP_SEGMENT, &segment, sizeof segment), 0);
    const std::string much = text().substr(0, 2500);
    packets.send(much);
    const batch got = must(q.receive(soon()));
    ASSERT_EQ(got.size(), 1u);
    EXPECT_TRUE(got[0].gso && got[0].checksum_not_ready);
    std::vector<std::byte> buffer;
    auto editor = packet_editor::edit(got[0], buffer);
    auto judged = verdict::accept();
    if (editor) {
      ADD_FAILURE() << "edited";
      editor->set_ttl(9);
      judged = judged.with_payload(editor->finish());
    } else {
      EXPECT_TRUE(editor.error().is(EOPNOTSUPP));
    }
    must(q.set_verdict(got[0], judged));
    must(q.flush());
    for (const std::size_t at : {0u, 1000u, 2000u}) EXPECT_TRUE(packets.arrived() == much.substr(at, 1000));
  }
}

TEST_F(live_attributes, truncated_segments_pass_unharmed) {
  const auto seen = send_much({.copy_range = 128, .max_length = 10'000, .gso = true}, [](const packet& p) {
    EXPECT_LE(p.payload.size(), 128u);
    EXPECT_EQ(p.truncated, p.original_length > 128);
    std::vector<std::byte> buffer;
    EXPECT_EQ(packet_editor::edit(p, buffer).has_value(), !p.truncated);
    return verdict::accept();
  });
  EXPECT_GT(seen.segmented, 0u);
  EXPECT_TRUE(seen.arrived == text());
}

}  // namespace
}  // namespace ipq
