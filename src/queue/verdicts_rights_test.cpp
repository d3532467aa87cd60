// SPDX-License-Identifier: MIT
// What verdicts do to packets on the real kernel, and that none reaches a packet that it was not given to.
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "kernel/live_queue.hpp"
#include "kernel/process.hpp"
#include "unit/without_capability.hpp"

namespace ipq {
namespace {

using namespace queue_tests;

class live_verdict : public live_queue {
 protected:
  static std::string text_of(const packet& p) {
    const auto bytes = p.payload.subspan(28);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
};

TEST_F(live_verdict, accept_meets_the_tables_that_follow_and_stop_does_not) {
  flow4().rule("-t mangle -A OUTPUT", to_queue);
  flow4().rule("-A OUTPUT", "DROP");  // filter comes after mangle
  queue q = must_open();
  for (const char* text : {"accepted", "stopped", "dropped"}) flow4().send(text);
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 3u);
  must(q.set_verdict(got[0], verdict::accept()));
  must(q.set_verdict(got[1], verdict::stop()));
  must(q.set_verdict(got[2], verdict::drop()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"stopped"}));
  const statistics s = q.stats();
  EXPECT_EQ(s.accepted, 1u);
  EXPECT_EQ(s.stopped, 1u);
  EXPECT_EQ(s.dropped, 1u);
  expect_sum(q);
}

TEST_F(live_verdict, runs_of_each_action_are_merged_and_counted) {
  flow4().rule("-A OUTPUT -m mark ! --mark 1", to_queue);
  queue q = must_open();
  queue other = must_open({.number = 4});
  for (const verdict& given : {verdict::accept(), verdict::drop(), verdict::stop(), verdict::queue(4),
                               verdict::repeat().with_mark(1), verdict::queue(9, true)}) {
    for (int i = 0; i < 3; ++i) flow4().send("x");
    const batch got = must(q.receive(soon()));
    ASSERT_EQ(got.size(), 3u);
    for (const packet& p : got) must(q.set_verdict(p, given));
  }
  receive_all(other, 3, [&](const packet& p) { must(other.set_verdict(p, verdict::drop())); });
  EXPECT_EQ(arrivals(12).size(), 12u) << "accepted, stopped, marked, and past a queue of nobody";
  const statistics s = q.stats();
  EXPECT_EQ(s.accepted, 3u);
  EXPECT_EQ(s.dropped, 3u);
  EXPECT_EQ(s.stopped, 3u);
  EXPECT_EQ(s.repeated, 3u);
  EXPECT_EQ(s.requeued, 6u);
  EXPECT_EQ(s.gone, 0u);
  expect_sum(q);
}

TEST_F(live_verdict, requeued_to_the_same_queue_it_comes_back_and_is_not_hit_meanwhile) {
  queued();
  queue q = must_open();
  for (const char* text : {"a", "back", "b"}) flow4().send(text);
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 3u);
  must(q.set_verdict(got[0], verdict::accept()));
  must(q.set_verdict(got[1], verdict::queue(number)));
  must(q.set_verdict(got[2], verdict::accept()));  // by now "back" waits again, with a later id
  EXPECT_EQ(arrivals(2), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(must_stats(q).in_kernel->waiting, 1u);
  const batch again = must(q.receive(soon()));
  EXPECT_EQ(text_of(again[0]), "back");
  EXPECT_EQ(again[0].id, 4u);
  must(q.set_verdict(again[0], verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"back"}));
  expect_sum(q);
}

// A batch verdict hits all that waits up to its packet, so there is none while packets wait whose verdict was refused.
TEST_F(live_verdict, regress_packets_of_refused_verdicts_do_not_get_those_of_later_ones) {
  queued();
  queue q = must_open();
  for (const char* text : {"a", "b", "c"}) flow4().send(text);
  {
    const batch got = must(q.receive(soon()));
    ASSERT_EQ(got.size(), 3u);
    const unit_tests::without_net_admin powerless;
    for (const packet& p : got) must(q.set_verdict(p, verdict::drop()));
  }
  EXPECT_EQ(must(q.receive(soon())).events().size(), 1u);
  for (const char* text : {"d", "e"}) flow4().send(text);
  receive_all(q, 2, [&](const packet& p) { must(q.set_verdict(p, verdict::accept())); });
  EXPECT_EQ(arrivals(2), (std::vector<std::string>{"d", "e"}));
  EXPECT_EQ(must_stats(q).in_kernel->waiting, 3u);
  EXPECT_EQ(q.stats().refused, 3u);
  expect_sum(q);
}

