// SPDX-License-Identifier: MIT
// ipq status and ipq cleanup: real queues, real rules, the real binary.
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "ipq/queue.hpp"
#include "ipq_command.hpp"
#include "kernel/child.hpp"
#include "kernel/netns.hpp"
#include "kernel/traffic.hpp"

namespace tool_tests {
namespace {

using kernel_tests::child;
using kernel_tests::must_run;
using kernel_tests::udp_socket;
using nlohmann::json;

ipq::queue must_open(const ipq::queue_options& options) {
  auto opened = ipq::queue::open(options);
  if (!opened) throw std::runtime_error(opened.error().message());
  return *std::move(opened);
}

class status : public kernel_tests::network_test {
 protected:
  void SetUp() override {
    network_test::SetUp();
    if (!IsSkipped()) global_root("the counters of queues");
  }
};

TEST_F(status, of_nothing) {
  EXPECT_EQ(must_ipq("status"), "There is no queue, and no rule that feeds one.\n");
  EXPECT_EQ(json::parse(must_ipq("status --json")), json::parse(R"({"queues": [], "unserved": []})"));
}

TEST_F(status, shows_queues_with_owner_counters_and_rules) {
  const auto queue = must_open({.number = 3, .copy_range = 100, .max_length = 2});
  iptables("-A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 3");
  const udp_socket sender(near_ns(), near_address);
  for (int i = 0; i < 5; ++i) sender.send(far_address, 9, "x");

  const auto text = must_ipq("status");
  const std::string owner = "(pid " + std::to_string(::getpid()) + ")";
  EXPECT_TRUE(has(text, "QUEUE  OWNER")) << text;
  EXPECT_TRUE(has(text, owner)) << text;
  EXPECT_TRUE(has(text, "packet      100        2          3            0        2\n")) << text;
  EXPECT_TRUE(
      has(text, "       fed by iptables-legacy filter OUTPUT: -p udp -m udp --dport 9 -j NFQUEUE --queue-num 3\n"))
      << text;
  EXPECT_FALSE(has(text, "\033")) << "no colours in a file";

  const auto shown = json::parse(must_ipq("status --json"));
  ASSERT_EQ(shown["queues"].size(), 1u);
  const auto& first = shown["queues"][0];
  EXPECT_EQ(first["number"], 3);
  EXPECT_EQ(first["pid"], ::getpid());
  EXPECT_EQ(first["mode"], "packet");
  EXPECT_EQ(first["copy_range"], 100);
  EXPECT_EQ(first["waiting"], 2);
  EXPECT_EQ(first["lost_queue_full"], 3);
  EXPECT_EQ(first["lost_no_buffer"], 0);
  EXPECT_EQ(first["last_id"], 2);
  EXPECT_EQ(first["fed_by"][0]["place"], "filter OUTPUT");
  EXPECT_EQ(first["fed_by"][0]["bypass"], false);
  EXPECT_EQ(shown["unserved"].size(), 0u);

  const auto metrics = must_ipq("status --prometheus");
  const std::string labels =
      "{queue=\"3\",owner=\"" + first["command"].get<std::string>() + "\",pid=\"" + std::to_string(::getpid()) + "\"";
  // The names are those of ipq run --metrics.
  EXPECT_TRUE(has(metrics, "# TYPE ipq_queue_waiting_packets gauge\nipq_queue_waiting_packets" + labels + "} 2\n"))
      << metrics;
  EXPECT_TRUE(has(metrics, "# TYPE ipq_queue_lost_total counter\nipq_queue_lost_total" + labels +
                               ",cause=\"queue_full\"} 3\nipq_queue_lost_total" + labels + ",cause=\"no_buffer\"} 0\n"))
      << metrics;
  EXPECT_TRUE(has(metrics, "ipq_queue_packets_total" + labels + "} 2\n")) << metrics;
}

TEST_F(status, shows_rules_that_nobody_serves) {
  const auto queue = must_open({.number = 5});
  iptables("-t mangle -A INPUT -j NFQUEUE --queue-balance 4:6 --queue-bypass");
  must_run("ip6tables-nft -w -A OUTPUT -p udp -j NFQUEUE --queue-num 7");
  const auto text = must_ipq("status");
  EXPECT_TRUE(has(text, "    4  nobody: packets pass (bypass)\n       fed by iptables-legacy mangle INPUT: ")) << text;
  EXPECT_TRUE(has(text, "    6  nobody: packets pass (bypass)\n")) << text;
  EXPECT_TRUE(has(text, "    7  nobody: packets are dropped\n       fed by ip6tables-nft filter OUTPUT: -p udp"))
      << text;
  const auto shown = json::parse(must_ipq("status --json"));
  ASSERT_EQ(shown["unserved"].size(), 3u);
  EXPECT_EQ(shown["unserved"][2]["first"], 7);
  EXPECT_EQ(shown["queues"][0]["fed_by"].size(), 1u);
  EXPECT_TRUE(has(must_ipq("status --prometheus"),
                  "ipq_queue_unserved{queues=\"7\",by=\"ip6tables-nft\",place=\"filter OUTPUT\",bypass=\"no\"} 1\n"));
}

TEST_F(status, shows_rules_of_nft) {
  const auto added = kernel_tests::run({"nft", "-f", "-"},
                                       "table inet mine {\n chain out {\n  type filter hook output priority 0;\n  udp "
                                       "dport 53 queue num 4-5 bypass\n }\n}\n");
  if (added.status != 0) {
    // Without the statement there can be no such rule; the reading of it is tested beside the source.
    EXPECT_TRUE(has(added.output, "No such file or directory")) << added.output;
    return;
  }
  const auto shown = json::parse(must_ipq("status --json"));
  ASSERT_EQ(shown["unserved"].size(), 1u);
  EXPECT_EQ(shown["unserved"][0]["first"], 4);
  EXPECT_EQ(shown["unserved"][0]["last"], 5);
  EXPECT_EQ(shown["unserved"][0]["fed_by"]["by"], "nft");
  EXPECT_EQ(shown["unserved"][0]["fed_by"]["place"], "inet mine out");
  EXPECT_EQ(shown["unserved"][0]["fed_by"]["bypass"], true);
  EXPECT_TRUE(has(must_ipq("status"), "udp dport 53 queue"));
}

TEST_F(status, queue_that_no_rule_feeds) {
  const auto queue = must_open({.number = 5, .metadata_only = true});
  const auto text = must_ipq("status");
  EXPECT_TRUE(has(text, "metadata")) << text;
  EXPECT_TRUE(has(text, "       no rule feeds it\n")) << text;
}

// A process chooses its name; it must not steer the terminal of who looks, nor break the formats.
TEST_F(status, name_of_an_owner_is_harmless) {
  child owner([](const child::line& line) {
    ::prctl(PR_SET_NAME, "\033[2J\"\\\n\xff{x}");
    const auto queue = must_open({.number = 9});
    line.say("open");
    line.wait_for_go();
  });
  ASSERT_EQ(owner.hear(), "open");
  const auto text = must_ipq("status");
  EXPECT_TRUE(has(text, "?[2J\"\\??{x} (pid ")) << text;
  EXPECT_EQ(json::parse(must_ipq("status --json"))["queues"][0]["pid"], owner.pid());
  EXPECT_TRUE(has(must_ipq("status --prometheus"), "owner=\"?[2J\\\"\\\\?"));
}

TEST_F(status, of_another_namespace) {
  const auto queue = must_open({.number = 3});
  const std::string far = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(far_ns().fd());
  EXPECT_EQ(must_ipq("status --netns " + far), "There is no queue, and no rule that feeds one.\n");
  EXPECT_TRUE(has(must_ipq("status"), "    3  "));
}

TEST_F(status, again_and_again) {
  EXPECT_EQ(must_ipq("status --watch --count 3 --interval 0.01"),
            "There is no queue, and no rule that feeds one.\n"
            "There is no queue, and no rule that feeds one.\n"
            "There is no queue, and no rule that feeds one.\n");
}

TEST_F(status, watched_for_machines_is_an_object_a_line) {
  EXPECT_EQ(must_ipq("status --json --watch --count 2 --interval 0.01"),
            "{\"queues\":[],\"unserved\":[]}\n{\"queues\":[],\"unserved\":[]}\n");
}

TEST_F(status, wrong_usage) {
  EXPECT_EQ(ipq("status --json --prometheus").status, 2);
  EXPECT_EQ(ipq("status --count 3").status, 2);
  EXPECT_EQ(ipq("status --watch --interval 0").status, 2);
  EXPECT_EQ(ipq("status --watch --count 1.5").status, 2);
  EXPECT_EQ(ipq("status queue").status, 2);
}

TEST_F(status, without_rights) {
  const auto ended = ipq_without_rights("status");
  EXPECT_EQ(ended.status, 3);
  EXPECT_EQ(ended.output,
            "ipq status: ask for access to queues: Operation not permitted: CAP_NET_ADMIN is missing in "
            "this network namespace\n");
}

// ---- what works for root of a user namespace as well

using cleanup = kernel_tests::network_test;

TEST_F(cleanup, removes_what_dead_processes_left_and_nothing_else) {
  EXPECT_EQ(must_ipq("cleanup"), "There was nothing to remove.\n");
  iptables("-t mangle -A OUTPUT -p udp -m comment --comment ipq:1:1 -j NFQUEUE --queue-num 3");
  ip6tables("-t mangle -A OUTPUT -p udp -m comment --comment ipq:1:1 -j NFQUEUE --queue-num 3");
  must_run("iptables-nft -w -t mangle -A INPUT -m comment --comment ipq:1:1:7 -j NFQUEUE --queue-num 3");
  iptables("-A OUTPUT -p udp -m comment --comment mine -j NFQUEUE --queue-num 3");
  iptables("-A OUTPUT -p udp -m comment --comment ipq:mine -j NFQUEUE --queue-num 3");

  const auto listed = must_ipq("cleanup --dry-run");
  EXPECT_EQ(std::ranges::count(listed, '\n'), 3) << listed;
  EXPECT_TRUE(has(listed, "ip6tables-legacy -t mangle -A OUTPUT -p udp -m comment --comment \"ipq:1:1\" -j NFQUEUE") ||
              has(listed, "ip6tables-legacy -t mangle -A OUTPUT -p udp -m comment --comment ipq:1:1 -j NFQUEUE"))
      << listed;
  EXPECT_EQ(must_ipq("cleanup"), "Removed 3 rules.\n");
  EXPECT_EQ(must_ipq("cleanup --dry-run"), "");
  const auto left = must_run("iptables-legacy -w -S OUTPUT");
  EXPECT_TRUE(has(left, "--comment mine")) << left;
  EXPECT_TRUE(has(left, "ipq:mine")) << left;
}

// As where ipv6.disable=1: what lists that family's tables would try to make one, and fail.
TEST_F(cleanup, works_where_one_family_has_no_tables) {
  iptables("-t mangle -A OUTPUT -p udp -m comment --comment ipq:1:1 -j NFQUEUE --queue-num 3");
  const std::filesystem::path folder = "/tmp/ipq_refusing_" + std::to_string(::getpid());
  std::filesystem::create_directory(folder);
  std::ofstream(folder / "ip6tables-legacy-save") << "#!/bin/sh\necho no such family\nexit 1\n";
  std::filesystem::permissions(folder / "ip6tables-legacy-save", std::filesystem::perms::owner_all);
  const auto ended =
      kernel_tests::run({"unshare", "-m", "sh", "-c",
                         "net=/proc/$$/task/$$/net; mount -t tmpfs none $net && echo mangle >$net/ip_tables_names && "
                         "PATH=$0:$PATH exec \"$1\" cleanup",
                         folder.string(), command_path()});
  std::filesystem::remove_all(folder);
  EXPECT_EQ(ended.output, "Removed 1 rule.\n");
}

TEST_F(cleanup, without_rights_says_so_instead_of_nothing_to_remove) {
  const auto ended = ipq_without_rights("cleanup");
  EXPECT_EQ(ended.status, 3);
  EXPECT_TRUE(has(ended.output, "ipq cleanup: ")) << ended.output;
  EXPECT_TRUE(has(ended.output, "CAP_NET_ADMIN is missing")) << ended.output;
}

using status_in_a_user_namespace = kernel_tests::network_test;

TEST_F(status_in_a_user_namespace, says_what_it_lacks) {
  if (kernel_tests::queue_counters_are_shown()) return;  // to this root they are shown
  const auto ended = ipq("status");
  EXPECT_EQ(ended.status, 3);
  EXPECT_EQ(ended.output,
            "ipq status: read queues: Permission denied: the kernel shows its counters to root outside of "
            "user namespaces alone\n");
}

}  // namespace
}  // namespace tool_tests
