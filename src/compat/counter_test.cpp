// SPDX-License-Identifier: MIT
#include "compat/counter.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/time.h>

#include <thread>
#include <vector>

namespace ipq::compat {
namespace {

TEST(counter, counts_and_takes_back) {
  counter made;
  EXPECT_EQ(made.value(), 0u);
  for (int i = 0; i < 5; ++i) made.add();
  made.take_back();
  EXPECT_EQ(made.value(), 4u);
}

TEST(counter, loses_nothing_among_threads) {
  counter made;
  constexpr int threads = 4, times = 100'000;
  std::vector<std::thread> all;
  for (int i = 0; i < threads; ++i) {
    all.emplace_back([&] {
      for (int n = 0; n < times; ++n) made.add();
    });
  }
  for (auto& each : all) each.join();
  EXPECT_EQ(made.value(), static_cast<std::uint64_t>(threads) * times);
  made.add();  // by yet another thread
  EXPECT_EQ(made.value(), static_cast<std::uint64_t>(threads) * times + 1);
}

counter interrupted;
std::atomic<std::uint64_t> interruptions = 0;

TEST(counter, loses_nothing_to_a_signal_handler) {
  struct sigaction count {
  }, before{};
  count.sa_handler = [](int) {
    interrupted.add();
    ++interruptions;
  };
  sigaction(SIGALRM, &count, &before);
  const itimerval often{{0, 50}, {0, 50}}, never{};
  setitimer(ITIMER_REAL, &often, nullptr);
  std::uint64_t own = 0;
  while (interruptions < 2000) {
    interrupted.add();
    ++own;
  }
  setitimer(ITIMER_REAL, &never, nullptr);
  EXPECT_EQ(interrupted.value(), own + interruptions);
  sigaction(SIGALRM, &before, nullptr);
}

}  // namespace
}  // namespace ipq::compat