// The kernel says so behind the packets that wait: by then these have their verdicts.
TEST_F(live_verdict, regress_packets_of_verdicts_that_are_yet_to_be_refused_do_not_get_those_of_later_ones) {
  queued();
  queue q = must_open();
  constexpr int batches = 2, batch_size = 64, all = batches * batch_size + 8;
  for (int i = 0; i < all; ++i) flow4().send(std::to_string(i));
  {
    const batch got = must(q.receive(soon()));
    ASSERT_EQ(got.size(), std::size_t{batch_size});
    const unit_tests::without_net_admin powerless;
    for (const packet& p : got) must(q.set_verdict(p, verdict::drop()));
  }
  receive_all(q, all - batch_size, [&](const packet& p) { must(q.set_verdict(p, verdict::accept())); });
  std::vector<std::string> wanted;
  for (int i = batch_size; i < all; ++i) wanted.push_back(std::to_string(i));
  EXPECT_EQ(arrivals(wanted.size()), wanted);
  EXPECT_TRUE(flow4().nothing_arrived());
  EXPECT_EQ(q.stats().refused, std::uint64_t{batch_size});
  expect_sum(q);
}

TEST_F(live_verdict, regress_packet_of_a_holder_without_the_right_does_not_get_the_verdict_of_later_ones) {
  queued();
  queue q = must_open();
  flow4().send("held");
  std::optional<held_packet> held = must(q.hold(must(q.try_receive())[0]));
  constexpr int others = 70;
  for (int i = 0; i < others; ++i) flow4().send(std::to_string(i));
  std::thread([&] {
    const unit_tests::without_net_admin powerless;
    must(std::move(*held).set_verdict(verdict::drop()));
  }).join();
  receive_all(q, others, [&](const packet& p) { must(q.set_verdict(p, verdict::accept())); });
  std::vector<std::string> wanted;
  for (int i = 0; i < others; ++i) wanted.push_back(std::to_string(i));
  EXPECT_EQ(arrivals(wanted.size()), wanted);
  EXPECT_TRUE(flow4().nothing_arrived());
  expect_sum(q);
}

TEST_F(live_verdict, regress_what_was_refused_is_not_accepted_at_the_end) {
  queued();
  for (const std::chrono::milliseconds delay : {5ms, 0ms}) {
    std::optional<queue> q = must_open({.verdict_delay = delay, .at_close = queue_options::closing::accept_waiting});
    flow4().send("dropped");
    const batch got = must(q->receive(soon()));
    {
      const unit_tests::without_net_admin powerless;
      must(q->set_verdict(got[0], verdict::drop()));
    }
    q.reset();
    EXPECT_TRUE(flow4().nothing_arrived());
  }
  std::optional<queue> q = must_open({.at_close = queue_options::closing::accept_waiting});
  flow4().send("accepted");
  const batch got = must(q->receive(soon()));
  {
    const unit_tests::without_net_admin powerless;
    must(q->set_verdict(got[0], verdict::accept()));
  }
  q.reset();
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"accepted"}));
}

// Accepted or dropped at once, later on another thread, after some rounds through the queue, or forgotten.
TEST_F(live_verdict, any_mix_with_holders_and_rounds_reaches_the_right_packets) {
  queued();
  queue q = must_open({.max_length = 4096, .unanswered = verdict::drop()});
  std::mt19937 random(11);
  const auto chance = [&](unsigned of) { return random() % of == 0; };
  std::multiset<std::string> wanted;
  std::vector<std::pair<held_packet, bool>> held;
  constexpr int total = 600;
  int settled = 0, sent = 0, round = 0;
  while (settled < total) {
    for (auto more = std::min<int>(total - sent, static_cast<int>(random() % 40)); more > 0; --more) {
      flow4().send(std::to_string(sent++));
    }
    if (const auto got = q.try_receive()) {
      std::vector<std::size_t> order(got->size());
      for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
      if (chance(3)) std::ranges::shuffle(order, random);
      for (const std::size_t i : order) {
        const packet& p = (*got)[i];
        const bool pass = !chance(3);
        if (chance(8)) {
          must(q.set_verdict(p, verdict::queue(number)));
          continue;
        }
        if (chance(20)) {  // forgotten
          ++settled;
          continue;
        }
        if (pass) wanted.insert(text_of(p));
        if (chance(6)) {
          held.emplace_back(must(q.hold(p)), pass);
          continue;
        }
        ++settled;
        must(q.set_verdict(p, pass ? verdict::accept() : verdict::drop()));
        if (chance(10)) must(q.flush());
      }
    }
    if (++round % 4 == 0 || sent == total) {
      std::thread holder([&] {
        std::ranges::shuffle(held, random);
        for (auto& [one, pass] : held) {
          must(std::move(one).set_verdict(pass ? verdict::accept() : verdict::drop()));
          ++settled;
        }
        held.clear();
      });
      holder.join();
    }
    while (const auto text = flow4().far_socket().receive_now()) {
      const auto found = wanted.find(*text);
      ASSERT_NE(found, wanted.end()) << text->c_str() << " was not accepted";
      wanted.erase(found);
    }
  }
  EXPECT_FALSE(q.try_receive());
  while (!wanted.empty()) {
    const auto found = wanted.find(flow4().arrived());
    ASSERT_NE(found, wanted.end());
    wanted.erase(found);
  }
  EXPECT_TRUE(flow4().nothing_arrived());
  const statistics s = must_stats(q);
  EXPECT_EQ(s.accepted + s.dropped, static_cast<std::uint64_t>(total));
  EXPECT_GT(s.requeued, 0u);
  EXPECT_GT(s.unanswered, 0u);
  EXPECT_EQ(s.gone, 0u);
  EXPECT_EQ(s.in_kernel->waiting, 0u);
  expect_sum(q);
}

