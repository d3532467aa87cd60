// SPDX-License-Identifier: MIT
// Packets that a bridge forwards: queued by the bridge family of nftables, or by an IP rule through br_netfilter.
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <net/if.h>

#include <array>
#include <vector>

#include "ipq/edit.hpp"
#include "kernel/packet_bytes.hpp"
#include "kernel/process.hpp"
#include "stock_test.hpp"

namespace stock_kernels {
namespace {

using namespace kernel_tests;
using ipq::verdict;

constexpr std::uint8_t family_bridge = 7, hook_forward = 2;

std::vector<std::byte> byte_vector(std::initializer_list<int> values) {
  std::vector<std::byte> made;
  for (const int value : values) made.push_back(static_cast<std::byte>(value));
  return made;
}

template <class Range>
std::vector<std::byte> copied(const Range& from) {
  return {from.begin(), from.end()};
}

//   far_ns: far0 192.0.2.2 = near_ns: near0 bridge0 near1 = other_ns: other0 192.0.2.3 02:00:00:00:00:03
// Both ends also have VLAN 42: 198.51.100.2 on far0.42, 198.51.100.3 on other0.42.
class bridge : public network_test {
 protected:
  static constexpr std::string_view other_address = "192.0.2.3";

  void SetUp() override {
    network_test::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (run(split("ip link add link near0 name near0.9 type vlan id 9")).status != 0 ||
        !takes("table bridge ipq {}\n")) {
      GTEST_SKIP() << "this kernel has no VLANs, or no bridge tables for nft";
    }
    const std::string other_path = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(other_ns.fd());
    must_run("ip -batch -", "link add near1 type veth peer name other0 netns " + other_path +
                                "\n"
                                "addr flush dev near0\n"
                                "link add bridge0 type bridge\n"
                                "link set near0 master bridge0\n"
                                "link set near1 master bridge0 addrgenmode none up\n"
                                "link set bridge0 addrgenmode none up\n");
    in(other_ns, [] {
      return must_run("ip -batch -",
                      "link set lo up\n"
                      "link set other0 address 02:00:00:00:00:03 addrgenmode none up\n"
                      "addr add 192.0.2.3/24 dev other0\n"
                      "neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 nud permanent dev other0\n"
                      "link add link other0 name other0.42 type vlan id 42\n"
                      "link set other0.42 addrgenmode none up\n"
                      "addr add 198.51.100.3/24 dev other0.42\n"
                      "neigh add 198.51.100.2 lladdr 02:00:00:00:00:02 nud permanent dev other0.42\n");
    });
    in(far_ns(), [] {
      return must_run("ip -batch -",
                      "neigh add 192.0.2.3 lladdr 02:00:00:00:00:03 nud permanent dev far0\n"
                      "link add link far0 name far0.42 type vlan id 42 egress-qos-map 0:5\n"
                      "link set far0.42 addrgenmode none up\n"
                      "addr add 198.51.100.2/24 dev far0.42\n"
                      "neigh add 198.51.100.3 lladdr 02:00:00:00:00:03 nud permanent dev far0.42\n");
    });
    wait_for_path(far_ns(), far_address, other_ns, other_address);
    wait_for_path(far_ns(), "198.51.100.2", other_ns, "198.51.100.3");
    near0 = if_nametoindex("near0");
    near1 = if_nametoindex("near1");
    bridge0 = if_nametoindex("bridge0");
  }

  // What far_ns sends, but for IPv6, which has much to say by itself.
  static void queue_forwarded(int to = number) {
    const std::string queue = "queue num " + std::to_string(to) + ";\n";
    nft("table bridge ipq { chain forward {\n"
        "  type filter hook forward priority filter;\n"
        "  ether saddr != 02:00:00:00:00:02 accept;\n"
        "  ether type { ip, arp } " +
        queue + "  vlan id 42 vlan type ip " + queue + "}; }\n");
  }

