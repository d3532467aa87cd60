// SPDX-License-Identifier: MIT
// Workers on the real kernel: a range of queues that --queue-balance feeds, order, held packets that change threads.
#include "ipq/rule.hpp"
#include "ipq/workers.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "ipq/decode.hpp"
#include "ipq/ipv4.hpp"
#include "kernel/live_queue.hpp"
#include "kernel/process.hpp"

namespace ipq {
namespace {

using namespace queue_tests;
using kernel_tests::udp_socket;

constexpr std::uint16_t count = 4;
constexpr std::string_view to_range = "NFQUEUE --queue-balance 3:6";

/// Sixteen flows, told apart by the address of the far end: all in one of four queues happens once in 4^15 boots.
class workers_test : public live_queue {
 protected:
  static constexpr int flows = 16;

  void SetUp() override {
    live_queue::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    std::string addresses, neighbours;
    for (int i = 0; i < flows; ++i) {
      addresses += "addr add " + address(i) + "/24 dev far0\n";
      neighbours += "neigh add " + address(i) + " lladdr " + std::string(far_mac) + " nud permanent dev near0\n";
    }
    kernel_tests::in(far_ns(), [&] { return must_run("ip -batch -", addresses); });
    must_run("ip -batch -", neighbours);
    for (int i = 0; i < flows; ++i) {
      near_.emplace_back(near_ns(), near_address);
      far_.emplace_back(far_ns(), address(i), flow::port);
    }
  }

  static std::string address(int of) { return "192.0.2." + std::to_string(100 + of); }
  /// The flow of a packet in either direction.
  static int flow_of(const packet& p) {
    const auto view = ipv4_view::parse(p.payload);
    const auto last = [](const ipv4_address& at) { return at.bytes[3] - 100; };
    return last(view->destination()) >= 0 ? last(view->destination()) : last(view->source());
  }
  void send(int of, const std::string& text) {
    near_[static_cast<std::size_t>(of)].send(address(of), flow::port, text);
  }
  std::string arrived(int of) { return far_[static_cast<std::size_t>(of)].receive(); }
  const udp_socket& near_socket(int of) { return near_[static_cast<std::size_t>(of)]; }
  const udp_socket& far_socket(int of) { return far_[static_cast<std::size_t>(of)]; }

  static workers must_start(const workers_options& options, workers::body work) {
    return must(workers::start(options, std::move(work)));
  }
  static workers_options range() { return {.queue = {.number = number}, .count = count}; }
  /// A datagram of each flow arrives and is counted; ends the workers.
  void expect_flows_served(workers& pool) {
    for (int i = 0; i < flows; ++i) {
      send(i, "x");
      EXPECT_EQ(arrived(i), "x");
    }
    pool.stop();
    must(pool.join());
    EXPECT_EQ(pool.stats().accepted, static_cast<std::uint64_t>(flows));
  }
  static void expect_all_free() {
    for (std::uint16_t i = 0; i < count; ++i) {
      const auto opened = queue::open({.number = static_cast<std::uint16_t>(number + i)});
      EXPECT_TRUE(opened) << opened.error().message();
    }
  }

