// SPDX-License-Identifier: MIT
// What `duplicate` sends: copies that leave once each, and never where a firewall has a say yet.
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <fstream>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include "ipq_command.hpp"
#include "kernel/flow.hpp"
#include "live_command.hpp"

namespace tool_tests {
namespace {

using kernel_tests::must_run;
using kernel_tests::run;

class copies : public kernel_tests::flow_test {
 protected:
  // A network of both ends that has broadcasts.
  void SetUp() override {
    flow_test::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    must_run("ip address add 198.51.100.1/24 broadcast 198.51.100.255 dev near0");
    kernel_tests::in(far_ns(), [] { must_run("ip address add 198.51.100.2/24 broadcast 198.51.100.255 dev far0"); });
  }
  [[nodiscard]] kernel_tests::udp_socket broadcaster() const {
    kernel_tests::udp_socket near{near_ns(), "198.51.100.1"};
    const int on = 1;
    EXPECT_EQ(::setsockopt(near.fd(), SOL_SOCKET, SO_BROADCAST, &on, sizeof on), 0);
    return near;
  }
};

TEST_F(copies, are_sent_once_and_not_judged) {
  live_command command({"run", "--select", "output", "udp dport 5000", "duplicate 100%, count seen", "--count", "4"});
  flow4().send("twice");
  flow6().send("twice as well");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(flow4().arrived(), "twice");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(flow6().arrived(), "twice as well");
  const auto ended = command.end();
  EXPECT_TRUE(flow4().nothing_arrived());
  EXPECT_TRUE(has(ended.output, "4 received, 4 accepted")) << ended.output;
  EXPECT_TRUE(has(ended.output, "ipq run: 2 copies sent, 0 could not be\n")) << ended.output;
  EXPECT_TRUE(std::regex_search(ended.output, std::regex(" 2 +[0-9]+  count seen\n"))) << ended.output;
}

TEST_F(copies, of_broadcasts) {
  const kernel_tests::udp_socket far{far_ns(), "198.51.100.255", 5007};
  live_command command({"run", "--select", "output", "udp dport 5007", "duplicate 100%", "--count", "2"});
  broadcaster().send("198.51.100.255", 5007, "to all");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(far.receive(), "to all");
  const auto ended = command.end();
  EXPECT_TRUE(has(ended.output, "ipq run: 1 copies sent, 0 could not be\n")) << ended.output;
}

// Two interfaces have the same addresses behind them, of which only the link says which is meant.
TEST_F(copies, leave_by_the_link_of_their_packet) {
  must_run("ip -batch -",
           "link add other0 type veth peer name other1\n"
           "link set other0 addrgenmode none up\n"
           "link set other1 addrgenmode none up\n"
           "address add fe80::1/64 dev other0 nodad\n"
           "address add fe80::1/64 dev near0 nodad\n");
  const kernel_tests::device_tap other{near_ns(), "other0"}, right{far_ns(), "far0"};
  const auto index_of = [](const char* name) { return static_cast<int>(::if_nametoindex(name)); };
  live_command command({"run", "--select", "output", "udp dport 5007", "duplicate 100%", "--count", "4"});
  const kernel_tests::udp_socket near{near_ns(), "::"};
  for (const char* device : {"near0", "other0"}) {
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    to.sin6_port = htons(5007);
    to.sin6_addr = {{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}};
    to.sin6_scope_id = static_cast<std::uint32_t>(index_of(device));
    ASSERT_EQ(::sendto(near.fd(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to), 1);
  }
  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE(right.next().empty());
    EXPECT_FALSE(other.next().empty());
  }
  EXPECT_TRUE(has(command.end().output, "ipq run: 2 copies sent, 0 could not be\n"));
}

// The copy would come in by lo, which firewalls let pass.
TEST_F(copies, pass_by_no_firewall_of_the_machine) {
  iptables("-t mangle -A PREROUTING -p udp --dport 5000 -j NFQUEUE --queue-num 0");
  iptables("-A INPUT -i near0 -p udp --dport 5000 -j DROP");
  live_command command({"run", "duplicate 100%, count seen", "--count", "1"});
  flow4().send_back("dropped");
  const auto ended = command.end();
  EXPECT_TRUE(flow4().nothing_arrived_back());
  EXPECT_TRUE(has(ended.output, "duplicate 100%, count seen (1 could not be changed)\n")) << ended.output;
}

TEST_F(copies, pass_by_no_firewall_of_a_router) {
  std::ofstream("/proc/sys/net/ipv4/ip_forward") << 1;
  must_run("ip -batch -",
           "link add behind type veth peer name beyond\n"
           "link set behind up\n"
           "link set beyond up\n"
           "address add 203.0.113.1/24 dev behind\n"
           "neigh add 203.0.113.2 lladdr 02:00:00:00:00:07 dev behind\n");
  kernel_tests::in(far_ns(), [] { must_run("ip route add 203.0.113.0/24 via 192.0.2.1"); });
  iptables("-t mangle -A FORWARD -p udp --dport 5000 -j NFQUEUE --queue-num 0");
  iptables("-A FORWARD -p udp --dport 5000 -j DROP");
  const kernel_tests::device_tap behind{near_ns(), "behind"};
  const kernel_tests::udp_socket far{far_ns(), "192.0.2.2"};
  live_command command({"run", "duplicate 100%", "--count", "1"});
  far.send("203.0.113.2", 5000, "dropped");
  const auto ended = command.end();
  far.send("203.0.113.2", 5001, "not queued");
  EXPECT_EQ(behind.next().size(), 28 + std::string("not queued").size());
  EXPECT_TRUE(has(ended.output, "duplicate 100% (1 could not be changed)\n")) << ended.output;
}

// Each would get the other's copy as a packet like any other.
TEST_F(copies, of_broadcasts_are_not_copied_by_a_neighbour) {
  const auto queue_them = [] { iptables("-t mangle -A PREROUTING -p udp --dport 5007 -j NFQUEUE --queue-num 0"); };
  queue_them();
  kernel_tests::in(far_ns(), queue_them);
  const kernel_tests::udp_socket there{far_ns(), "198.51.100.255", 5007};
  // It comes back to its sender, too.
  live_command near({"run", "duplicate 100%", "--count", "1"});
  std::optional<live_command> far;
  kernel_tests::in(far_ns(), [&] { far.emplace(std::vector<std::string>{"run", "duplicate 100%"}); });
  broadcaster().send("198.51.100.255", 5007, "to all");
  EXPECT_EQ(there.receive(), "to all");
  for (const auto& ended : {near.end(), far->interrupt()}) {
    EXPECT_TRUE(has(ended.output, "ipq run: 1 received, 1 accepted")) << ended.output;
    EXPECT_TRUE(has(ended.output, "duplicate 100% (1 could not be changed)\n")) << ended.output;
    EXPECT_FALSE(has(ended.output, "copies sent")) << ended.output;
  }
  EXPECT_EQ(there.receive_now(), std::nullopt);
}

// Behind that hook the sender itself gets one, and of its copies as well.
TEST_F(copies, of_broadcasts_at_postrouting_come_to_an_end) {
  const kernel_tests::udp_socket there{far_ns(), "198.51.100.255", 5007};
  live_command command({"run", "--select", "postrouting", "udp dport 5007", "duplicate 100%", "--count", "6"});
  broadcaster().send("198.51.100.255", 5007, "to all");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(there.receive(), "to all");
  const auto ended = command.end();
  EXPECT_EQ(there.receive_now(), std::nullopt);
  EXPECT_TRUE(has(ended.output, "ipq run: 6 received, 6 accepted")) << ended.output;
  EXPECT_FALSE(has(ended.output, "still waiting:")) << ended.output;
  EXPECT_TRUE(has(ended.output, "ipq run: 2 copies sent, 0 could not be\n")) << ended.output;
}

TEST_F(copies, are_refused_where_no_hook_that_is_selected_permits_them) {
  const auto ended = run({command_path(), "run", "--select", "prerouting", "udp dport 5000", "--select", "forward", "",
                          "accept : tcp", "log, duplicate 1%"});
  EXPECT_EQ(ended.status, 2);
  EXPECT_EQ(ended.output,
            "ipq run: rule 2:1:6: copies are sent at output and postrouting alone, as elsewhere they would pass by the "
            "firewall behind the queue: --select prerouting 'udp dport 5000' gives no packet that could be copied; "
            "select one of these\n  log, duplicate 1%\n       ^\n");
  EXPECT_EQ(queue_rules(), "");
  live_command one_does({"run", "--select", "input", "udp dport 5000", "--select", "output", "udp dport 5000",
                         "duplicate 100%", "--count", "3"});
  flow4().send_back("once");
  flow4().send("twice");
  EXPECT_EQ(flow4().arrived_back(), "once");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(flow4().arrived(), "twice");
  EXPECT_TRUE(has(one_does.end().output, "duplicate 100% (1 could not be changed)\n"));
  EXPECT_TRUE(flow4().nothing_arrived_back());
}

TEST_F(copies, need_a_right) {
  const auto ended =
      run({"setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all", command_path(), "run", "duplicate 10%"});
  EXPECT_EQ(ended.status, 3) << ended.output;
  EXPECT_TRUE(has(ended.output, "ipq run: rule 1:1:1: sending copies of packets takes CAP_NET_RAW")) << ended.output;
}

}  // namespace
}  // namespace tool_tests
