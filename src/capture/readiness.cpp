// SPDX-License-Identifier: MIT
#include "capture/readiness.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cstdint>
#include <ctime>

namespace ipq::capture {
namespace {

timespec to_timespec(std::chrono::nanoseconds time) noexcept {
  return {static_cast<time_t>(time.count() / 1'000'000'000), static_cast<long>(time.count() % 1'000'000'000)};
}

bool watch(int all, int fd) noexcept {
  epoll_event event{};
  event.events = EPOLLIN;
  return ::epoll_ctl(all, EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

result<readiness> readiness::create(int input) noexcept {
  descriptor all(::epoll_create1(EPOLL_CLOEXEC));
  descriptor timer(all ? ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK) : -1);
  descriptor stopped(timer ? ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1);
  if (!stopped || !watch(all.fd(), timer.fd()) || !watch(all.fd(), stopped.fd())) return failed("watch input", errno);
  // /dev/null and the like are never waited for, and epoll does not take them.
  if (input >= 0 && !watch(all.fd(), input)) {
    if (errno != EPERM) return failed("watch input", errno);
    input = -1;
  }
  readiness made(std::move(all), std::move(timer), std::move(stopped), input);
  made.now_ = state::input;
  if (input < 0) made.set_ready();
  return made;
}

void readiness::set(state wanted, clock::time_point when) noexcept {
  if (wanted == state::input && input_ < 0) wanted = state::ready;
  if (wanted == now_ && when == when_) return;
  itimerspec timer{};
  if (wanted == state::ready) timer.it_value.tv_nsec = 1;  // in the past: readable as long as nobody reads it
  if (wanted == state::at_time) {
    timer.it_value =
        to_timespec(std::max<std::chrono::nanoseconds>(when.time_since_epoch(), std::chrono::nanoseconds(1)));
  }
  static_cast<void>(::timerfd_settime(timer_.fd(), TFD_TIMER_ABSTIME, &timer, nullptr));
  if (input_ >= 0 && (wanted == state::input) != (now_ == state::input)) {
    // Taken out and not only masked: the end of a pipe would be reported all the same.
    static_cast<void>(wanted == state::input ? watch(all_.fd(), input_)
                                             : ::epoll_ctl(all_.fd(), EPOLL_CTL_DEL, input_, nullptr) == 0);
  }
  now_ = wanted;
  when_ = when;
}

void readiness::stop() const noexcept {
  const int kept = errno;
  const std::uint64_t one = 1;
  // Fails only where the counter is full, and then it is readable.
  static_cast<void>(!::write(stopped_.fd(), &one, sizeof one));
  errno = kept;
}

result<void> readiness::wait(clock::time_point deadline) const noexcept {
  using namespace std::chrono;
  timespec timeout{};
  const bool for_ever = deadline == clock::time_point::max();
  if (!for_ever) {
    const auto now = clock::now();
    timeout = to_timespec(deadline > now ? duration_cast<nanoseconds>(deadline - now) : nanoseconds::zero());
  }
  pollfd watched{all_.fd(), POLLIN, 0};
  const int ready = ::ppoll(&watched, 1, for_ever ? nullptr : &timeout, nullptr);
  if (ready < 0) return failed("wait", errno);
  if (ready == 0) return failed("wait", ETIMEDOUT);
  return {};
}

}  // namespace ipq::capture