 private:
  std::vector<udp_socket> near_, far_;
};

verdict accept_all(const packet&) {
  return verdict::accept();
}

result<void> serve_all(queue& mine, std::size_t) {
  return serve(mine, accept_all);
}

TEST_F(workers_test, packets_of_a_flow_meet_one_worker_and_stay_in_order) {
  flow4().rule("-A OUTPUT", to_range);
  std::array<std::atomic<unsigned>, flows> seen_by{};
  std::atomic<unsigned> all_workers = 0;
  workers pool = must_start(range(), [&](queue& mine, std::size_t worker) {
    EXPECT_EQ(mine.number(), number + worker);
    unsigned turn = 0;
    return serve(mine, [&](const packet& p) {
      seen_by[static_cast<std::size_t>(flow_of(p))] |= 1u << worker;
      all_workers |= 1u << worker;
      if (++turn % 5 == worker) std::this_thread::sleep_for(200us);  // each at its own pace
      return verdict::accept();
    });
  });
  EXPECT_EQ(pool.size(), count);
  constexpr int each = 40;
  for (int turn = 0; turn < each; ++turn) {
    for (int i = 0; i < flows; ++i) send(i, std::to_string(turn));
  }
  for (int i = 0; i < flows; ++i) {
    for (int turn = 0; turn < each; ++turn) ASSERT_EQ(arrived(i), std::to_string(turn)) << "flow " << i;
  }
  pool.stop();
  must(pool.join());
  for (const auto& workers_of_flow : seen_by) EXPECT_EQ(std::popcount(workers_of_flow.load()), 1);
  EXPECT_GT(std::popcount(all_workers.load()), 1) << "one worker had all the work";
  const statistics sum = pool.stats();
  EXPECT_EQ(sum.accepted, static_cast<std::uint64_t>(flows * each));
  std::uint64_t parts = 0;
  for (std::size_t i = 0; i < pool.size(); ++i) parts += pool.stats(i).accepted;
  EXPECT_EQ(parts, sum.accepted);
}

TEST_F(workers_test, printed_rule_feeds_their_range) {
  const std::uint16_t last = number + count - 1;
  std::string rule = iptables_rule({.family = feeding_rule::ip_family::ipv4, .first_queue = number, .last_queue = last},
                                   "-p udp --dport 5000");
  must_run(rule.insert(rule.find(' '), "-legacy -w"));
  workers pool = must_start(range(), serve_all);
  expect_flows_served(pool);
}

TEST_F(workers_test, both_directions_of_a_flow_meet_one_worker) {
  flow4().rule("-A OUTPUT", to_range);
  must_run("iptables-legacy -w -A INPUT -p udp --sport 5000 -j " + std::string(to_range));
  std::mutex mutex;
  std::map<int, std::set<std::pair<std::size_t, int>>> seen;  // flow: worker and hook
  workers pool = must_start(range(), [&](queue& mine, std::size_t worker) {
    return serve(mine, [&, worker](const packet& p) {
      const std::lock_guard locked(mutex);
      seen[flow_of(p)].emplace(worker, p.hook);
      return verdict::accept();
    });
  });
  for (int i = 0; i < flows; ++i) {
    send(i, "question");
    EXPECT_EQ(arrived(i), "question");
    far_socket(i).send(near_address, near_socket(i).port(), "answer");
    EXPECT_EQ(near_socket(i).receive(), "answer");
  }
  pool.stop();
  must(pool.join());
  for (const auto& [which, places] : seen) {
    ASSERT_EQ(places.size(), 2u) << "flow " << which;
    EXPECT_EQ(places.begin()->first, places.rbegin()->first) << "flow " << which << " changed its worker";
  }
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(flows));
}

TEST_F(workers_test, held_packets_are_decided_by_another_worker) {
  flow4().rule("-A OUTPUT", to_range);
  constexpr int each = 30, all = flows * each;
  struct mailbox {
    std::mutex mutex;
    std::vector<held_packet> packets;
  };
  std::array<mailbox, count> mail;
  std::atomic<int> decided = 0, foreign = 0;
  workers pool = must_start(range(), [&](queue& mine, std::size_t worker) -> result<void> {
    for (;;) {
      const auto got = mine.receive(queue::clock::now() + 1ms);
      if (!got && got.error().is(ECANCELED)) return {};
      if (!got && !got.error().is(ETIMEDOUT)) return std::unexpected(got.error());
      if (got) {
        mailbox& next = mail[(worker + 1) % count];
        for (const packet& p : *got) {
          auto held = mine.hold(p);
          if (!held) return std::unexpected(held.error());
          const std::lock_guard locked(next.mutex);
          next.packets.push_back(*std::move(held));
        }
      }
      std::vector<held_packet> from_others;
      {
        const std::lock_guard locked(mail[worker].mutex);
        from_others.swap(mail[worker].packets);
      }
      for (held_packet& one : from_others) {
        if (const auto given = std::move(one).set_verdict(verdict::accept()); !given) return given;
        ++foreign;
        ++decided;
      }
    }
  });
  for (int turn = 0; turn < each; ++turn) {
    for (int i = 0; i < flows; ++i) send(i, std::to_string(turn));
  }
  for (int i = 0; i < flows; ++i) {
    std::multiset<std::string> seen, wanted;
    for (int turn = 0; turn < each; ++turn) seen.insert(arrived(i)), wanted.insert(std::to_string(turn));
    EXPECT_EQ(seen, wanted);
  }
  kernel_tests::wait_until("all verdicts", [&] { return decided == all; });
  // While they run: from this thread.
  kernel_tests::wait_until("the count of accepted packets", [&] { return pool.stats().accepted == all; });
  pool.stop();
  must(pool.join());
  EXPECT_EQ(foreign, all);
  const statistics sum = pool.stats();
  EXPECT_EQ(sum.undecided, 0u);
  EXPECT_EQ(sum.gone, 0u);
  if (sum.in_kernel) {
    EXPECT_EQ(sum.in_kernel->queued, static_cast<std::uint32_t>(all));
    EXPECT_EQ(sum.in_kernel->waiting, 0u);
  }
}

TEST_F(workers_test, the_sum_is_exact_under_overload) {
  flow4().rule("-A OUTPUT", to_range);
  workers_options options = range();
  options.queue.max_length = 50;
  options.queue.receive_buffer = 60'000;
  std::atomic<bool> overloaded = false, flood_ends = false;
  workers pool = must_start(options, [&](queue& mine, std::size_t worker) {
    unsigned turn = 0;
    return serve(mine, [&](const packet&) {
      if (++turn % 16 == 0) std::this_thread::sleep_for(1ms);
      // A worker may be faster than any flood: on one processor it may run after each packet.
      while (!overloaded) std::this_thread::sleep_for(1ms);
      return turn % (2 + worker) == 0 ? verdict::accept() : verdict::drop();
    });
  });
  std::jthread watcher([&](const std::stop_token& test_ends) {
    while (!flood_ends && !test_ends.stop_requested()) {
      const statistics s = pool.stats();
      EXPECT_LE(s.accepted + s.dropped, s.received);
      if (s.in_kernel && s.in_kernel->lost_queue_full + s.in_kernel->lost_no_buffer > 0) overloaded = true;
    }
    overloaded = true;
  });
  for (int sent = 0; sent < 5000 || !overloaded; sent += flows) {
    for (int i = 0; i < flows; ++i) send(i, std::string(200, 'x'));
  }
  flood_ends = true;
  watcher.join();
  // What waits is served first.
  kernel_tests::wait_until("the end of the work", [&] { return pool.stats().in_kernel->waiting == 0; });
  pool.stop();
  must(pool.join());
  const statistics s = pool.stats();
  EXPECT_EQ(s.in_kernel->queued, s.accepted + s.dropped + s.gone + s.in_kernel->lost_no_buffer);
  EXPECT_EQ(s.received, s.accepted + s.dropped + s.gone);
}

TEST_F(workers_test, pinned_to_the_cpus_in_turn) {
  cpu_set_t allowed;
  ASSERT_EQ(::sched_getaffinity(0, sizeof allowed, &allowed), 0);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE && cpus.size() < 2; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
  }
  workers_options options = range();
  options.cpus = cpus;
  std::atomic<unsigned> right = 0;
  workers pool = must_start(options, [&](queue& mine, std::size_t worker) {
    cpu_set_t mine_alone;
    EXPECT_EQ(::sched_getaffinity(0, sizeof mine_alone, &mine_alone), 0);
    if (CPU_COUNT(&mine_alone) == 1 && CPU_ISSET(cpus[worker % cpus.size()], &mine_alone)) ++right;
    return serve(mine, accept_all);
  });
  kernel_tests::wait_until("all workers to run", [&] { return right == count; });
  cpu_set_t after;
  ASSERT_EQ(::sched_getaffinity(0, sizeof after, &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&allowed, &after)) << "the starting thread is where it was";
}

