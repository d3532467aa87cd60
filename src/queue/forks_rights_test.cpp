// SPDX-License-Identifier: MIT
// Processes of one fork that have one queue on the real kernel: each packet gets the verdict of its receiver.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "kernel/child.hpp"
#include "kernel/live_queue.hpp"

namespace ipq {
namespace {

using namespace queue_tests;
using kernel_tests::child;

using queue_of_several_processes = live_queue;

void decide(queue& from, const batch& all, const verdict& given) {
  for (const packet& each : all) must(from.set_verdict(each, given));
}

/// Verdicts of this process that found no packet, as far as this process hears of them.
std::string gone(queue& of) {
  const auto last = of.try_receive();
  return std::to_string(last ? last->events().size() : 0);
}

TEST_F(queue_of_several_processes, no_packet_gets_the_verdict_of_another_process) {
  queued();
  queue q = must_open();
  child other([&](const child::line& line) {
    const batch bad = must(q.receive(soon()));
    line.say(std::to_string(bad.size()));
    line.wait_for_go();
    decide(q, bad, verdict::drop());
    line.say(gone(q));
    line.wait_for_go();
    const batch good = must(q.receive(soon()));
    decide(q, good, verdict::accept());
    line.say(std::to_string(good.size()));
  });
  flow4().send("bad 1");
  ASSERT_EQ(other.hear(), "1");
  flow4().send("good 1");
  flow4().send("good 2");
  const batch good = must(q.receive(soon()));
  ASSERT_EQ(good.size(), 2u);
  decide(q, good, verdict::accept());
  EXPECT_EQ(arrivals(2), (std::vector<std::string>{"good 1", "good 2"}));
  other.go();
  EXPECT_EQ(other.hear(), "0") << "it was there to be dropped";
  EXPECT_TRUE(flow4().nothing_arrived());

  // And the other way round.
  flow4().send("bad 2");
  const batch bad = must(q.receive(soon()));
  ASSERT_EQ(bad.size(), 1u);
  flow4().send("good 3");
  flow4().send("good 4");
  other.go();
  EXPECT_EQ(other.hear(), "2");
  EXPECT_EQ(arrivals(2), (std::vector<std::string>{"good 3", "good 4"}));
  decide(q, bad, verdict::drop());
  EXPECT_EQ(gone(q), "0");
  EXPECT_TRUE(flow4().nothing_arrived());
}

TEST_F(queue_of_several_processes, closing_one_accepts_nothing_of_another) {
  queued();
  std::optional<queue> q = must_open({.at_close = queue_options::closing::accept_waiting});
  child other([&](const child::line& line) {
    const batch bad = must(q->receive(soon()));
    line.say(std::to_string(bad.size()));
    line.wait_for_go();
    decide(*q, bad, verdict::drop());
    line.say(gone(*q));
    decide(*q, must(q->receive(soon())), verdict::accept());
    line.say("served");
  });
  flow4().send("bad");
  ASSERT_EQ(other.hear(), "1");
  flow4().send("passed over");
  flow4().send("good");
  must(q->set_verdict(must(q->receive(soon()))[1], verdict::accept()));
  q.reset();
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"good"}));
  other.go();
  EXPECT_EQ(other.hear(), "0");
  flow4().send("later");
  EXPECT_EQ(other.hear(), "served");
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"later"}));
}

// What wakes the reader may reach another process, which passes it on.
TEST_F(queue_of_several_processes, stop_ends_the_wait_of_its_own_process) {
  queued();
  queue q = must_open();
  child other([&](const child::line& line) {
    decide(q, must(q.receive(soon())), verdict::accept());
    line.say("waits");
    decide(q, must(q.receive()), verdict::accept());
    line.say("served");
  });
  flow4().send("first");
  ASSERT_EQ(other.hear(), "waits");
  std::atomic<bool> ended = false;
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the child waits for longer, and is the first in line
  std::thread reader([&] {
    const auto received = q.receive();
    ended = true;
    EXPECT_FALSE(received);
    if (received) decide(q, *received, verdict::accept());
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  q.stop();
  for (const auto limit = soon(); !ended && queue::clock::now() < limit;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(ended);
  for (int i = 0; !ended && i < 2; ++i) flow4().send("to end the test");
  reader.join();
  flow4().send("second");
  EXPECT_EQ(other.hear(), "served");
  EXPECT_EQ(arrivals(2), (std::vector<std::string>{"first", "second"}));
}

}  // namespace
}  // namespace ipq
