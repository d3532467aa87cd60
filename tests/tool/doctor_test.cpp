// SPDX-License-Identifier: MIT
// ipq doctor: what it finds is put there first.
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <system_error>

#include "ipq/queue.hpp"
#include "ipq_command.hpp"
#include "kernel/netns.hpp"

namespace tool_tests {
namespace {

using doctor = kernel_tests::network_test;

// The command as an ordinary user of the machine finds it, with a capability or without.
class users_command {
 public:
  explicit users_command(bool net_admin = false) {
    char name[] = "/tmp/ipq_user_XXXXXX";
    if (mkdtemp(name) == nullptr) throw std::runtime_error("no folder for the command");
    folder_ = name;
    std::filesystem::copy_file(command_path(), path());
    if (chmod(name, 0755) != 0 || chmod(path().c_str(), 0755) != 0) throw std::runtime_error("chmod");
    if (!net_admin) return;
    vfs_cap_data capability{};
    capability.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE;
    capability.data[0].permitted = 1u << CAP_NET_ADMIN;
    if (setxattr(path().c_str(), "security.capability", &capability, XATTR_CAPS_SZ_2, 0) != 0) {
      throw std::system_error(errno, std::generic_category(), "give a file a capability");
    }
  }
  users_command(const users_command&) = delete;
  users_command& operator=(const users_command&) = delete;
  ~users_command() { std::filesystem::remove_all(folder_); }

  [[nodiscard]] kernel_tests::outcome run(const std::vector<std::string>& words) const {
    auto all = kernel_tests::split(
        "env -u XTABLES_LOCKFILE /usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all");
    all.push_back(path());
    all.insert(all.end(), words.begin(), words.end());
    return kernel_tests::run(all);
  }

 private:
  [[nodiscard]] std::string path() const { return folder_ / "ipq"; }

  std::filesystem::path folder_;
};

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

TEST_F(doctor, proves_it_to_ordinary_users) {
  if (!global_root("another user")) return;
  const auto ended = users_command().run({"doctor"});
  if (has(ended.output, "note   namespaces")) GTEST_SKIP() << "ordinary users have no private networks here";
  EXPECT_TRUE(has(ended.output, "ok     proof       a packet was held, accepted and received in ")) << ended.output;
  EXPECT_TRUE(has(ended.output, "queue rules are taken by iptables-legacy")) << ended.output;
  EXPECT_TRUE(has(ended.output, "\nnot ready: 1 thing to mend\n")) << ended.output;
  EXPECT_EQ(ended.status, 3) << "it has no rights outside";
}

// What the file's capability allows, iptables is not allowed. Nor needed where nftables has the queue statement.
TEST_F(doctor, rights_that_iptables_lacks_are_no_other_failure) {
  if (!global_root("another user")) return;
  const users_command capable(true);
  const auto watch = capable.run({"watch", "--for", "1ms", "--select", "output", "udp dport 1"});
  if (has(watch.output, "selected by nft")) {  // which is no other program
    EXPECT_EQ(watch.status, 0) << watch.output;
    return;
  }
  EXPECT_EQ(watch.status, 3) << watch.output;
  EXPECT_TRUE(has(watch.output, "run ipq as root, or modprobe nft_queue")) << watch.output;
  // Nor does a keeper go on trying to remove what could not be installed.
  EXPECT_EQ(kernel_tests::run({"pgrep", "-f", "ipq_user_[^ ]*/ipq watch --for 1ms"}).output, "");
  const auto cleanup = capable.run({"cleanup"});
  EXPECT_EQ(cleanup.status, 3) << cleanup.output;
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