TEST_F(workers_test, what_cant_start_leaves_nothing_behind) {
  const auto refusal = [](const workers_options& options) {
    bool ran = false;
    const auto started = workers::start(options, [&](queue&, std::size_t) -> result<void> {
      ran = true;
      return {};
    });
    EXPECT_FALSE(ran);
    return started ? "started" : started.error().message();
  };
  EXPECT_EQ(refusal({.queue = {.number = number}, .count = 0}), "start workers 3: Invalid argument: a count of 0");
  EXPECT_EQ(refusal({.queue = {.number = 65534}, .count = 3}),
            "start workers 65534: Invalid argument: the range of queues passes 65535");
  workers_options options = range();
  for (const int cpu : {-1, CPU_SETSIZE - 1, CPU_SETSIZE}) {
    options.cpus = {0, cpu};
    EXPECT_EQ(refusal(options), "pin worker: Invalid argument") << cpu;
  }
  expect_all_free();
  {
    const queue taken = must_open({.number = number + 2});
    const auto started = workers::start(range(), serve_all);
    ASSERT_FALSE(started);
    EXPECT_TRUE(started.error().is(EBUSY));
    EXPECT_EQ(started.error().queue, number + 2);
  }
  expect_all_free();
  const auto last = workers::start({.queue = {.number = 65534}, .count = 2}, serve_all);
  EXPECT_TRUE(last) << last.error().message();
}

