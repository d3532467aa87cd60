// SPDX-License-Identifier: MIT
// Status, interface names and the printed rules, on the real kernel.
#include "ipq/status.hpp"

#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "ipq/interfaces.hpp"
#include "ipq/queue.hpp"
#include "ipq/rule.hpp"
#include "kernel/child.hpp"
#include "kernel/netns.hpp"
#include "kernel/traffic.hpp"
#include "unit/without_capability.hpp"

namespace ipq {
namespace {

using kernel_tests::child;
using kernel_tests::must_run;
using kernel_tests::udp_socket;
using namespace std::chrono_literals;

constexpr std::uint16_t discard = 9;

queue must_open(const queue_options& options) {
  auto opened = queue::open(options);
  if (!opened) throw std::runtime_error(opened.error().message());
  return *std::move(opened);
}

using status_of_queues = kernel_tests::network_test;

TEST_F(status_of_queues, none) {
  if (!global_root("reading /proc/net/netfilter")) return;
  const auto queues = read_queue_status();
  ASSERT_TRUE(queues) << queues.error().message();
  EXPECT_TRUE(queues->empty());
}

TEST_F(status_of_queues, of_this_and_of_another_process) {
  if (!global_root("reading /proc/net/netfilter")) return;
  child holder([](const child::line& line) {
    ::prctl(PR_SET_NAME, "keeps (7) it");
    const auto theirs = must_open({.number = 1, .metadata_only = true});
    line.say("open");
    line.wait_for_go();
  });
  ASSERT_EQ(holder.hear(), "open");
  const auto ours = must_open({.number = 40000, .copy_range = 100});
  const auto queues = read_queue_status();
  ASSERT_TRUE(queues) << queues.error().message();
  ASSERT_EQ(queues->size(), 2u);
  const auto &first = (*queues)[0], &second = (*queues)[1];
  EXPECT_EQ(first.number, 1);
  EXPECT_EQ(first.pid, holder.pid());
  EXPECT_EQ(first.command, "keeps (7) it");
  EXPECT_EQ(first.mode, queue_status::copy_mode::metadata);
  EXPECT_EQ(second.number, 40000);
  EXPECT_EQ(second.pid, ::getpid());
  EXPECT_EQ(second.mode, queue_status::copy_mode::packet);
  EXPECT_EQ(second.copy_range, 100u);
  EXPECT_NE(first.port_id, second.port_id);
  EXPECT_NE(second.port_id, 0u);
}

TEST_F(status_of_queues, waiting_and_lost_packets_are_counted) {
  if (!global_root("reading /proc/net/netfilter")) return;
  iptables("-A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 2");
  const auto ours = must_open({.number = 2, .max_length = 3});
  const udp_socket sender(near_ns(), near_address);
  for (int i = 0; i < 5; ++i) sender.send(far_address, discard, "x");
  const auto queues = read_queue_status();
  ASSERT_TRUE(queues) << queues.error().message();
  ASSERT_EQ(queues->size(), 1u);
  EXPECT_EQ((*queues)[0].waiting, 3u);
  EXPECT_EQ((*queues)[0].lost_queue_full, 2u);
  EXPECT_EQ((*queues)[0].lost_no_buffer, 0u);
  EXPECT_EQ((*queues)[0].last_id, 3u);
}

TEST_F(status_of_queues, is_that_of_the_thread_s_namespace) {
  if (!global_root("reading /proc/net/netfilter")) return;
  const auto ours = must_open({.number = 2});
  EXPECT_EQ(read_queue_status()->size(), 1u);
  EXPECT_EQ(kernel_tests::in(far_ns(), [] { return read_queue_status(); })->size(), 0u);
}

TEST_F(status_of_queues, is_not_for_ordinary_users) {
  if (!global_root("becoming an ordinary user")) return;
  child ordinary([](const child::line& line) {
    if (::setegid(65534) != 0 || ::seteuid(65534) != 0) throw std::runtime_error("can't become an ordinary user");
    const auto queues = read_queue_status();
    line.say(queues ? "read" : queues.error().message());
    line.say(queues || queues.error().is(EACCES) ? "EACCES" : "another");
    const auto access = check_queue_access();
    line.say(access ? "allowed" : access.error().message());
  });
  EXPECT_EQ(ordinary.hear(),
            "read queues: Permission denied: the kernel shows its counters to root outside of user namespaces alone");
  EXPECT_EQ(ordinary.hear(), "EACCES");
  EXPECT_EQ(ordinary.hear(),
            "ask for access to queues: Operation not permitted: CAP_NET_ADMIN is missing in this network namespace");
}

TEST_F(status_of_queues, access_follows_the_capability) {
  EXPECT_TRUE(check_queue_access());
  const unit_tests::without_net_admin ordinary;
  const auto access = check_queue_access();
  ASSERT_FALSE(access);
  EXPECT_TRUE(access.error().is(EPERM));
}

using interfaces_by_index = kernel_tests::network_test;

TEST_F(interfaces_by_index, follow_renames) {
  const interface_names names;
  const auto index = ::if_nametoindex("near0");
  EXPECT_EQ(names.find(1).name_view(), "lo");
  EXPECT_EQ(names.find(1).type, 772);
  EXPECT_EQ(names.find(index).name_view(), "near0");
  EXPECT_EQ(names.find(index).type, 1);
  EXPECT_EQ(names.find(0).name_view(), "");
  EXPECT_EQ(names.find(9999).name_view(), "");
  must_run("ip link set dev near0 down");  // Linux 6.1 renames none that is up
  must_run("ip link set dev near0 name renamed0");
  std::this_thread::sleep_for(200us);
  EXPECT_EQ(names.find(index).name_view(), "renamed0");
}

TEST_F(interfaces_by_index, move_with_their_object) {
  interface_names names;
  EXPECT_EQ(names.find(1).name_view(), "lo");
  interface_names moved = std::move(names);
  EXPECT_EQ(moved.find(1).name_view(), "lo");
  names = std::move(moved);
  EXPECT_EQ(names.find(1).name_view(), "lo");
}

class printed_rules : public kernel_tests::network_test {
 protected:
  /// Which of the queues a datagram from near to far comes to; throws if it comes to none.
  std::uint16_t queue_of_datagram(std::vector<queue>& queues, std::string_view from, std::string_view to) {
    udp_socket(near_ns(), from).send(to, discard, "x");
    for (auto& each : queues) {
      if (const auto received = each.try_receive(); received && !received->empty()) return each.number();
    }
    throw std::runtime_error("the datagram came to no queue");
  }
};

TEST_F(printed_rules, for_iptables_feed_a_range) {
  std::istringstream lines(iptables_rule(
      {.at = hook::output, .first_queue = 4, .last_queue = 5, .bypass = true, .cpu_fanout = true}, "-p udp --dport 9"));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    // Where iptables is iptables-nft the commands are the same.
    const auto program = line.find(' ');
    must_run(line.insert(program, "-legacy -w"));
  }
  EXPECT_EQ(count, 2);
  std::vector<queue> queues;
  queues.push_back(must_open({.number = 4}));
  queues.push_back(must_open({.number = 5}));
  EXPECT_GE(queue_of_datagram(queues, near_address, far_address), 4);
  EXPECT_GE(queue_of_datagram(queues, near_address6, far_address6), 4);
}

TEST_F(printed_rules, for_iptables_are_taken_at_every_hook) {
  for (std::uint8_t number = 0; number < 5; ++number) {
    for (const bool range : {false, true}) {
      std::istringstream lines(iptables_rule({.at = static_cast<hook>(number),
                                              .first_queue = 1,
                                              .last_queue = static_cast<std::uint16_t>(range ? 65535 : 1),
                                              .bypass = range}));
      for (std::string line; std::getline(lines, line);) must_run(line.insert(line.find(' '), "-legacy -w"));
    }
  }
}

TEST_F(printed_rules, for_nft_are_taken_at_every_hook) {
  using enum feeding_rule::ip_family;
  const bool has_queue = kernel_tests::run({"nft", "-c", "-f", "-"}, nft_rule({})).status == 0;
  for (std::uint8_t number = 0; number < 5; ++number) {
    for (const auto family : {both, ipv4, ipv6}) {
      const feeding_rule rule{.at = static_cast<hook>(number),
                              .family = family,
                              .first_queue = 1,
                              .last_queue = 65535,
                              .bypass = true,
                              .cpu_fanout = true};
      const std::string text = nft_rule(rule, "udp dport 9");
      const auto checked = kernel_tests::run({"nft", "-c", "-f", "-"}, text);
      if (has_queue) {
        EXPECT_EQ(checked.status, 0) << text << checked.output;
      } else {
        // The kernel refuses the statement; what nft itself does not understand is a syntax error.
        EXPECT_NE(checked.output.find("No such file or directory"), std::string::npos) << text << checked.output;
      }
    }
  }
}

TEST_F(printed_rules, for_nft_feed_a_range) {
  const auto text = nft_rule({.first_queue = 4, .last_queue = 5}, "udp dport 9");
  const auto added = kernel_tests::run({"nft", "-f", "-"}, text);
  if (added.status != 0) {
    // Without the queue statement of nft (CONFIG_NFT_QUEUE) all else of it must be right.
    must_run("nft -f -", std::string(text).replace(text.find("queue num 4-5"), 13, "counter"));
    return;
  }
  std::vector<queue> queues;
  queues.push_back(must_open({.number = 4}));
  queues.push_back(must_open({.number = 5}));
  EXPECT_GE(queue_of_datagram(queues, near_address, far_address), 4);
  EXPECT_GE(queue_of_datagram(queues, near_address6, far_address6), 4);
}

}  // namespace
}  // namespace ipq