  const netns other_ns = netns::create();
  uint32_t near0 = 0, near1 = 0, bridge0 = 0;
};

TEST_F(bridge, packet_has_family_ports_and_link_header) {
  queue_forwarded();
  ipq::queue q = must_open();
  const udp_socket from{far_ns(), far_address, flow::port}, to{other_ns, other_address, flow::port};
  from.send(other_address, flow::port, "across");
  const ipq::owned_packet queued = take(q);
  EXPECT_EQ(queued->family, family_bridge);
  EXPECT_EQ(queued->hook, hook_forward);
  EXPECT_EQ(queued->hw_protocol, ETH_P_IP);
  EXPECT_EQ(queued->physindev, near0);
  EXPECT_EQ(queued->physoutdev, near1);
  EXPECT_EQ(queued->indev, bridge0);
  EXPECT_EQ(queued->outdev, bridge0);
  EXPECT_EQ(copied(queued->l2_header), byte_vector({2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 2, 8, 0}));
  EXPECT_FALSE(queued->vlan);
  // From the IP header on, as in every family.
  EXPECT_EQ(std::to_integer<int>(queued->payload[0]), 0x45);
  EXPECT_EQ(queued->payload.size(), 28u + 6);
  EXPECT_TRUE(ends_with(queued.get(), "across"));
  EXPECT_EQ(to.receive(), "across");
}

TEST_F(bridge, packet_of_a_vlan_has_its_tag) {
  queue_forwarded();
  ipq::queue q = must_open();
  const udp_socket from{far_ns(), "198.51.100.2", flow::port}, to{other_ns, "198.51.100.3", flow::port};
  from.send("198.51.100.3", flow::port, "tagged");
  const ipq::owned_packet queued = take(q);
  ASSERT_TRUE(queued->vlan);
  EXPECT_EQ(queued->vlan->protocol, ETH_P_8021Q);
  EXPECT_EQ(queued->vlan->tci, 5 << 13 | 42) << "priority 5, VLAN 42";
  EXPECT_EQ(copied(queued->l2_header).size(), 14u);
  EXPECT_TRUE(ends_with(queued.get(), "tagged"));
  EXPECT_EQ(to.receive(), "tagged") << "and has it still when it arrives";
}

TEST_F(bridge, packet_is_dropped_by_its_verdict) {
  queue_forwarded();
  ipq::queue q = must_open();
  const udp_socket from{far_ns(), far_address, flow::port}, to{other_ns, other_address, flow::port};
  from.send(other_address, flow::port, "dropped");
  take(q, verdict::drop());
  from.send(other_address, flow::port, "accepted");
  take(q);
  EXPECT_EQ(to.receive(), "accepted");
  EXPECT_FALSE(to.receive_now());
}

TEST_F(bridge, edited_packet_arrives) {
  queue_forwarded();
  ipq::queue q = must_open();
  const udp_socket from{far_ns(), far_address, flow::port}, to{other_ns, other_address, flow::port};
  from.send(other_address, flow::port, "before");
  const ipq::batch got = must(q.receive(ipq::queue::clock::now() + patience));
  ASSERT_EQ(got.size(), 1u);
  std::vector<std::byte> buffer;
  auto editor = must(ipq::packet_editor::edit(got[0], buffer));
  const std::string text = "afterwards";
  must(editor.replace_payload(std::as_bytes(std::span(text))));
  must(q.set_verdict(got[0], verdict::accept().with_payload(editor.finish())));
  EXPECT_EQ(to.receive(), "afterwards");
}

TEST_F(bridge, frame_without_an_ip_packet_is_one_too) {
  queue_forwarded();
  ipq::queue q = must_open();
  const udp_socket from{far_ns(), far_address, flow::port};
  in(far_ns(), [] { return must_run("ip neigh del 192.0.2.3 dev far0"); });
  from.send(other_address, flow::port, "to whom?");
  const ipq::owned_packet queued = take(q);
  EXPECT_EQ(queued->hw_protocol, ETH_P_ARP);
  EXPECT_EQ(copied(queued->l2_header), byte_vector({255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 2, 8, 6}));
  EXPECT_EQ(queued->payload.size(), 28u) << "an ARP request, which is no IP packet";
  EXPECT_FALSE(ipq::decode(queued->payload));
}

// ip_queue had IPv4 and IPv6 only: a program of its time can't know what else there is.
TEST_F(bridge, packet_is_none_for_the_c_library_which_drops_and_counts_it) {
  queue_forwarded(0);
  handle h{ipv4, IPQ_COPY_PACKET};
  const udp_socket from{far_ns(), far_address, flow::port}, to{other_ns, other_address, flow::port};
  from.send(other_address, flow::port, "no IPv4 packet to iptables");
  wait_until("the packet is counted", [&] {
    EXPECT_TRUE(kernel_tests::nothing_to_read(h));
    return stats_of(h).wrong_family == 1;
  });
  EXPECT_FALSE(to.receive_now());
  EXPECT_EQ(waiting_packets(h, 0), 0u);
}

TEST_F(bridge, ip_rule_meets_the_packet_through_br_netfilter) {
  iptables("-A FORWARD -m physdev --physdev-in near0 --physdev-out near1 -p udp --dport 5000 -j NFQUEUE --queue-num 3");
  ipq::queue q = must_open();
  const udp_socket from{far_ns(), far_address, flow::port}, to{other_ns, other_address, flow::port};
  from.send(other_address, flow::port, "across");
  const ipq::owned_packet queued = take(q);
  EXPECT_EQ(queued->family, ipv4);
  EXPECT_EQ(queued->hook, hook_forward);
  EXPECT_EQ(queued->indev, bridge0);
  EXPECT_EQ(queued->outdev, bridge0);
  EXPECT_EQ(queued->physindev, near0);
  EXPECT_EQ(queued->physoutdev, near1);
  EXPECT_TRUE(queued->l2_header.empty());
  EXPECT_EQ(to.receive(), "across");
}

TEST_F(bridge, c_library_gets_the_packet_through_br_netfilter) {
  iptables("-A FORWARD -m physdev --physdev-in near0 -p udp --dport 5000 -j QUEUE");
  handle h{ipv4, IPQ_COPY_PACKET};
  const udp_socket from{far_ns(), far_address, flow::port}, to{other_ns, other_address, flow::port};
  from.send(other_address, flow::port, "before");
  const message m = read_packet(h);
  EXPECT_STREQ(m.packet().indev_name, "bridge0");
  EXPECT_STREQ(m.packet().outdev_name, "bridge0");
  set_verdict(h, m.id(), NF_ACCEPT, with_udp_payload(m.payload(), "afterwards"));
  EXPECT_EQ(to.receive(), "afterwards");
}

}  // namespace
}  // namespace stock_kernels
