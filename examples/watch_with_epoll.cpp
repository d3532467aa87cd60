// SPDX-License-Identifier: MIT
// A queue in an event loop: accepts everything, prints a line a packet and, at the end of standard input, the counters.
#include <sys/epoll.h>
#include <unistd.h>

#include <ipq/queue.hpp>

#include <iostream>

namespace {

/// Everything that is there now; false if the queue failed.
bool answer_packets(ipq::queue& queue) {
  for (;;) {
    const auto received = queue.try_receive();
    if (!received) {
      if (received.error().is(ETIMEDOUT)) return true;
      std::cerr << received.error().message() << '\n';
      return false;
    }
    for (const ipq::packet& packet : *received) {
      std::cout << "packet " << packet.id << ", hook " << int{packet.hook} << ", " << packet.payload.size()
                << " bytes\n";
      if (const auto given = queue.set_verdict(packet, ipq::verdict::accept()); !given) {
        std::cerr << given.error().message() << '\n';
      }
    }
    for (const ipq::event& event : received->events()) {
      std::cout << "verdict on packet " << event.id << ": " << event.code.message() << '\n';
    }
  }
}

bool at_end_of_input() {
  char ignored[256];
  return ::read(STDIN_FILENO, ignored, sizeof ignored) <= 0;
}

}  // namespace

int main() {
  auto queue = ipq::queue::open({.number = 0});
  if (!queue) return std::cerr << queue.error().message() << '\n', 1;
  const int loop = ::epoll_create1(EPOLL_CLOEXEC);
  for (const int fd : {queue->fd(), STDIN_FILENO}) {
    epoll_event watched{.events = EPOLLIN, .data = {.fd = fd}};
    if (::epoll_ctl(loop, EPOLL_CTL_ADD, fd, &watched) != 0) return std::cerr << "epoll_ctl failed\n", 1;
  }
  std::cout << "watching queue " << queue->number() << std::endl;
  for (bool running = true; running;) {
    epoll_event ready{};
    if (::epoll_wait(loop, &ready, 1, -1) < 1) continue;
    running = ready.data.fd == STDIN_FILENO ? !at_end_of_input() : answer_packets(*queue);
  }
  ::close(loop);
  const ipq::statistics stats = queue->stats();
  std::cout << stats.received << " received, " << stats.accepted << " accepted, " << stats.gone << " gone\n";
}