// A verdict that goes on to the next hook queues the packet anew before sendmsg returns, into the socket it came from.
TEST_F(live_verdict, packets_queued_at_every_hook_on_their_way_keep_their_order) {
  for (const char* chain : {"OUTPUT", "POSTROUTING", "PREROUTING", "INPUT"}) {
    must_run("iptables-legacy -w -t mangle -A " + std::string(chain) + " -p udp --dport 6000 -j " +
             std::string(to_queue));
  }
  const kernel_tests::udp_socket here{near_ns(), "127.0.0.1"}, there{near_ns(), "127.0.0.1", 6000};
  queue q = must_open();
  constexpr int count = 20;
  for (int i = 0; i < count; ++i) here.send("127.0.0.1", 6000, std::to_string(i));
  std::map<std::string, std::vector<int>> hooks;
  receive_all(q, 4 * count, [&](const packet& p) {
    hooks[text_of(p)].push_back(p.hook);
    must(q.set_verdict(p, verdict::accept()));
  });
  for (int i = 0; i < count; ++i) {
    EXPECT_EQ(there.receive(), std::to_string(i));
    EXPECT_EQ(hooks[std::to_string(i)], (std::vector<int>{3, 4, 0, 1}));
  }
  EXPECT_EQ(q.stats().accepted, 4u * count);
  expect_sum(q);
}

TEST_F(live_verdict, held_packet_takes_a_replacement_of_the_holders_own) {
  queued();
  queue q = must_open();
  flow4().send("aaa");
  flow4().send("bbb");
  const batch got = must(q.receive(soon()));
  std::vector<std::byte> changed(got[0].payload.begin(), got[0].payload.end());
  changed[26] = changed[27] = std::byte{0};
  changed[28] = std::byte{'x'};
  held_packet held = must(q.hold(got[0]));
  must(q.set_verdict(got[1], verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"bbb"}));
  std::thread holder([bytes = std::move(changed), mine = std::move(held)]() mutable {
    must(std::move(mine).set_verdict(verdict::accept().with_payload(bytes)));
  });
  holder.join();
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"xaa"})) << "bytes of others go at once";
  expect_sum(q);
}

TEST_F(live_verdict, replacement_beyond_what_fits_leaves_the_packet_undecided) {
  queued();
  queue q = must_open();
  flow4().send("a");
  const batch got = must(q.receive(soon()));
  const std::vector<std::byte> much(verdict::max_payload + 1);
  const auto refused = q.set_verdict(got[0], verdict::accept().with_payload(much));
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().is(EINVAL));
  must(q.set_verdict(got[0], verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"a"}));
}

TEST_F(live_verdict, truncated_packet_that_a_handler_would_change_gets_the_stated_verdict) {
  queued();
  queue q = must_open({.copy_range = 40, .unanswered = verdict::accept()});
  flow4().send(std::string(100, 'x'));
  flow4().send("short");
  int seen = 0;
  must(serve(q, [&](const packet& p) {
    if (++seen == 2) q.stop();
    return verdict::drop().with_payload(p.payload);  // a replacement of a dropped packet is dropped, too
  }));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{std::string(100, 'x')})) << "whole, not cut";
  EXPECT_EQ(q.stats().unanswered, 1u);
  expect_sum(q);
}

