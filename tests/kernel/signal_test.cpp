// SPDX-License-Identifier: MIT
// Signals, longjmp and cancellation while a read waits.
#include <gtest/gtest.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "child.hpp"
#include "flow.hpp"
#include "packet_bytes.hpp"
#include "process.hpp"

namespace kernel_tests {
namespace {

// ThreadSanitizer runs a handler only when the call that the signal interrupted has returned, and then once.
#ifdef __SANITIZE_THREAD__
constexpr bool handlers_run_late = true;
#else
constexpr bool handlers_run_late = false;
#endif

// A sanitizer's own code must not be left halfway.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int anywhere = PTHREAD_CANCEL_DEFERRED;
#else
constexpr int anywhere = PTHREAD_CANCEL_ASYNCHRONOUS;
#endif

std::atomic<int> signals_handled;
sigjmp_buf jump_target;

void count_signal(int) {
  signals_handled = signals_handled + 1;
}

void jump_out(int) {
  siglongjmp(jump_target, 1);
}

// SIGALRM every few milliseconds, handled as asked.
void start_ticking(void (*handler)(int), int flags) {
  signals_handled = 0;
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(SIGALRM, &action, nullptr);
  const itimerval every{{0, 10'000}, {0, 10'000}};
  setitimer(ITIMER_REAL, &every, nullptr);
}

void stop_ticking() {
  const itimerval never{};
  setitimer(ITIMER_REAL, &never, nullptr);
  signal(SIGALRM, SIG_IGN);
  signal(SIGALRM, SIG_DFL);
}

// Ticks as long as the object lives.
class ticking {
 public:
  ticking(void (*handler)(int), int flags) { start_ticking(handler, flags); }
  ~ticking() { stop_ticking(); }
};

// Runs f in another thread that no signal interrupts.
auto undisturbed(std::invocable auto f) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  auto future = std::async(std::launch::async, f);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return future;
}

// Both ways in which a handle may wait: alone, or beside one of the other family.
class interrupted_read : public flow_test, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    flow_test::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    flow4().rule();
    h_.emplace(ipv4, static_cast<uint8_t>(IPQ_COPY_PACKET));
    if (GetParam()) other_.emplace(ipv6, static_cast<uint8_t>(IPQ_COPY_PACKET));
    // The message that must survive.
    EXPECT_EQ(ipq_create_handle(0, 17), nullptr);
  }

  const ipq_handle* h() const { return *h_; }

  void expect_all_is_well() const {
    flow4().send("all is well");
    set_verdict(h(), read_packet(h()).id());
    EXPECT_EQ(flow4().arrived(), "all is well");
  }

 private:
  std::optional<handle> h_, other_;
};

TEST_P(interrupted_read, with_timeout_returns_0_and_eintr) {
  for (int flags : {0, SA_RESTART}) {
    ticking ticks{count_signal, flags};
    bytes buffer(2048, 0xa5);
    errno = 0;
    EXPECT_EQ(ipq_read(h(), buffer.data(), buffer.size(), 10'000'000), 0);
    EXPECT_EQ(errno, EINTR);
    EXPECT_STREQ(ipq_errstr(), "Invalid protocol specified");
    EXPECT_EQ(buffer, bytes(2048, 0xa5));
    EXPECT_GE(signals_handled, 1);
  }
  expect_all_is_well();
}

TEST_P(interrupted_read, without_timeout_fails_with_eintr) {
  {
    ticking ticks{count_signal, 0};
    bytes buffer(2048, 0xa5);
    errno = 0;
    EXPECT_EQ(ipq_read(h(), buffer.data(), buffer.size(), 0), -1);
    EXPECT_EQ(errno, EINTR);
    EXPECT_STREQ(ipq_errstr(), "Failed to receive netlink message");
    EXPECT_EQ(buffer, bytes(2048, 0xa5));
    EXPECT_GE(signals_handled, 1);
  }
  expect_all_is_well();
}

TEST_P(interrupted_read, without_timeout_goes_on_with_sa_restart) {
  ticking ticks{count_signal, SA_RESTART};
  auto sender = undisturbed([&] {
    if (handlers_run_late) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    } else {
      wait_until("the third signal", [] { return signals_handled >= 3; });
    }
    flow4().send("after three signals");
  });
  bytes buffer(2048);
  ssize_t length = 0;
  EXPECT_EQ(errno_after([&] { length = ipq_read(h(), buffer.data(), buffer.size(), 0); }), untouched_errno);
  ASSERT_GT(length, 0) << last_error(h());
  EXPECT_GE(signals_handled, handlers_run_late ? 1 : 3);
  EXPECT_EQ(udp_payload(message{buffer}.payload()), "after three signals");
  sender.get();
}

