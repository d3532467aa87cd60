// SPDX-License-Identifier: MIT
#include "netlink/owner.hpp"

#include <gtest/gtest.h>
#include <linux/netlink.h>

#include <cerrno>

#include "data/recorded.hpp"
#include "netlink/scripted_kernel.hpp"

namespace ipq::netlink {
namespace {

TEST(queue_access, is_asked_for_by_a_request_that_changes_nothing) {
  scripted_kernel kernel;
  EXPECT_TRUE(probe_queue_access(kernel));
  const auto requests = kernel.requests();
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(test_data::to_hex(requests[0].bytes),
            test_data::to_hex(test_data::from_hex(R"(1c 00 00 00 02 03 05 00 01 00 00 00 00 00 00 00
                                                     00 00 00 00
                                                     08 00 01 00 03 00 00 00  # PF_BIND)")));
  EXPECT_FALSE(kernel.find_queue(0));
  EXPECT_EQ(kernel.open_sockets(NETLINK_NETFILTER), 0u);
}

TEST(queue_access, does_not_disturb_the_owner_of_the_queue) {
  scripted_kernel kernel;
  const socket owner = *kernel.open(NETLINK_NETFILTER);
  EXPECT_TRUE(probe_queue_access(kernel));
  EXPECT_EQ(kernel.open_sockets(NETLINK_NETFILTER), 1u);
}

TEST(queue_access, without_the_right_is_EPERM) {
  scripted_kernel kernel;
  kernel.set_rights(false);
  const auto access = probe_queue_access(kernel);
  ASSERT_FALSE(access);
  EXPECT_TRUE(access.error().is(EPERM));
  EXPECT_EQ(access.error().message(), "ask for access to queues: Operation not permitted");
}

TEST(queue_access, without_queues_is_ENOSYS) {
  scripted_kernel kernel;
  kernel.set_queues(false);
  const auto access = probe_queue_access(kernel);
  ASSERT_FALSE(access);
  EXPECT_TRUE(access.error().is(ENOSYS));
}

TEST(queue_access, without_sockets_is_their_error) {
  scripted_kernel kernel;
  for (const int error : {EMFILE, EPROTONOSUPPORT}) {
    kernel.refuse_sockets(error);
    const auto access = probe_queue_access(kernel);
    ASSERT_FALSE(access);
    EXPECT_TRUE(access.error().is(error));
  }
}

TEST(queue_access, without_an_answer_times_out) {
  scripted_kernel kernel;
  kernel.set_handler([](const scripted_request&) { return scripted_kernel::answers(); });
  const auto access = probe_queue_access(kernel);
  ASSERT_FALSE(access);
  EXPECT_TRUE(access.error().is(ETIMEDOUT));
}

}  // namespace
}  // namespace ipq::netlink
