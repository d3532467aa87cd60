// SPDX-License-Identifier: MIT
// Whether the socket is readable exactly as long as there is something to read, in the order of events that a test
// chooses.
#include "compat/read_ahead.hpp"

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <poll.h>

#include <array>

#include "netlink/scripted_kernel.hpp"
#include "wire/bytes.hpp"
#include "wire/constants.hpp"

namespace ipq::compat {
namespace {

class read_ahead_test : public ::testing::Test {
 protected:
  void deliver(std::size_t count = 1) {
    for (std::size_t i = 0; i < count; ++i) kernel.deliver(std::array<std::byte, 20>{});
  }

  bool is_readable() {
    kernel.settle();
    pollfd watched{s.fd(), POLLIN, 0};
    return ::poll(&watched, 1, 0) == 1;
  }

  /// Reads what is something to a program; false: there is nothing.
  bool read() {
    return read([] {});
  }
  template <class Meanwhile>
  bool read(Meanwhile meanwhile) {
    kernel.settle();
    const auto used = ahead.read(s, s, true, [&](std::span<std::byte> datagram) -> std::optional<int> {
      if (answers_wake(datagram)) return std::nullopt;
      meanwhile();
      return 1;
    });
    return used.has_value();
  }

  /// Another thread, which has found the way here taken.
  bool take_elsewhere() {
    std::array<std::byte, 256> any;
    const bool taken = s.receive(any, netlink::waiting::not_at_all).has_value();
    if (taken) ahead.taken_elsewhere(s);
    return taken;
  }

  netlink::scripted_kernel kernel;
  netlink::socket s = kernel.open(NETLINK_NETFILTER).value();
  read_ahead ahead;
};

TEST_F(read_ahead_test, a_packet_that_comes_before_the_wake_leaves_nothing_behind) {
  for (std::size_t late = 0; late < 5; ++late) {
    deliver(2);
    ASSERT_TRUE(read([&] { deliver(late); }));
    for (std::size_t i = 0; i < 1 + late; ++i) {
      ASSERT_TRUE(is_readable()) << i << " of " << late;
      ASSERT_TRUE(read());
    }
    EXPECT_FALSE(is_readable()) << late;
    EXPECT_FALSE(read());
  }
}

TEST_F(read_ahead_test, packets_that_come_with_every_read_leave_nothing_behind) {
  deliver(2);
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(read([&] { deliver(static_cast<std::size_t>(i % 3)); }));
  while (is_readable()) ASSERT_TRUE(read());
  EXPECT_FALSE(read());
}

TEST_F(read_ahead_test, who_takes_the_wake_makes_it_readable_again) {
  deliver(3);
  ASSERT_TRUE(read());
  ASSERT_TRUE(is_readable());
  ASSERT_TRUE(take_elsewhere());
  EXPECT_TRUE(is_readable());
  for (int left = 2; left > 0; --left) {
    ASSERT_TRUE(is_readable());
    ASSERT_TRUE(read());
  }
  EXPECT_FALSE(is_readable());
}

TEST_F(read_ahead_test, who_takes_the_packet_behind_those_read_ahead_makes_it_readable_again) {
  deliver(read_ahead::most + 1);
  ASSERT_TRUE(read());
  ASSERT_TRUE(is_readable());
  ASSERT_TRUE(take_elsewhere());
  for (std::size_t left = read_ahead::most - 1; left > 0; --left) {
    ASSERT_TRUE(is_readable()) << left;
    ASSERT_TRUE(read());
  }
  EXPECT_FALSE(is_readable());
}

TEST_F(read_ahead_test, what_is_taken_while_a_thread_reads_is_made_good_by_that_one) {
  deliver(3);
  ASSERT_TRUE(read());
  ASSERT_TRUE(is_readable());
  // With the lock held; and the time of the taker is over.
  ASSERT_TRUE(read([&] {
    EXPECT_TRUE(take_elsewhere());
    EXPECT_FALSE(is_readable());
  }));
  EXPECT_TRUE(is_readable());
  ASSERT_TRUE(read());
  EXPECT_FALSE(is_readable());
}

TEST_F(read_ahead_test, what_is_given_up_while_a_thread_reads_is_left_to_that_one) {
  deliver(4);
  int given_up = 0;
  const auto count = [&](std::span<std::byte>) { ++given_up; };
  ASSERT_TRUE(read([&] {
    ahead.give_up(count);
    EXPECT_EQ(given_up, 0);
  }));
  ahead.give_up(count);
  EXPECT_EQ(given_up, 3);
}

}  // namespace
}  // namespace ipq::compat
