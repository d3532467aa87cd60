// SPDX-License-Identifier: MIT
// ipq_get_status: what /proc/net/ip_queue used to show.
#include <grp.h>
#include <gtest/gtest.h>

#include <cstring>
#include <sstream>

#include "child.hpp"
#include "flow.hpp"
#include "process.hpp"

namespace kernel_tests {
namespace {

using get_status = flow_test;

// Port id of the netlink socket behind a handle that is alone on its queue.
uint32_t portid_of(int fd) {
  sockaddr_nl local{};
  socklen_t size = sizeof local;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size) != 0) throw std::runtime_error("getsockname");
  return local.nl_pid;
}

TEST_F(get_status, before_a_mode_nobody_owns_the_queue) {
  handle h{ipv4};
  const ipq_status status = status_of(h);
  EXPECT_EQ(status.queue, 0u);
  EXPECT_EQ(status.peer_portid, 0u);
  EXPECT_EQ(status.copy_mode, static_cast<uint32_t>(IPQ_COPY_NONE));
  EXPECT_EQ(status.copy_range, 0u);
  EXPECT_EQ(status.max_length, 1024u);
  EXPECT_EQ(status.fail_open, 0u);
}

TEST_F(get_status, names_mode_range_and_owner) {
  for (auto protocol : {ipv4, ipv6}) {
    handle h{protocol, IPQ_COPY_PACKET, 100};
    ipq_status status = status_of(h);
    EXPECT_EQ(status.copy_mode, static_cast<uint32_t>(IPQ_COPY_PACKET));
    EXPECT_EQ(status.copy_range, 100u);
    EXPECT_EQ(status.peer_portid, portid_of(h.fd()));
    ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_META, 100), sent_mode);
    status = status_of(h);
    EXPECT_EQ(status.copy_mode, static_cast<uint32_t>(IPQ_COPY_META));
    EXPECT_EQ(status.copy_range, 0u);
    ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_PACKET, 0), sent_mode);
    EXPECT_GE(status_of(h).copy_range, 65531u);
    ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_NONE, 0), sent_mode);
    status = status_of(h);
    EXPECT_EQ(status.copy_mode, static_cast<uint32_t>(IPQ_COPY_NONE));
    EXPECT_EQ(status.copy_range, 0u);
  }
}

TEST_F(get_status, refused_mode_changes_nothing) {
  handle h{ipv4, IPQ_COPY_PACKET, 100};
  ASSERT_EQ(ipq_set_mode(h, 9, 50), sent_mode);
  read_error(h);
  const ipq_status status = status_of(h);
  EXPECT_EQ(status.copy_mode, static_cast<uint32_t>(IPQ_COPY_PACKET));
  EXPECT_EQ(status.copy_range, 100u);
}

TEST_F(get_status, length_is_what_waits_for_a_verdict) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  EXPECT_EQ(waiting_packets(h, 0), 0u);
  for (int number = 0; number < 5; ++number) flow4().send("x");
  EXPECT_EQ(waiting_packets(h, 5), 5u);
  std::vector<ipq_id_t> ids;
  for (int number = 0; number < 5; ++number) ids.push_back(read_packet(h).id());
  for (uint64_t left = 5; left > 0; --left) {
    EXPECT_EQ(waiting_packets(h, left), left);
    set_verdict(h, ids.back(), NF_DROP);
    ids.pop_back();
  }
  EXPECT_EQ(waiting_packets(h, 0), 0u);
}

TEST_F(get_status, receive_buffer_is_what_the_socket_has) {
  handle h{ipv4};
  const int wanted = 50'000;
  ASSERT_EQ(setsockopt(h.fd(), SOL_SOCKET, SO_RCVBUF, &wanted, sizeof wanted), 0);
  ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_PACKET, 0), sent_mode);
  EXPECT_EQ(status_of(h).receive_buffer, 100'000u);
}

TEST_F(get_status, tells_who_owns_a_queue_that_is_taken) {
  handle owner{ipv4, IPQ_COPY_PACKET};
  child other{[](const child::line& line) {
    handle h{ipv4, IPQ_COPY_PACKET};
    read_error(h);
    line.say(std::to_string(status_of(h).peer_portid));
  }};
  EXPECT_EQ(other.hear(), std::to_string(queue_counters_are_shown() ? portid_of(owner.fd()) : 0));
}

TEST_F(get_status, says_unknown_where_the_kernel_does_not_tell) {
  if (!global_root("becoming a user who sees nothing")) return;
  flow4().rule();
  child program{[&](const child::line& line) {
    handle h{ipv4, IPQ_COPY_PACKET};
    if (setgroups(0, nullptr) != 0 || setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0)
      throw std::runtime_error("become an ordinary user");
    flow4().send("x");
    read_packet(h);
    line.say(status_of(h).length == IPQ_UNKNOWN ? "unknown" : "known");
    line.say(stats_of(h).lost_queue_full == IPQ_UNKNOWN ? "unknown" : "known");
    line.say(std::to_string(stats_of(h).received));
  }};
  EXPECT_EQ(program.hear(), "unknown");
  EXPECT_EQ(program.hear(), "unknown");
  EXPECT_EQ(program.hear(), "1");
}

TEST_F(get_status, fills_as_much_as_the_program_knows) {
  handle h{ipv4, IPQ_COPY_PACKET, 100};
  alignas(ipq_status) unsigned char buffer[2 * sizeof(ipq_status)];
  memset(buffer, 0xa5, sizeof buffer);
  ASSERT_EQ(ipq_get_status(h, reinterpret_cast<ipq_status*>(buffer), 16), 0);
  uint32_t copy_range;
  memcpy(&copy_range, buffer + offsetof(ipq_status, copy_range), sizeof copy_range);
  EXPECT_EQ(copy_range, 100u);
  for (size_t at = 16; at < sizeof buffer; ++at) ASSERT_EQ(buffer[at], 0xa5) << at;
  ASSERT_EQ(ipq_get_status(h, reinterpret_cast<ipq_status*>(buffer), sizeof buffer), 0);
  EXPECT_EQ(reinterpret_cast<ipq_status*>(buffer)->max_length, 1024u);
  EXPECT_EQ(buffer[sizeof buffer - 1], 0) << "what this library does not know yet reads as 0";
}

TEST_F(get_status, without_a_place_to_write_is_einval) {
  handle h{ipv4};
  ipq_status status;
  ipq_stats stats;
  for (auto call : std::initializer_list<std::function<int()>>{
           [&] { return ipq_get_status(h, nullptr, sizeof status); }, [&] { return ipq_get_status(h, &status, 0); },
           [&] { return ipq_get_stats(h, nullptr, sizeof stats); }, [&] { return ipq_get_stats(h, &stats, 0); }}) {
    errno = 0;
    EXPECT_EQ(call(), -1);
    EXPECT_EQ(errno, EINVAL);
  }
}

TEST_F(get_status, leaves_errno_alone) {
  handle h{ipv4, IPQ_COPY_PACKET};
  EXPECT_EQ(errno_after([&] { status_of(h); }), untouched_errno);
  EXPECT_EQ(errno_after([&] { stats_of(h); }), untouched_errno);
}

}  // namespace
}  // namespace kernel_tests
