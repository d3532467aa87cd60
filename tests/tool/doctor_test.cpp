// SPDX-License-Identifier: MIT
// ipq doctor: what it finds is put there first.
#include <gtest/gtest.h>

#include <fstream>

#include "ipq/queue.hpp"
#include "ipq_command.hpp"
#include "kernel/netns.hpp"

namespace tool_tests {
namespace {

using doctor = kernel_tests::network_test;

TEST_F(doctor, is_ready_and_proves_it) {
  const auto ended = ipq("doctor");
  EXPECT_EQ(ended.status, 0) << ended.output;
  EXPECT_TRUE(ended.output.ends_with("\nready\n")) << ended.output;
  EXPECT_TRUE(has(ended.output, "ok     proof       a packet was held, accepted and received in ")) << ended.output;
  EXPECT_TRUE(has(ended.output, "ok     rights ")) << ended.output;
  EXPECT_FALSE(has(ended.output, "WRONG")) << ended.output;
}

TEST_F(doctor, leaves_nothing_behind) {
  const auto before = kernel_tests::must_run("iptables-legacy-save");
  ipq("doctor");
  EXPECT_EQ(kernel_tests::must_run("iptables-legacy-save"), before);
  EXPECT_EQ(kernel_tests::must_run("nft list tables"), "");
}

TEST_F(doctor, says_what_is_missing_without_rights) {
  const auto ended = ipq_without_rights("doctor");
  EXPECT_EQ(ended.status, 3) << ended.output;
  EXPECT_TRUE(has(ended.output,
                  "WRONG  rights      CAP_NET_ADMIN is missing in this network namespace\n"
                  "                   remedy: sudo; "))
      << ended.output;
  EXPECT_TRUE(has(ended.output, "\nnot ready: ")) << ended.output;
}

TEST_F(doctor, finds_strict_reverse_path_filters) {
  EXPECT_TRUE(has(ipq("doctor").output, "ok     rp_filter ")) << ipq("doctor").output;
  const auto set = [](const char* of, const char* value) {
    std::ofstream("/proc/sys/net/ipv4/conf/" + std::string(of) + "/rp_filter") << value << '\n';
  };
  set("near0", "1");
  auto ended = ipq("doctor");
  EXPECT_EQ(ended.status, 0);
  EXPECT_TRUE(has(ended.output, "note   rp_filter   strict for near0: ")) << ended.output;
  EXPECT_TRUE(has(ended.output, "remedy: sysctl net.ipv4.conf.all.rp_filter=2")) << ended.output;
  set("near0", "0");
  set("all", "1");
  ended = ipq("doctor");
  EXPECT_TRUE(has(ended.output, "note   rp_filter   strict for all: ")) << ended.output;
  // 2 is loose, and the larger one counts.
  set("near0", "2");
  ended = ipq("doctor");
  EXPECT_TRUE(has(ended.output, "ok     rp_filter   strict for no interface\n")) << ended.output;
}

TEST_F(doctor, finds_owners_losses_and_rules_without_a_listener) {
  if (!global_root("the counters of queues")) return;
  EXPECT_TRUE(has(ipq("doctor").output, "ok     queues      all numbers are free"));
  const auto queue = ipq::queue::open({.number = 3});
  ASSERT_TRUE(queue);
  iptables("-A OUTPUT -p udp -j NFQUEUE --queue-balance 8:9");
  iptables("-A OUTPUT -p udp -m comment --comment ipq:1:1 -j NFQUEUE --queue-num 3");
  auto ended = ipq("doctor");
  EXPECT_EQ(ended.status, 0);
  EXPECT_TRUE(has(ended.output, "ok     rules       1 feeds a queue that is served\n")) << ended.output;
  EXPECT_TRUE(has(ended.output, "ok     queues      taken: 3 of ")) << ended.output;
  EXPECT_TRUE(has(ended.output,
                  "note   rules       iptables-legacy filter OUTPUT feeds queue 8-9, which nobody serves: "
                  "packets are dropped\n"))
      << ended.output;
  EXPECT_TRUE(has(ended.output,
                  "note   rules       1 rule was left by ipq processes that are gone\n"
                  "                   remedy: ipq cleanup\n"))
      << ended.output;
  iptables("-F OUTPUT");
  ended = ipq("doctor");
  EXPECT_TRUE(has(ended.output, "note   queues      queue 3: no rule feeds it\n")) << ended.output;
}

TEST_F(doctor, finds_a_small_buffer) {
  if (kernel_tests::rights_of_process() == kernel_tests::rights::global_root) {
    EXPECT_TRUE(has(ipq("doctor").output, "ok     buffer      receive buffers may have any size"));
  }
  std::int64_t most = 0;
  std::ifstream("/proc/sys/net/core/rmem_max") >> most;  // older kernels: in the first network namespace alone
  const auto ended = ipq_without_rights("doctor");
  EXPECT_TRUE(has(ended.output,
                  most == 0         ? "ok     buffer      net.core.rmem_max is not shown in this network namespace\n"
                  : most < 64 << 20 ? "note   buffer      net.core.rmem_max allows " + std::to_string(most) + " bytes: "
                                    : "ok     buffer      net.core.rmem_max is large enough\n"))
      << ended.output;
}

// A user namespace has limits of its own, which whoever made it may set.
TEST_F(doctor, finds_what_keeps_ordinary_users_from_private_networks) {
  EXPECT_TRUE(has(ipq("doctor").output, "ok     namespaces  ordinary users may have private networks\n"));
  for (const std::string limit : {"max_user_namespaces", "max_net_namespaces"}) {
    auto words = kernel_tests::split("unshare --user --net --map-root-user sh -c");
    words.push_back("echo 0 >/proc/sys/user/" + limit + "; exec " + command_path() + " doctor");
    const auto said = kernel_tests::run(words).output;
    EXPECT_TRUE(has(said, "note   namespaces  user." + limit +
                              " is 0: ordinary users have no private network\n"
                              "                   remedy: sysctl user." +
                              limit + "=15000\n"))
        << said;
  }
}

}  // namespace
}  // namespace tool_tests