// Whether a handler jumped out of a read. Nothing with a destructor may live where it jumps over.
bool read_until_jump(const ipq_handle* h, int timeout) {
  unsigned char buffer[2048];
  if (sigsetjmp(jump_target, 1) != 0) return true;
  start_ticking(jump_out, 0);
  ipq_read(h, buffer, sizeof buffer, timeout);
  return false;
}

TEST_P(interrupted_read, handler_may_jump_out) {
  for (int timeout : {0, 10'000'000, 0, 10'000'000}) {
    const bool jumped = read_until_jump(h(), timeout);
    stop_ticking();
    EXPECT_TRUE(jumped) << "the read returned: " << last_error(h());
    expect_all_is_well();
    // Another thread must not find a lock held, either.
    std::async(std::launch::async, [&] { expect_all_is_well(); }).get();
  }
}

TEST_P(interrupted_read, reader_may_be_cancelled) {
  for (int timeout : {0, 10'000'000}) {
    std::promise<pid_t> tid;
    struct reader {
      const ipq_handle* h;
      int timeout;
      std::promise<pid_t>* tid;
      unsigned char buffer[2048];
    } arguments{h(), timeout, &tid, {}};
    pthread_t thread;
    ASSERT_EQ(pthread_create(
                  &thread, nullptr,
                  [](void* data) -> void* {
                    auto& mine = *static_cast<reader*>(data);
                    mine.tid->set_value(gettid());
                    ipq_read(mine.h, mine.buffer, sizeof mine.buffer, mine.timeout);
                    return nullptr;
                  },
                  &arguments),
              0);
    wait_until_asleep(tid.get_future().get());
    ASSERT_EQ(pthread_cancel(thread), 0);
    void* result = nullptr;
    ASSERT_EQ(pthread_join(thread, &result), 0);
    EXPECT_EQ(result, PTHREAD_CANCELED);
    expect_all_is_well();
  }
}

TEST_P(interrupted_read, blocked_signal_does_not_end_it) {
  sigset_t alarm, before;
  sigemptyset(&alarm);
  sigaddset(&alarm, SIGALRM);
  pthread_sigmask(SIG_BLOCK, &alarm, &before);
  start_ticking(count_signal, 0);
  bytes buffer(2048);
  errno = 0;
  EXPECT_EQ(ipq_read(h(), buffer.data(), buffer.size(), 50'000), 0);
  EXPECT_STREQ(ipq_errstr(), "Timeout");
  EXPECT_EQ(errno, 0);
  EXPECT_EQ(signals_handled, 0) << "a thread of the library took the signal";
  // Ignoring a signal forgets the one that is pending.
  stop_ticking();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

struct reading_for_ever {
  ipq_handle* h;
  int timeout;
  std::atomic<bool> started;
};

// Nothing with a destructor may live where a thread is cancelled at any instruction.
void* read_for_ever(void* data) {
  auto& mine = *static_cast<reading_for_ever*>(data);
  unsigned char buffer[2048];
  int before;
  pthread_setcanceltype(anywhere, &before);
  mine.started = true;
  for (;;) {
    ipq_read(mine.h, buffer, sizeof buffer, mine.timeout);
    ipq_set_verdict(mine.h, 1, NF_ACCEPT, 0, nullptr);
    ipq_set_max_length(mine.h, 0);
    ipq_handle_errstr(mine.h);
    ipq_errstr();
  }
}

TEST_P(interrupted_read, reader_that_may_be_cancelled_anywhere_is_so_where_it_does_no_harm) {
  // Without optimization functions have something to clean up where they have nothing to.
  if (child::counts_lines()) GTEST_SKIP() << "not in a build that counts lines";
  for (const int timeout : {-1, 0, 100}) {
    child program{[&](const child::line& line) {
      for (int number = 0; number < 300; ++number) {
        reading_for_ever reading{const_cast<ipq_handle*>(h()), timeout, false};
        pthread_t thread;
        pthread_create(&thread, nullptr, read_for_ever, &reading);
        while (!reading.started) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::microseconds(number % 200));
        pthread_cancel(thread);
        pthread_join(thread, nullptr);
      }
      line.say("all have ended");
    }};
    EXPECT_EQ(program.hear(), "all have ended");
    EXPECT_EQ(program.wait(), 0);
  }
  bytes refusals(2048);  // of verdicts on no packet
  while (ipq_read(h(), refusals.data(), refusals.size(), 200'000) > 0) {
  }
  expect_all_is_well();
}

INSTANTIATE_TEST_SUITE_P(handle, interrupted_read, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "beside_another_family" : "alone"; });

}  // namespace
}  // namespace kernel_tests
