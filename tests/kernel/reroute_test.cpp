// SPDX-License-Identifier: MIT
// Packets in the OUTPUT hook take another way when a verdict changes their address, type of service or mark.
#include <gtest/gtest.h>

#include "flow.hpp"
#include "packet_bytes.hpp"

namespace kernel_tests {
namespace {

// A second link between the two namespaces, near1 and far1, that packets only take when they are re-routed.
class reroute : public flow_test {
 protected:
  void SetUp() override {
    flow_test::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const std::string far_path = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(far_ns().fd());
    must_run("ip link add near1 address 02:00:00:00:01:01 type veth peer name far1 address 02:00:00:00:01:02 netns " +
             far_path);
    in(far_ns(), [] {
      return must_run("ip -batch -",
                      "link set far1 addrgenmode none up\n"
                      "addr add 198.51.100.2/24 dev far1\n"
                      "addr add 2001:db8:1::2/64 dev far1 nodad\n");
    });
    must_run("ip -batch -",
             "link set near1 addrgenmode none up\n"
             "addr add 198.51.100.1/24 dev near1\n"
             "addr add 2001:db8:1::1/64 dev near1 nodad\n"
             "neigh add 198.51.100.2 lladdr 02:00:00:00:01:02 nud permanent dev near1\n"
             "neigh add 2001:db8:1::2 lladdr 02:00:00:00:01:02 nud permanent dev near1\n"
             "route add default via 198.51.100.2 table 7\n"
             "route add 192.0.2.2 via 198.51.100.2 table 7\n"
             "route add default via 2001:db8:1::2 table 7\n");
    wait_for_path(near_ns(), "198.51.100.1", far_ns(), "198.51.100.2");
    wait_for_path(near_ns(), "2001:db8:1::1", far_ns(), "2001:db8:1::2");
  }

  static std::string_view other_address(uint32_t protocol) {
    return protocol == ipv4 ? "198.51.100.2" : "2001:db8:1::2";
  }
};

TEST_F(reroute, changed_destination_takes_its_own_way) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    const udp_socket other{far_ns(), other_address(protocol), flow::port};
    const device_tap tap{far_ns(), "far1"};
    handle h{protocol, IPQ_COPY_PACKET};
    packets.send("elsewhere");
    const message m = read_packet(h);
    set_verdict(h, m.id(), NF_ACCEPT, with_destination(m.payload(), other_address(protocol)));
    EXPECT_EQ(udp_payload(tap.next()), "elsewhere");
    EXPECT_EQ(other.receive(), "elsewhere");
    EXPECT_TRUE(packets.nothing_arrived());
  }
}

TEST_F(reroute, changed_mark_takes_the_way_of_the_mark) {
  must_run("ip rule add fwmark 7 table 7");
  must_run("ip -6 rule add fwmark 7 table 7");
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    const device_tap first{far_ns(), "far0"}, second{far_ns(), "far1"};
    handle h{protocol, IPQ_COPY_PACKET};
    packets.send("with a mark");
    ASSERT_GT(ipq_set_vwmark(h, read_packet(h).id(), NF_ACCEPT, 7, 0, nullptr), 0);
    EXPECT_EQ(udp_payload(second.next()), "with a mark");
    packets.send("without");
    set_verdict(h, read_packet(h).id());
    EXPECT_EQ(udp_payload(first.next()), "without");
  }
}

TEST_F(reroute, changed_type_of_service_takes_its_way) {
  must_run("ip rule add tos 0x10 table 7");
  flow4().rule();
  const device_tap tap{far_ns(), "far1"};
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send("with low delay");
  const message m = read_packet(h);
  bytes changed = m.payload();
  changed[1] = 0x10;
  make_correct(changed);
  set_verdict(h, m.id(), NF_ACCEPT, changed);
  EXPECT_EQ(udp_payload(tap.next()), "with low delay");
}

TEST_F(reroute, changed_source_takes_its_way) {
  must_run("ip rule add from 198.51.100.1 table 7");
  must_run("ip -6 rule add from 2001:db8:1::1 table 7");
  for (auto [protocol, source] : {std::pair{ipv4, "198.51.100.1"}, {ipv6, "2001:db8:1::1"}}) {
    const flow& packets = flow_of(protocol).rule();
    const device_tap tap{far_ns(), "far1"};
    handle h{protocol, IPQ_COPY_PACKET};
    packets.send("from another");
    const message m = read_packet(h);
    const bytes changed = udp_packet(source, flow::port, packets.far_address(), flow::port, "from another");
    set_verdict(h, m.id(), NF_ACCEPT, changed);
    const bytes seen = tap.next();
    EXPECT_EQ(udp_payload(seen), "from another");
    EXPECT_EQ(source_of(seen), source);
  }
}

}  // namespace
}  // namespace kernel_tests
