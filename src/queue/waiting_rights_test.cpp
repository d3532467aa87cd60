// SPDX-License-Identifier: MIT
// How a reader waits on the real kernel: what ends it, and queue_options::when_idle.
#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include <atomic>
#include <cerrno>
#include <stdexcept>
#include <string>
#include <thread>

#include "ipq/queue.hpp"
#include "kernel/flow.hpp"
#include "kernel/netns.hpp"
#include "kernel/process.hpp"
#include "unit/without_capability.hpp"

namespace ipq {
namespace {

using namespace std::chrono_literals;
using waiting = queue_options::waiting;

queue must_open(queue_options options) {
  options.number = 3;
  auto opened = queue::open(options);
  if (!opened) throw std::runtime_error(opened.error().message());
  return *std::move(opened);
}

queue::clock::time_point soon() {
  return queue::clock::now() + 10s;
}

/// How often the calling thread has slept.
long sleeps() {
  rusage used{};
  ::getrusage(RUSAGE_THREAD, &used);
  return used.ru_nvcsw;
}

class reader_waits : public kernel_tests::flow_test {
 protected:
  void queued() { flow4().rule("-A OUTPUT", "NFQUEUE --queue-num 3"); }

  /// Runs `act` on another thread once this one sleeps in receive(), and returns how that ended. `again`: until it has
  /// ended, for what has no effect on a thread that has just woken up, as signals.
  template <class Act>
  static result<batch> receive_until(queue& q, queue::clock::time_point deadline, Act act, bool again = false) {
    const pid_t reader = ::gettid();
    const pthread_t thread = ::pthread_self();
    std::atomic<bool> ended = false;
    std::thread other([&] {
      do {
        kernel_tests::wait_until_asleep(reader);
        act(thread);
        if (again) std::this_thread::sleep_for(10ms);
      } while (again && !ended);
    });
    auto received = q.receive(deadline);
    ended = true;
    other.join();
    return received;
  }
};

class reader_waits_with : public reader_waits, public ::testing::WithParamInterface<waiting> {};

queue* stopped_by_handler = nullptr;

/// A handler that is there for a while, with SA_RESTART.
class handled {
 public:
  explicit handled(void (*handler)(int)) {
    struct sigaction wanted {};
    wanted.sa_handler = handler;
    wanted.sa_flags = SA_RESTART;
    ::sigaction(SIGUSR1, &wanted, &before_);
  }
  ~handled() { ::sigaction(SIGUSR1, &before_, nullptr); }
  handled(const handled&) = delete;
  handled& operator=(const handled&) = delete;

