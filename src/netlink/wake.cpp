// SPDX-License-Identifier: MIT
#include "netlink/wake.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <ctime>

namespace ipq::netlink {

result<wake> wake::create() noexcept {
  descriptor event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return failed("open event", errno);
  return wake(std::move(event));
}

void wake::signal() const noexcept {
  const int kept = errno;
  const std::uint64_t one = 1;
  // Fails only where the counter is full, and then it is readable.
  static_cast<void>(!::write(event_.fd(), &one, sizeof one));
  errno = kept;
}

result<void> wake::wait(const socket& watched, std::chrono::steady_clock::time_point deadline) const {
  using namespace std::chrono;
  timespec timeout{};
  const bool for_ever = deadline == steady_clock::time_point::max();
  if (!for_ever) {
    const auto now = steady_clock::now();
    const auto left = deadline > now ? duration_cast<nanoseconds>(deadline - now) : nanoseconds::zero();
    timeout = {static_cast<time_t>(left.count() / 1'000'000'000), static_cast<long>(left.count() % 1'000'000'000)};
  }
  pollfd fds[] = {{watched.fd(), POLLIN, 0}, {event_.fd(), POLLIN, 0}};
  const int ready = ::ppoll(fds, 2, for_ever ? nullptr : &timeout, nullptr);
  if (ready < 0) return failed("wait", errno);
  if (ready == 0) return failed("wait", ETIMEDOUT);
  return {};
}

}  // namespace ipq::netlink
