// SPDX-License-Identifier: MIT
// What rules of ipq run do to connections.
#include <gtest/gtest.h>

#include "../tool/live_command.hpp"
#include "stock_test.hpp"

namespace stock_kernels {
namespace {

using command_rules = kernel_tests::flow_test;

TEST_F(command_rules, connmark_is_that_of_the_connection) {
  const std::string rules =
      "table inet ipq {\n"
      "  counter marked {}\n"
      "  chain first { type filter hook output priority 0; udp dport 5000 ct state new ct mark set 0xff; }\n"
      "  chain queued { type filter hook output priority 1; udp dport 5000 queue num 3; }\n"
      "  chain seen { type filter hook postrouting priority 0; ct mark 0x1f counter name marked; }\n"
      "}\n";
  if (!takes(rules)) GTEST_SKIP() << "this kernel has no connection tracking, or no queue statement, for nft";
  nft(rules);
  tool_tests::live_command command({"run", "-q", "3", "connmark 0x10/0xf0 : udp", "--count", "2"});
  flow4().send("first");
  flow6().send("first of the other family");
  EXPECT_EQ(flow4().arrived(), "first");
  EXPECT_EQ(flow6().arrived(), "first of the other family");
  EXPECT_EQ(command.end().status, 0);
  EXPECT_NE(kernel_tests::must_run("nft list counter inet ipq marked").find("packets 2 "), std::string::npos)
      << kernel_tests::must_run("nft list table inet ipq");
  EXPECT_NE(kernel_tests::must_run("cat /proc/thread-self/net/nf_conntrack").find("mark=31 "), std::string::npos);
}

}  // namespace
}  // namespace stock_kernels