TEST_F(live_verdict, ipv6_packets_are_held_and_changed_likewise) {
  flow6().rule("-A OUTPUT", to_queue);
  queue q = must_open();
  flow6().send("aaa");
  flow6().send("bbb");
  const batch got = must(q.receive(soon()));
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[0].family, 10);
  EXPECT_EQ(got[0].hw_protocol, 0x86dd);
  held_packet held = must(q.hold(got[0]));
  must(q.set_verdict(got[1], verdict::accept().with_payload(got[0].payload)));
  EXPECT_EQ(flow6().arrived(), "aaa");
  must(std::move(held).set_verdict(verdict::drop()));
  must(q.flush());
  EXPECT_TRUE(flow6().nothing_arrived());
  expect_sum(q);
}

// ---- how waiting ends

TEST_F(live_verdict, waiting_ends_by_a_signal_and_goes_on) {
  queued();
  queue q = must_open();
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) {};
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  const pid_t reader = ::gettid();
  std::thread signaller([&] {
    kernel_tests::wait_until_asleep(reader);
    ::kill(::getpid(), SIGUSR1);
  });
  // Only this thread may take it.
  const auto interrupted = q.receive(soon());
  signaller.join();
  ::sigaction(SIGUSR1, &before, nullptr);
  ASSERT_FALSE(interrupted);
  EXPECT_TRUE(interrupted.error().is(EINTR)) << interrupted.error().message();
  flow4().send("a");
  must(q.set_verdict(must(q.receive(soon()))[0], verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"a"}));
}

queue* to_stop = nullptr;

TEST_F(live_verdict, serving_ends_by_a_signal_handler_that_stops) {
  queued();
  queue q = must_open();
  to_stop = &q;
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) { to_stop->stop(); };
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  flow4().send("a");
  const auto ended = serve(q, [&](const packet&) {
    ::raise(SIGUSR1);
    return verdict::accept();
  });
  ::sigaction(SIGUSR1, &before, nullptr);
  EXPECT_TRUE(ended);
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"a"})) << "its verdict was sent";
}

/// In a thread that is cancelled, as far as it lets itself be.
void in_a_cancelled_thread(auto act) {
  std::thread([&] {
    ::pthread_cancel(::pthread_self());
    act();
    ::pthread_testcancel();
  }).join();
}

// Whoever left there by a cancel would end the process: these promise that nothing leaves them.
TEST_F(live_verdict, cancel_of_a_thread_that_gives_a_held_packet_up) {
  queued();
  queue q = must_open({.unanswered = verdict::accept()});
  flow4().send("a");
  std::optional<held_packet> held = must(q.hold(must(q.receive(soon()))[0]));
  bool went_on = false;
  in_a_cancelled_thread([&] {
    held.reset();
    went_on = true;
  });
  EXPECT_TRUE(went_on);
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"a"}));
}

TEST_F(live_verdict, cancel_of_a_thread_that_decides_a_held_packet) {
  queued();
  queue q = must_open({.verdict_delay = 1h});
  flow4().send("a");
  {
    std::optional<held_packet> held = must(q.hold(must(q.receive(soon()))[0]));
    in_a_cancelled_thread([&] { static_cast<void>(std::move(*held).set_verdict(verdict::accept())); });
  }
  flow4().send("held");
  std::optional<held_packet> kept;
  receive_all(q, 1, [&](const packet& p) { kept = must(q.hold(p)); });
  for (const char* text : {"b", "c"}) flow4().send(text);
  receive_all(q, 2, [&](const packet& p) { must(q.set_verdict(p, verdict::accept())); });
  EXPECT_EQ(arrivals(3), (std::vector<std::string>{"a", "b", "c"}));
  must(std::move(*kept).set_verdict(verdict::drop()));
  expect_sum(q);
}

TEST_F(live_verdict, cancel_of_a_thread_that_stops_and_closes_a_queue) {
  queued();
  std::optional<queue> q = must_open({.at_close = queue_options::closing::accept_waiting});
  for (const char* text : {"a", "passed over"}) flow4().send(text);
  must(q->set_verdict(must(q->receive(soon()))[0], verdict::accept()));
  flow4().send("waits");
  bool went_on = false;
  in_a_cancelled_thread([&] {
    q->stop();
    q.reset();
    went_on = true;
  });
  EXPECT_TRUE(went_on);
  EXPECT_EQ(arrivals(2), (std::vector<std::string>{"a", "waits"}));
}

}  // namespace
}  // namespace ipq
