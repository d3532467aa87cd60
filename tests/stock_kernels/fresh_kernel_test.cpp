// SPDX-License-Identifier: MIT
// A machine on which nobody has used a queue yet: modules come by themselves, and where they can't, errors say so.
// Runs before everything else, since nothing takes the modules away again.
#include <gtest/gtest.h>

#include <fstream>

#include "stock_test.hpp"

namespace stock_kernels {
namespace {

using namespace kernel_tests;

bool is_loaded(std::string_view module) {
  std::ifstream modules("/proc/modules");
  for (std::string line; std::getline(modules, line);) {
    if (line.starts_with(std::string{module} + " ")) return true;
  }
  return false;
}

// The kernel can't load modules as long as this lives.
class without_modprobe {
 public:
  without_modprobe() { set("/bin/false"); }
  without_modprobe(const without_modprobe&) = delete;
  without_modprobe& operator=(const without_modprobe&) = delete;
  ~without_modprobe() { set("/sbin/modprobe"); }

 private:
  static void set(const char* program) { std::ofstream("/proc/sys/kernel/modprobe") << program << std::flush; }
};

class fresh_kernel : public network_test {
 protected:
  void SetUp() override {
    if (!may_change_the_machine()) GTEST_SKIP() << "takes a machine of its own: ./dev test-kernels";
    network_test::SetUp();
  }
  static void expect_no_queue_for_cpp() {
    const auto refused = ipq::queue::open({.number = number});
    ASSERT_FALSE(refused);
    EXPECT_TRUE(refused.error().is(ENOSYS));
    EXPECT_EQ(refused.error().message(),
              "bind queue 3: Function not implemented: the kernel has no nfnetlink_queue "
              "(CONFIG_NETFILTER_NETLINK_QUEUE)");
  }
};

TEST_F(fresh_kernel, without_nfnetlink_both_libraries_say_what_is_missing) {
  ASSERT_FALSE(is_loaded("nfnetlink")) << "this test has to be the first";
  const without_modprobe never;
  expect_no_queue_for_cpp();
  EXPECT_EQ(ipq_create_handle(0, PF_INET), nullptr);
  EXPECT_EQ(errno, EPROTONOSUPPORT);
  EXPECT_STREQ(ipq_errstr(), "Unable to create netlink socket");
}

TEST_F(fresh_kernel, without_its_queue_both_libraries_say_what_is_missing) {
  must_run("modprobe nfnetlink");
  ASSERT_FALSE(is_loaded("nfnetlink_queue"));
  const without_modprobe never;
  expect_no_queue_for_cpp();
  const handle h{ipv4};
  EXPECT_EQ(ipq_set_mode(h, IPQ_COPY_PACKET, 0), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
}

TEST_F(fresh_kernel, c_library_loads_the_queue_module) {
  ASSERT_FALSE(is_loaded("nfnetlink_queue"));
  const handle h{ipv4, IPQ_COPY_PACKET};
  EXPECT_TRUE(kernel_tests::nothing_to_read(h));
  EXPECT_TRUE(is_loaded("nfnetlink_queue"));
}

TEST_F(fresh_kernel, conntrack_that_can_not_be_loaded_is_refused_with_the_reason) {
  ASSERT_FALSE(is_loaded("nf_conntrack_netlink"));
  const without_modprobe never;
  const auto refused = ipq::queue::open({.number = number, .conntrack = true});
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().is(EOPNOTSUPP));
  EXPECT_EQ(refused.error().message(),
            "bind queue 3: Operation not supported: conntrack needs nf_conntrack_netlink in the kernel "
            "(CONFIG_NETFILTER_NETLINK_GLUE_CT)");
  // The refusal has left nothing behind.
  EXPECT_TRUE(ipq::queue::open({.number = number}));
}

TEST_F(fresh_kernel, conntrack_option_loads_its_module) {
  ASSERT_FALSE(is_loaded("nf_conntrack_netlink"));
  const auto opened = ipq::queue::open({.number = number, .conntrack = true});
  EXPECT_TRUE(opened) << opened.error().message();
  EXPECT_TRUE(is_loaded("nf_conntrack_netlink"));
}

}  // namespace
}  // namespace stock_kernels
