// SPDX-License-Identifier: MIT
// One handle used by several threads at once, without a lock: a reader, and others that decide.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <thread>

#include "flow.hpp"
#include "packet_bytes.hpp"
#include "process.hpp"

namespace kernel_tests {
namespace {

using threads_on_one_handle = flow_test;

// Ids on their way from the reader to those who decide.
class decisions {
 public:
  void put(ipq_id_t id) {
    std::lock_guard guard{mutex_};
    ids_.push_back(id);
    changed_.notify_one();
  }
  void close() {
    std::lock_guard guard{mutex_};
    closed_ = true;
    changed_.notify_all();
  }
  std::optional<ipq_id_t> take() {
    std::unique_lock guard{mutex_};
    changed_.wait(guard, [&] { return closed_ || !ids_.empty(); });
    if (ids_.empty()) return std::nullopt;
    const ipq_id_t id = ids_.front();
    ids_.pop_front();
    return id;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<ipq_id_t> ids_;
  bool closed_ = false;
};

// Reads so many packets in a thread while three others accept them; returns how many verdicts were not sent.
int pass_with_threads(const ipq_handle* h, int packets) {
  decisions waiting;
  std::atomic<int> failures = 0;
  std::thread reader([&] {
    bytes buffer(4096);
    for (int number = 0; number < packets; ++number) {
      if (ipq_read(h, buffer.data(), buffer.size(), 10'000'000) <= 0 ||
          ipq_message_type(buffer.data()) != IPQM_PACKET) {
        ++failures;
        break;
      }
      waiting.put(ipq_get_packet(buffer.data())->packet_id);
    }
    waiting.close();
  });
  std::vector<std::thread> deciders;
  for (int number = 0; number < 3; ++number) {
    deciders.emplace_back([&] {
      while (auto id = waiting.take()) {
        if (ipq_set_verdict(h, *id, NF_ACCEPT, 0, nullptr) != sent_verdict) ++failures;
      }
    });
  }
  reader.join();
  for (auto& decider : deciders) decider.join();
  return failures;
}

TEST_F(threads_on_one_handle, reader_and_three_deciders_pass_everything) {
  flow4().rule();
  flow6().rule();
  for (bool both : {false, true}) {
    handle four{ipv4, IPQ_COPY_PACKET};
    std::optional<handle> six;
    if (both) six.emplace(ipv6, static_cast<uint8_t>(IPQ_COPY_PACKET));
    constexpr int each = 300;
    auto failures4 = std::async(std::launch::async, [&] { return pass_with_threads(four, each); });
    std::future<int> failures6;
    if (both) failures6 = std::async(std::launch::async, [&] { return pass_with_threads(*six, each); });
    // Few enough on the way for the receive buffer of any socket.
    for (int lot = 0; lot < each / 20; ++lot) {
      for (int number = 0; number < 20; ++number) {
        flow4().send("four");
        if (both) flow6().send("six");
      }
      for (int number = 0; number < 20; ++number) {
        ASSERT_EQ(flow4().arrived(), "four");
        if (both) {
          ASSERT_EQ(flow6().arrived(), "six");
        }
      }
    }
    EXPECT_EQ(failures4.get(), 0);
    EXPECT_EQ(stats_of(four).accepted, static_cast<uint64_t>(each));
    EXPECT_EQ(stats_of(four).refused, 0u);
    EXPECT_TRUE(nothing_to_read(four));
    if (!both) continue;
    EXPECT_EQ(failures6.get(), 0);
    EXPECT_EQ(stats_of(*six).accepted, static_cast<uint64_t>(each));
    EXPECT_TRUE(nothing_to_read(*six));
  }
}

TEST_F(threads_on_one_handle, verdict_is_sent_while_a_read_waits) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send("held");
  const message held = read_packet(h);
  std::promise<pid_t> thread;
  auto read = std::async(std::launch::async, [&] {
    thread.set_value(gettid());
    bytes buffer(large_enough);
    return ipq_read(h, buffer.data(), buffer.size(), 0);
  });
  wait_until_asleep(thread.get_future().get());
  set_verdict(h, held.id());
  EXPECT_EQ(flow4().arrived(), "held");
  ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_META, 0), sent_mode);
  EXPECT_EQ(stats_of(h).accepted, 1u);
  EXPECT_EQ(status_of(h).copy_mode, static_cast<uint32_t>(IPQ_COPY_META));
  EXPECT_EQ(read.wait_for(std::chrono::milliseconds{10}), std::future_status::timeout);
  set_verdict(h, held.id());
  EXPECT_EQ(read.get(), 60) << "the reader hears of the second verdict";
}

TEST_F(threads_on_one_handle, packet_is_held_while_another_thread_decides) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send("held");
  const message held = read_packet(h);
  for (int number = 0; number < 100; ++number) {
    flow4().send(std::to_string(number));
    set_verdict(h, read_packet(h).id());
    ASSERT_EQ(flow4().arrived(), std::to_string(number));
  }
  std::async(std::launch::async, [&] { set_verdict(h, held.id()); }).get();
  EXPECT_EQ(flow4().arrived(), "held");
}

TEST_F(threads_on_one_handle, several_readers_share_the_packets) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  constexpr int packets = 200;
  std::atomic<int> read = 0;
  std::vector<std::thread> readers;
  for (int number = 0; number < 3; ++number) {
    readers.emplace_back([&] {
      bytes buffer(4096);
      while (read < packets) {
        if (ipq_read(h, buffer.data(), buffer.size(), 5'000) <= 0) continue;
        ++read;
        ipq_set_verdict(h, ipq_get_packet(buffer.data())->packet_id, NF_ACCEPT, 0, nullptr);
      }
    });
  }
  for (int number = 0; number < packets; ++number) flow4().send("x");
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(read, packets);
  EXPECT_EQ(stats_of(h).received, static_cast<uint64_t>(packets));
  for (int number = 0; number < packets; ++number) ASSERT_EQ(flow4().arrived(), "x");
  EXPECT_TRUE(nothing_to_read(h));
}

}  // namespace
}  // namespace kernel_tests
