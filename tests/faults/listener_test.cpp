// SPDX-License-Identifier: MIT
// Faults of the program that listens: it is killed, stopped, too slow, or full.
#include "listener.hpp"

#include <signal.h>

#include <algorithm>
#include <cstdlib>

#include "ground.hpp"
#include "kernel/reader.hpp"

namespace fault_tests {
namespace {

constexpr library both[] = {library::cpp, library::c};

class listener_faults : public faults {
 protected:
  // Everything that was sent has arrived, but for so many; nothing arrived twice or damaged.
  static void expect_account(load& traffic, std::uint64_t lost) {
    traffic.stop();
    const auto found = traffic.settle(traffic.sent() - lost);
    EXPECT_EQ(traffic.sent(), traffic.arrived() + lost);
    EXPECT_EQ(found.missing.size(), lost);
    EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
    tell("lost", lost);
  }

  // The kernel's counters are exact while nothing is on its way.
  static std::uint64_t lost_at_rest() {
    wait_until("nothing waits for a verdict", [] { return status().waiting == 0; });
    return lost_by_the_kernel();
  }
};

TEST_F(listener_faults, closed_behind_a_bypass_with_accept_waiting_loses_nothing) {
  rule("--queue-bypass");
  load traffic(near_ns(), far_ns());
  for (int i = 0; i < 30; ++i) {
    traffic.pause();  // a queue that opens under load may lose one
    ipq::queue serving = must_open({.at_close = ipq::queue_options::closing::accept_waiting});
    traffic.go_on();
    for (const std::uint32_t end = traffic.arrived() + 300; traffic.arrived() < end;) {
      const ipq::batch got = must(serving.receive(soon()));
      for (const auto& each : got) must(serving.set_verdict(each, ipq::verdict::accept()));
    }
  }
  traffic.wait_for_last();
  expect_account(traffic, 0);
}

// What waited when it died is lost, and where the rule does not bypass, what came until somebody listened again. That
// is one stretch of numbers, before which and behind which everything has arrived.
class killed_listener : public listener_faults {
 protected:
  void under_load(int signal) {
    std::uint64_t all_lost = 0;
    for (const library which : both) {
      for (const bool fail_open : {false, true}) {
        for (const bool bypass : {false, true}) {
          SCOPED_TRACE(name_of(which) + (bypass ? ", bypass" : "") + (fail_open ? ", fail-open" : ""));
          rule(bypass ? "--queue-bypass" : "");
          const listener_plan plan{.written_with = which, .fail_open = fail_open};
          listener first(plan);
          load traffic(near_ns(), far_ns());
          traffic.wait_for_arrivals(500);
          const std::uint32_t before = traffic.sent();
          first.end_by(signal);
          const std::uint32_t dead = traffic.sent();
          traffic.wait_for_sent(50);  // to nobody
          const std::uint32_t reborn = traffic.sent();
          const listener second(plan);
          const std::uint32_t after = traffic.sent();
          traffic.wait_for_arrivals(500);
          traffic.wait_for_last();
          EXPECT_EQ(lost_at_rest(), 0u);
          const std::uint32_t queued_for_second = status().last_id;
          const auto found = traffic.settle(0);
          EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
          // Before and behind the stretch everything has arrived. One may have been on its way at each look at sent().
          const std::uint32_t begin = before - std::min(before, plan.max_length);
          SCOPED_TRACE(testing::Message() << "begin " << begin << ", dead " << dead << ", reborn " << reborn << ", end "
                                          << after << ": " << testing::PrintToString(found.missing));
          EXPECT_EQ(found.from_to(begin, after).missing.size(), found.missing.size());
          // While nobody listened all were lost, or passed. What waited is lost; where it fails open, one that meets
          // the dying socket passes in between.
          const auto to_nobody = found.from_to(dead + 1, reborn - 1);
          EXPECT_EQ(to_nobody.missing.size(), bypass ? 0 : reborn - dead - 1);
          EXPECT_LE(found.from_to(begin, dead).missing.size(), plan.max_length + 1);
          EXPECT_TRUE(fail_open || found.from_to(begin, bypass ? dead : after).in_one_piece());
          if (bypass) {
            // Behind a bypass one that meets the second queue before it has a copy mode is lost, too.
            EXPECT_LE(found.missing.size(), plan.max_length);
          } else {
            ASSERT_FALSE(found.missing.empty());
            EXPECT_EQ(traffic.sent() - (found.missing.back() + 1), queued_for_second) << "the kernel's own count";
          }
          all_lost += found.missing.size();
          remove_rule();
        }
      }
    }
    tell("lost", all_lost);
  }
};

TEST_F(killed_listener, by_term_under_load_loses_one_stretch_of_packets) {
  under_load(SIGTERM);
}

TEST_F(killed_listener, by_kill_under_load_loses_one_stretch_of_packets) {
  under_load(SIGKILL);
}

TEST_F(killed_listener, by_segv_under_load_loses_one_stretch_of_packets) {
  under_load(SIGSEGV);
}

// The numbers are exact where the listener has not looked at its packets.
TEST_F(listener_faults, killed_when_full_loses_what_waited_and_fail_open_lets_the_rest_pass) {
  for (const library which : both) {
    for (const bool fail_open : {false, true}) {
      for (const int signal : {SIGTERM, SIGKILL, SIGSEGV}) {
        SCOPED_TRACE(name_of(which) + (fail_open ? ", fail-open" : ""));
        rule();
        listener full({.written_with = which, .max_length = 16, .fail_open = fail_open});
        full.stop();
        load traffic(near_ns(), far_ns(), load::pace::flood);
        traffic.wait_for_sent(100);
        traffic.stop();
        EXPECT_EQ(status().waiting, 16u);
        const std::uint64_t refused = lost_by_the_kernel();
        EXPECT_EQ(refused, fail_open ? 0 : traffic.sent() - 16);
        full.end_by(signal);
        expect_account(traffic, 16 + refused);
        remove_rule();
      }
    }
  }
}

// A tenth of a second, or as IPQ_FAULT_STOP says in seconds: ./dev test --all says 10.
TEST_F(listener_faults, stopped_and_continued_loses_what_the_kernel_counted) {
  const char* wanted = std::getenv("IPQ_FAULT_STOP");
  const auto length = wanted != nullptr ? std::chrono::seconds(std::atoi(wanted)) : 100ms;
  for (const library which : both) {
    for (const bool fail_open : {false, true}) {
      SCOPED_TRACE(name_of(which) + (fail_open ? ", fail-open" : ""));
      rule();
      listener held_up({.written_with = which, .max_length = 200, .fail_open = fail_open});
      load traffic(near_ns(), far_ns(), load::pace::flood);
      traffic.wait_for_arrivals(500);
      held_up.stop();
      wait_until("the queue is full", [] { return status().waiting == 200; });
      const std::uint32_t arrived = traffic.arrived();
      traffic.wait_for_sent(500);
      std::this_thread::sleep_for(length);
      if (fail_open) {
        EXPECT_GT(traffic.arrived(), arrived) << "those that the queue has no room for pass";
      }
      held_up.go_on();
      const std::uint32_t before = traffic.arrived();
      traffic.wait_for_arrivals(1000);
      EXPECT_GT(traffic.arrived(), before);
      traffic.stop();
      const std::uint64_t lost = lost_at_rest();
      EXPECT_EQ(lost > 0, !fail_open);
      expect_account(traffic, lost);
      remove_rule();
    }
  }
}

TEST_F(listener_faults, too_slow_loses_what_the_kernel_counted) {
  for (const library which : both) {
    for (const bool fail_open : {false, true}) {
      SCOPED_TRACE(name_of(which) + (fail_open ? ", fail-open" : ""));
      rule();
      const listener slow({.written_with = which, .max_length = 64, .fail_open = fail_open, .per_packet = 500us});
      load traffic(near_ns(), far_ns(), load::pace::flood);
      if (fail_open) {
        traffic.wait_for_arrivals(4000);  // faster than it can be
      } else {
        wait_until("the queue is full", [] { return lost_by_the_kernel() > 500; });
      }
      traffic.stop();
      const std::uint64_t lost = lost_at_rest();
      EXPECT_EQ(lost > 0, !fail_open);
      expect_account(traffic, lost);
      remove_rule();
    }
  }
}

// Full is the receive buffer, long before the queue is.
TEST_F(listener_faults, small_receive_buffer_loses_what_the_kernel_counted) {
  for (const library which : both) {
    for (const bool fail_open : {false, true}) {
      SCOPED_TRACE(name_of(which) + (fail_open ? ", fail-open" : ""));
      rule();
      listener held_up({.written_with = which, .fail_open = fail_open, .receive_buffer = 16 << 10});
      load traffic(near_ns(), far_ns(), load::pace::flood);
      traffic.wait_for_arrivals(200);
      held_up.stop();
      if (fail_open) {
        traffic.wait_for_arrivals(500);  // those that the buffer has no room for pass
      } else {
        wait_until("messages of the kernel are lost", [] { return status().lost_no_buffer > 500; });
      }
      held_up.go_on();
      traffic.wait_for_arrivals(1000);
      traffic.stop();
      const std::uint64_t lost = lost_at_rest();
      EXPECT_EQ(lost > 0, !fail_open);
      EXPECT_EQ(status().lost_queue_full, 0u);
      expect_account(traffic, lost);
      remove_rule();
    }
  }
}

TEST_F(listener_faults, second_owner_is_refused_and_the_first_serves_on) {
  for (const library which : both) {
    SCOPED_TRACE(name_of(which));
    rule();
    const listener first({.written_with = which});
    const libipq_environment of_libipq;
    load traffic(near_ns(), far_ns());
    for (int i = 0; i < 20; ++i) {
      const auto refused = ipq::queue::open({.number = number});
      ASSERT_FALSE(refused);
      EXPECT_TRUE(refused.error().is(EBUSY)) << refused.error().message();
      const kernel_tests::handle second(kernel_tests::ipv4, IPQ_COPY_PACKET);
      EXPECT_EQ(kernel_tests::read_error(second).error(), EBUSY);
      EXPECT_NE(kernel_tests::last_error(second).find("owned by "), std::string::npos)
          << kernel_tests::last_error(second);
      traffic.wait_for_arrivals(20);
    }
    traffic.stop();
    EXPECT_EQ(lost_at_rest(), 0u);
    expect_account(traffic, 0);
    remove_rule();
  }
}

}  // namespace
}  // namespace fault_tests