TEST_F(workers_test, the_first_error_ends_all_and_is_what_join_returns) {
  flow4().rule("-A OUTPUT", to_queue);  // the first worker's
  workers pool = must_start(range(), [](queue& mine, std::size_t worker) -> result<void> {
    if (worker != 0) return serve(mine, accept_all);
    static_cast<void>(mine.receive());
    return failed("look at a packet", EPROTO);
  });
  flow4().send("x");
  for (int again = 0; again < 2; ++again) {
    const auto ended = pool.join();
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().message(), "look at a packet: Protocol error");
  }
}

TEST_F(workers_test, what_a_worker_throws_comes_out_of_join) {
  flow4().rule("-A OUTPUT", to_queue);
  workers pool = must_start(range(), [](queue& mine, std::size_t) {
    return serve(mine, [](const packet&) -> verdict { throw std::runtime_error("not this one"); });
  });
  flow4().send("x");
  EXPECT_THROW(static_cast<void>(pool.join()), std::runtime_error);
}

TEST_F(workers_test, ends_well_when_a_worker_just_returns_or_says_that_it_was_stopped) {
  workers pool = must_start(range(), [](queue& mine, std::size_t worker) -> result<void> {
    if (worker == 1) return {};
    const auto got = mine.receive();
    return got ? failed("receive", EPROTO) : std::unexpected(got.error());
  });
  EXPECT_TRUE(pool.join());
}

TEST_F(workers_test, worker_that_ends_its_thread_ends_all) {
  workers pool = must_start(range(), [](queue& mine, std::size_t worker) -> result<void> {
    if (worker == 0) ::pthread_exit(nullptr);
    return serve(mine, accept_all);
  });
  EXPECT_TRUE(pool.join());
}

TEST_F(workers_test, stopped_by_a_handler_of_the_packets_and_by_the_destructor) {
  flow4().rule("-A OUTPUT", to_range);
  {
    workers* self = nullptr;
    std::atomic<bool> set = false;
    workers pool = must_start(range(), [&](queue& mine, std::size_t) {
      return serve(mine, [&](const packet&) {
        while (!set) std::this_thread::yield();
        self->stop();
        return verdict::accept();
      });
    });
    self = &pool;
    set = true;
    flow4().send("x");
    must(pool.join());
    EXPECT_EQ(pool.stats().received, 1u);
  }
  { workers pool = must_start(range(), serve_all); }
  expect_all_free();
  workers moved = must_start(range(), serve_all);
  moved = must_start({.queue = {.number = 20}, .count = 2}, serve_all);
  expect_all_free();
}

workers* to_stop = nullptr;

TEST_F(workers_test, stopped_by_a_signal_handler_that_never_runs_in_a_worker) {
  static std::atomic<pid_t> handled_by;
  handled_by = 0;
  workers pool = must_start(range(), serve_all);
  to_stop = &pool;
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) {
    handled_by = ::gettid();
    to_stop->stop();
  };
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  const auto all = kernel_tests::threads();
  EXPECT_GT(all.size(), count);
  for (const pid_t thread : all) {
    if (thread == ::getpid()) continue;
    EXPECT_NE(kernel_tests::blocked_signals(thread) >> (SIGUSR1 - 1) & 1, 0u);
  }
  ASSERT_EQ(::kill(::getpid(), SIGUSR1), 0);
  must(pool.join());
  EXPECT_EQ(handled_by, ::getpid());
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(workers_test, in_another_network_namespace) {
  kernel_tests::in(far_ns(), [&] { flow4().rule("-A INPUT", to_range); });
  workers_options options = range();
  options.queue.network_namespace_fd = far_ns().fd();
  workers pool = must_start(options, serve_all);
  expect_flows_served(pool);
}

}  // namespace
}  // namespace ipq
