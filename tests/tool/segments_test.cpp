// SPDX-License-Identifier: MIT
// Packets that are more than one, or less: segments that are not cut yet, and fragments.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <regex>
#include <string>
#include <thread>

#include "ipq_command.hpp"
#include "kernel/flow.hpp"
#include "live_command.hpp"
#include "tcp_text.hpp"

namespace tool_tests {
namespace {

class segments : public kernel_tests::flow_test {
 protected:
  // What arrives of a text that goes to the far end by TCP.
  std::string through_tcp(const std::string& sent) const {
    const kernel_tests::tcp_listener listener(far_ns(), far_address, 5001);
    std::string received;
    std::jthread receiver([&] { received = receive_text(listener); });
    const auto connection = kernel_tests::tcp_connect(near_ns(), far_address, 5001);
    send_text(connection.get(), sent);
    receiver.join();
    return received;
  }
};

std::uint64_t packets_counted(const std::string& output, const std::string& name) {
  std::smatch found;
  if (!std::regex_search(output, found, std::regex(" ([0-9]+) +[0-9]+  count " + name + "\n"))) return 0;
  return std::stoull(found[1]);
}

TEST_F(segments, come_whole_with_gso_and_cut_without) {
  std::string sent;
  for (int i = 0; sent.size() < (1u << 20); ++i) sent += std::to_string(i) + ' ';
  for (const bool gso : {false, true}) {
    std::vector<std::string> words{"run", "--max-length", "10000", "--select", "output", "tcp dport 5001",
                                   // The second one is a change of a packet that is several.
                                   "count large, continue : greater 1501", "set ttl 9, count all"};
    if (gso) words.insert(words.begin() + 1, "--gso");
    live_command command(words);
    EXPECT_TRUE(through_tcp(sent) == sent);
    const auto ended = command.interrupt();
    EXPECT_EQ(ended.status, 0) << ended.output;
    EXPECT_GT(packets_counted(ended.output, "all"), 10u) << ended.output;
    EXPECT_EQ(packets_counted(ended.output, "large") > 0, gso) << ended.output;
    EXPECT_FALSE(has(ended.output, "could not be changed")) << ended.output;
  }
}

// The kernel makes the checksums of segments that it cuts, which would hide what was corrupted before.
TEST_F(segments, corrupted_bytes_never_arrive) {
  std::string sent;
  for (int i = 0; sent.size() < (1u << 20); ++i) sent += std::to_string(i) + ' ';
  for (const bool gso : {false, true}) {
    std::vector<std::string> words{"run", "--max-length", "10000",  "--seed",
                                   "3",   "--select",     "output", "tcp dport 5001"};
    // What is longer than the interface takes is several.
    words.emplace_back(gso ? "corrupt 100%, count hit : greater 1501" : "corrupt 3%, count hit : greater 1000");
    if (gso) words.emplace_back("--gso");
    live_command command(words);
    EXPECT_TRUE(through_tcp(sent) == sent);
    const auto ended = command.interrupt();
    EXPECT_EQ(ended.status, 0) << ended.output;
    const auto hit = packets_counted(ended.output, "hit");
    EXPECT_GT(hit, 3u) << ended.output;
    EXPECT_EQ(has(ended.output, "(" + std::to_string(hit) + " could not be changed)"), gso) << ended.output;
  }
}

// A datagram of three fragments, which are put together behind the hook.
TEST_F(segments, fragments_are_judged_one_by_one) {
  const std::string payload(3000, 'f');
  for (const auto protocol : {kernel_tests::ipv4, kernel_tests::ipv6}) {
    const bool is_ipv4 = protocol == kernel_tests::ipv4;
    const std::string later = is_ipv4 ? "ip[6:2] & 0x1fff != 0" : "ip6[6] = 44 and ip6[42:2] & 0xfff8 != 0";
    const std::string first = is_ipv4 ? "udp dst port 5000" : "ip6[6] = 44 and ip6[42:2] & 0xfff8 = 0";
    const std::string selected = is_ipv4 ? "ip saddr 192.0.2.2" : "ip6 saddr 2001:db8::2 ip6 daddr 2001:db8::1";
    {
      live_command command({"run", "--select", "prerouting", selected, "count first, set ttl 9 : " + first,
                            "count later, set ttl 9 : " + later});
      flow_of(protocol).send_back(payload);
      EXPECT_EQ(flow_of(protocol).arrived_back(), payload);
      const auto ended = command.interrupt();
      EXPECT_EQ(ended.status, 0);
      EXPECT_EQ(packets_counted(ended.output, "first"), 1u) << ended.output;
      EXPECT_EQ(packets_counted(ended.output, "later"), 2u) << ended.output;
    }
    {
      live_command command({"drop", "-t", "-v", "--select", "prerouting", selected, later});
      flow_of(protocol).send_back(payload);
      flow_of(protocol).send_back("whole");
      EXPECT_EQ(flow_of(protocol).arrived_back(), "whole") << "without all of its fragments none of it arrives";
      const auto ended = command.interrupt();
      EXPECT_TRUE(has(ended.output, "4 received, 2 accepted, 2 dropped")) << ended.output;
      EXPECT_TRUE(has(ended.output, "frag")) << ended.output;
    }
  }
}

// Its ports and addresses are in the first fragment, and so is the checksum over all of them.
TEST_F(segments, address_of_every_fragment_can_be_changed_and_ports_of_the_first) {
  const std::string payload(3000, 'f');
  live_command command({"run", "--select", "prerouting", "ip saddr 192.0.2.2", "set sport 5555, count changed : udp",
                        "set sport 5555, count whole"});
  flow4().send_back(payload);
  EXPECT_EQ(flow4().arrived_back(), payload) << "the checksum fits";
  const auto ended = command.interrupt();
  EXPECT_EQ(packets_counted(ended.output, "changed") + packets_counted(ended.output, "whole"), 3u) << ended.output;
  EXPECT_TRUE(has(ended.output, "(2 could not be changed)")) << ended.output;
}

}  // namespace
}  // namespace tool_tests
