// SPDX-License-Identifier: MIT
// What tests of the C++ library's live queue share: a flow of datagrams into queue 3, and results that must be good.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "flow.hpp"
#include "ipq/queue.hpp"

namespace ipq::queue_tests {

using kernel_tests::flow;
using kernel_tests::must_run;
using namespace std::chrono_literals;

inline constexpr std::uint16_t number = 3;
inline constexpr std::string_view to_queue = "NFQUEUE --queue-num 3";

inline queue must_open(queue_options options = {.number = number}) {
  options.number = options.number == 0 ? number : options.number;
  auto opened = queue::open(options);
  if (!opened) throw std::runtime_error(opened.error().message());
  return *std::move(opened);
}

inline queue::clock::time_point soon() {
  return queue::clock::now() + 10s;
}

template <class T>
T must(result<T>&& outcome) {
  if (!outcome) throw std::runtime_error(outcome.error().message());
  if constexpr (!std::is_void_v<T>) return *std::move(outcome);
}

class live_queue : public kernel_tests::flow_test {
 protected:
  const flow& queued() const { return flow4().rule("-A OUTPUT", to_queue); }

  /// Everything that arrived, in order, once nothing else is on its way.
  std::vector<std::string> arrivals(std::size_t count) const {
    std::vector<std::string> all;
    for (std::size_t i = 0; i < count; ++i) all.push_back(flow4().arrived());
    EXPECT_TRUE(flow4().nothing_arrived());
    return all;
  }

  /// Batches until `count` packets are there; they stay undecided only in the last one.
  static std::size_t receive_all(queue& from, std::size_t count, auto&& each) {
    std::size_t seen = 0;
    while (seen < count) {
      const batch got = must(from.receive(soon()));
      for (const packet& p : got) each(p);
      seen += got.size();
    }
    return seen;
  }

  /// The equation that statistics promises.
  static void expect_sum(const queue& of) {
    const statistics s = must_stats(of);
    EXPECT_EQ(s.in_kernel->queued + s.in_kernel->lost_queue_full,
              s.accepted + s.dropped + s.repeated + s.stopped + s.requeued + s.gone + s.in_kernel->waiting +
                  s.in_kernel->lost_no_buffer + s.in_kernel->lost_queue_full);
    EXPECT_EQ(s.received,
              s.accepted + s.dropped + s.repeated + s.stopped + s.requeued + s.gone + s.refused + s.undecided);
  }
  static statistics must_stats(const queue& of) {
    statistics s = of.stats();
    if (!s.in_kernel) throw std::runtime_error("the kernel's counters can't be read");
    return s;
  }
};

}  // namespace ipq::queue_tests
