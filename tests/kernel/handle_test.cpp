// SPDX-License-Identifier: MIT
// Making and destroying handles, against the real kernel.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "arities.h"
#include "flow.hpp"
#include "process.hpp"

namespace kernel_tests {
namespace {

using create_handle = flow_test;
using destroy_handle = flow_test;

struct ipq_handle_deleter {
  void operator()(ipq_handle* h) const { ipq_destroy_handle(h); }
};
using owned = std::unique_ptr<ipq_handle, ipq_handle_deleter>;

TEST_F(create_handle, makes_a_handle_of_either_protocol) {
  for (auto protocol : {ipv4, ipv6}) {
    owned h{ipq_create_handle(0, protocol)};
    ASSERT_NE(h, nullptr) << last_error();
    EXPECT_GE(h->fd, 0);
    EXPECT_EQ(h->local.nl_family, AF_NETLINK);
    EXPECT_EQ(h->peer.nl_family, AF_NETLINK);
    EXPECT_FALSE(readable(h->fd));
  }
}

TEST_F(create_handle, call_of_2001_means_ipv4) {
  owned h{create_as_in_2001()};
  ASSERT_NE(h, nullptr) << last_error();
  EXPECT_EQ(owned{create_with_protocol(PF_INET)}, nullptr);
  EXPECT_NE(owned{create_with_protocol(PF_INET6)}, nullptr) << last_error();
  h.reset();
  h.reset(ipq_create_handle(0));
  ASSERT_NE(h, nullptr) << last_error();
  EXPECT_EQ(owned{create_through_pointer(PF_INET)}, nullptr);
  EXPECT_NE(owned{create_through_pointer(PF_INET6)}, nullptr) << last_error();
}

TEST_F(create_handle, protocol_that_is_neither_is_invalid) {
  for (uint32_t protocol : {17u, 0u, 1u, 7u, 0x102u, 0xffffffffu}) {
    SCOPED_TRACE(protocol);
    owned h;
    EXPECT_EQ(errno_after([&] { h.reset(ipq_create_handle(0, protocol)); }), untouched_errno);
    EXPECT_EQ(h, nullptr);
    EXPECT_STREQ(ipq_errstr(), "Invalid protocol specified");
  }
}

TEST_F(create_handle, second_of_the_same_family_is_refused) {
  for (auto protocol : {ipv4, ipv6}) {
    handle first{protocol};
    errno = 0;
    owned second{ipq_create_handle(0, protocol)};
    const int error = errno;
    EXPECT_EQ(second, nullptr);
    EXPECT_EQ(error, EADDRINUSE);
    EXPECT_STREQ(ipq_errstr(), "Unable to bind netlink socket");
    first.destroy();
    second.reset(ipq_create_handle(0, protocol));
    EXPECT_NE(second, nullptr) << last_error();
  }
}

TEST_F(create_handle, success_leaves_errno_and_message_alone) {
  EXPECT_EQ(owned{ipq_create_handle(0, 17)}, nullptr);
  EXPECT_EQ(errno_after([] { handle{ipv4, IPQ_COPY_PACKET}; }), untouched_errno);
  EXPECT_EQ(errno_after([] {
              handle first{ipv4, IPQ_COPY_META};
              handle second{ipv6, IPQ_COPY_PACKET, 100};
            }),
            untouched_errno);
  EXPECT_STREQ(ipq_errstr(), "Invalid protocol specified");
}

TEST_F(create_handle, every_descriptor_closes_on_exec) {
  const auto before = open_descriptors();
  handle first{ipv4, IPQ_COPY_PACKET}, second{ipv6, IPQ_COPY_PACKET};
  flow4().rule().send("x");
  set_verdict(first, read_packet(first).id());
  size_t made = 0;
  for (int fd : open_descriptors()) {
    if (before.contains(fd)) continue;
    ++made;
    EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0) << "descriptor " << fd;
  }
  EXPECT_GE(made, 2u);
}

TEST_F(create_handle, settles_for_any_descriptor_number) {
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit wanted{std::max<rlim_t>(limit.rlim_cur, std::min<rlim_t>(limit.rlim_max, 4096)), limit.rlim_max};
  ASSERT_GT(wanted.rlim_cur, 1200u) << "raise the hard limit of open files";
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &wanted), 0);
  std::vector<descriptor> occupied;
  while (occupied.empty() || occupied.back().get() < 1100) occupied.emplace_back(fcntl(0, F_DUPFD_CLOEXEC, 3), "dup");
  flow4().rule();
  flow6().rule();
  handle first{ipv4, IPQ_COPY_PACKET};
  EXPECT_GT(first.fd(), 1024);
  flow4().send("high");
  set_verdict(first, read_packet(first).id());
  EXPECT_EQ(flow4().arrived(), "high");
  handle second{ipv6, IPQ_COPY_PACKET};
  EXPECT_GT(second.fd(), 1024);
  flow6().send("higher");
  set_verdict(second, read_packet(second).id());
  EXPECT_EQ(flow6().arrived(), "higher");
  unsigned char buffer[2048];
  EXPECT_EQ(ipq_read(first, buffer, sizeof buffer, 1), 0);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

TEST_F(destroy_handle, null_is_nothing_to_do) {
  EXPECT_EQ(ipq_destroy_handle(nullptr), 0);
}

TEST_F(destroy_handle, returns_0_and_closes_all_that_was_opened) {
  const auto before = open_descriptors();
  for (auto protocol : {ipv4, ipv6}) {
    handle unused{protocol};
    EXPECT_EQ(unused.destroy(), 0);
    handle used{protocol, IPQ_COPY_PACKET};
    EXPECT_EQ(used.destroy(), 0);
    EXPECT_EQ(open_descriptors(), before);
  }
  handle first{ipv4, IPQ_COPY_PACKET}, second{ipv6, IPQ_COPY_PACKET};
  EXPECT_EQ(first.destroy(), 0);
  EXPECT_EQ(second.destroy(), 0);
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(destroy_handle, drops_what_is_queued) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol, IPQ_COPY_PACKET};
    for (const char* payload : {"read", "unread", "unread too"}) packets.send(payload);
    read_packet(h);
    EXPECT_EQ(errno_after([&] { h.destroy(); }), untouched_errno);
    EXPECT_TRUE(packets.nothing_arrived());
  }
}

}  // namespace
}  // namespace kernel_tests