 private:
  struct sigaction before_ {};
};

TEST_P(reader_waits_with, signal_handler_ends_it_also_with_a_deadline) {
  queue q = must_open({.when_idle = GetParam()});
  const handled handled([](int) {});
  const auto interrupt = [](pthread_t reader) { ::pthread_kill(reader, SIGUSR1); };
  for (const auto deadline : {queue::clock::time_point::max(), soon()}) {
    const auto ended = receive_until(q, deadline, interrupt, true);
    ASSERT_FALSE(ended);
    EXPECT_TRUE(ended.error().is(EINTR)) << ended.error().message();
  }
}

TEST_P(reader_waits_with, stop_ends_it_also_with_a_deadline) {
  for (const auto deadline : {queue::clock::time_point::max(), soon()}) {
    queue q = must_open({.when_idle = GetParam()});
    const auto ended = receive_until(q, deadline, [&](pthread_t) { q.stop(); });
    ASSERT_FALSE(ended);
    EXPECT_TRUE(ended.error().is(ECANCELED)) << ended.error().message();
  }
}

TEST_P(reader_waits_with, packet_ends_it) {
  queued();
  for (const auto deadline : {queue::clock::time_point::max(), soon()}) {
    queue q = must_open({.when_idle = GetParam()});
    const auto received =
        receive_until(q, deadline, [&](pthread_t) { kernel_tests::in(near_ns(), [&] { flow4().send("x"); }); });
    ASSERT_TRUE(received);
    EXPECT_EQ(received->size(), 1u);
  }
}

TEST_P(reader_waits_with, every_packet_is_answered_in_order) {
  queued();
  queue q = must_open({.max_length = 4096, .when_idle = GetParam()});
  constexpr std::size_t count = 3000;
  std::thread sender([&] { kernel_tests::in(near_ns(), [&] { flow4().send_numbered(count, 1); }); });
  std::uint32_t last = 0;
  for (std::size_t seen = 0; seen < count;) {
    const auto got = q.receive(soon());
    ASSERT_TRUE(got) << got.error().message();
    for (const packet& p : *got) {
      EXPECT_EQ(p.id, ++last);
      ASSERT_TRUE(q.set_verdict(p, verdict::drop()));
    }
    seen += got->size();
  }
  sender.join();
  const auto s = q.stats();
  EXPECT_EQ(s.dropped, count);
  ASSERT_TRUE(s.in_kernel);
  EXPECT_EQ(s.in_kernel->waiting, 0u);
}

INSTANTIATE_TEST_SUITE_P(, reader_waits_with,
                         ::testing::Values(waiting::adaptive, waiting::latency, waiting::throughput),
                         [](const auto& one) {
                           return one.param == waiting::adaptive  ? "adaptive"
                                  : one.param == waiting::latency ? "latency"
                                                                  : "throughput";
                         });

TEST_F(reader_waits, stop_in_a_signal_handler_ends_serve) {
  queue q = must_open({});
  stopped_by_handler = &q;
  const handled handled([](int) { stopped_by_handler->stop(); });
  const pid_t reader = ::gettid();
  const pthread_t thread = ::pthread_self();
  std::thread other([&] {
    kernel_tests::wait_until_asleep(reader);
    ::pthread_kill(thread, SIGUSR1);
  });
  EXPECT_TRUE(serve(q, [](const packet&) { return verdict::accept(); }));
  other.join();
}

TEST_F(reader_waits, stop_needs_no_capability) {
  queue q = must_open({});
  const auto ended = receive_until(q, soon(), [&](pthread_t) {
    const unit_tests::without_net_admin ordinary;
    q.stop();
  });
  ASSERT_FALSE(ended);
  EXPECT_TRUE(ended.error().is(ECANCELED));
}

TEST_F(reader_waits, stop_shows_at_the_descriptor) {
  queue q = must_open({});
  pollfd watched{q.fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&watched, 1, 0), 0);
  q.stop();
  q.stop();
  EXPECT_EQ(::poll(&watched, 1, 0), 1);
  EXPECT_TRUE(q.try_receive().error().is(ECANCELED));
}

TEST_F(reader_waits, only_throughput_sleeps_while_a_packet_is_there) {
  queued();
  for (const auto how : {waiting::adaptive, waiting::latency, waiting::throughput}) {
    queue q = must_open({.when_idle = how});
    long slept = 0;
    // On a slow machine the pause may be over before it has begun, but not every time.
    for (int turn = 0; turn < 100 && slept == 0; ++turn) {
      flow4().send("a");
      long before = sleeps();
      const auto got = q.receive(soon());
      ASSERT_TRUE(got);
      EXPECT_EQ(got->size(), 1u);
      slept += sleeps() - before;
      ASSERT_TRUE(q.set_verdict((*got)[0], verdict::drop()));
      before = sleeps();
      flow4().send("b");
      const auto tried = q.try_receive();
      ASSERT_TRUE(tried);
      EXPECT_EQ(sleeps(), before) << "try_receive never waits";
      ASSERT_TRUE(q.set_verdict((*tried)[0], verdict::drop()));
    }
    EXPECT_EQ(slept > 0, how == waiting::throughput);
  }
}

TEST_F(reader_waits, deadline_that_is_nearer_than_a_pause_is_kept) {
  queued();
  queue q = must_open({.when_idle = waiting::throughput});
  flow4().send("a");
  const long before = sleeps();
  EXPECT_TRUE(q.receive(queue::clock::now()));
  EXPECT_EQ(sleeps(), before);
}

TEST_F(reader_waits, small_queue_has_no_pauses) {
  queued();
  queue q = must_open({.max_length = 32, .when_idle = waiting::throughput});
  flow4().send("a");
  const long before = sleeps();
  EXPECT_TRUE(q.receive(soon()));
  EXPECT_EQ(sleeps(), before);
}

}  // namespace
}  // namespace ipq
