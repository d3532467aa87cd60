// SPDX-License-Identifier: MIT
// Interface names on the real kernel: interfaces come, go and change their names.
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>

#include <stdexcept>
#include <string>
#include <thread>

#include "kernel/child.hpp"
#include "kernel/command.hpp"
#include "kernel/netns.hpp"
#include "netlink/interfaces.hpp"

namespace ipq::netlink {
namespace {

using kernel_tests::child;
using kernel_tests::must_run;
using namespace std::chrono_literals;

constexpr std::uint16_t ethernet = 1, loopback = 772;

class interfaces_of_a_namespace : public kernel_tests::network_test {
 protected:
  interfaces names{kernel()};

  std::string name_of(std::uint32_t index) { return names.find(index).name.data(); }
  // Before Linux 6.2 an interface that is up keeps its name.
  static void rename(const std::string& from, const std::string& to) {
    must_run("ip -batch -",
             "link set " + from + " down\nlink set " + from + " name " + to + "\nlink set " + to + " up\n");
  }
  static void wait_out_memory() { std::this_thread::sleep_for(interfaces::max_age + 1us); }
};

TEST_F(interfaces_of_a_namespace, names_and_types) {
  EXPECT_EQ(name_of(1), "lo");
  EXPECT_EQ(names.find(1).type, loopback);
  EXPECT_EQ(name_of(::if_nametoindex("near0")), "near0");
  EXPECT_EQ(names.find(::if_nametoindex("near0")).type, ethernet);
  EXPECT_EQ(name_of(9999), "");
}

TEST_F(interfaces_of_a_namespace, rename_is_followed_at_once) {
  const std::uint32_t index = ::if_nametoindex("near0");
  EXPECT_EQ(name_of(index), "near0");
  for (int i = 0; i < 20; ++i) {
    const std::string name = "renamed" + std::to_string(i);
    rename(i == 0 ? "near0" : "renamed" + std::to_string(i - 1), name);
    EXPECT_EQ(name_of(index), name);
  }
}

TEST_F(interfaces_of_a_namespace, re_creation_under_the_same_index_is_followed) {
  must_run("ip link add one index 700 type veth peer name other");
  EXPECT_EQ(name_of(700), "one");
  EXPECT_EQ(names.find(700).type, ethernet);
  must_run("ip link del one");
  must_run("ip link add two index 700 type bridge");
  wait_out_memory();
  EXPECT_EQ(name_of(700), "two");
  must_run("ip link del two");
  wait_out_memory();
  EXPECT_EQ(name_of(700), "");
}

TEST_F(interfaces_of_a_namespace, longest_name) {
  rename("near0", "fifteen_letters");
  EXPECT_EQ(name_of(::if_nametoindex("fifteen_letters")), "fifteen_letters");
}

// More announcements than the socket holds: the kernel tells of a loss (ENOBUFS), which counts as a change.
TEST_F(interfaces_of_a_namespace, regress_overrun_of_announcements_is_survived) {
  const std::uint32_t index = ::if_nametoindex("near0");
  EXPECT_EQ(name_of(index), "near0");
  std::string batch;
  for (int i = 0; i < 2000; ++i) batch += "link set lo mtu " + std::to_string(10'000 + i) + "\n";
  must_run("ip -batch -", batch);
  rename("near0", "lost0");
  wait_out_memory();
  EXPECT_EQ(name_of(index), "lost0");
  rename("lost0", "found0");
  wait_out_memory();
  EXPECT_EQ(name_of(index), "found0");
}

TEST_F(interfaces_of_a_namespace, thread_that_has_moved_still_hears_of_the_first_one) {
  const std::uint32_t index = ::if_nametoindex("near0");
  EXPECT_EQ(name_of(1), "lo");
  const kernel_tests::inside elsewhere(far_ns());
  rename("far0", "elsewhere0");
  EXPECT_EQ(name_of(index), "near0");
  kernel_tests::in(near_ns(), [] {
    rename("near0", "renamed0");
    return true;
  });
  wait_out_memory();
  EXPECT_EQ(name_of(index), "renamed0");
}

// Both processes inherit the memory; neither may take the announcements or answers of the other.
TEST_F(interfaces_of_a_namespace, child_and_parent_of_a_fork_both_follow) {
  const std::uint32_t index = ::if_nametoindex("near0");
  EXPECT_EQ(name_of(index), "near0");
  child forked([&](const child::line& line) {
    line.say(name_of(index));
    line.wait_for_go();
    wait_out_memory();
    line.say(name_of(index));
    line.wait_for_go();
  });
  EXPECT_EQ(forked.hear(), "near0");
  rename("near0", "renamed0");
  forked.go();
  EXPECT_EQ(forked.hear(), "renamed0");
  wait_out_memory();
  EXPECT_EQ(name_of(index), "renamed0");
  forked.go();
  EXPECT_EQ(forked.wait(), 0);
}

}  // namespace
}  // namespace ipq::netlink
