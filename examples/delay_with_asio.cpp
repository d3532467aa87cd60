// SPDX-License-Identifier: MIT
// Delays every packet by 50 ms, with coroutines of Asio: one takes packets, one for each packet holds it meanwhile.
#include <unistd.h>

#include <asio.hpp>
#include <ipq/queue.hpp>

#include <chrono>
#include <iostream>
#include <system_error>
#include <utility>

namespace {

asio::awaitable<void> let_pass_later(ipq::held_packet packet) {
  asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::milliseconds(50));
  co_await timer.async_wait(asio::use_awaitable);
  if (const auto given = std::move(packet).set_verdict(ipq::verdict::accept()); !given) {
    std::cerr << given.error().message() << '\n';
  }
}

asio::awaitable<void> take_packets(ipq::queue& queue) {
  const auto executor = co_await asio::this_coro::executor;
  // A duplicate, as Asio closes what it watches.
  asio::posix::stream_descriptor readable(executor, ::dup(queue.fd()));
  for (;;) {
    co_await readable.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
    const auto received = queue.try_receive();
    if (!received) {
      if (received.error().is(ETIMEDOUT)) continue;  // somebody else was faster
      throw std::system_error(received.error().code, received.error().operation);
    }
    for (const ipq::packet& packet : *received) {
      if (auto held = queue.hold(packet)) asio::co_spawn(executor, let_pass_later(*std::move(held)), asio::detached);
    }
  }
}

}  // namespace

int main() {
  auto queue = ipq::queue::open({.number = 0});
  if (!queue) return std::cerr << queue.error().message() << '\n', 1;
  asio::io_context loop;
  asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&](asio::error_code, int) { loop.stop(); });
  asio::co_spawn(loop, take_packets(*queue), [](std::exception_ptr ended) { std::rethrow_exception(ended); });
  loop.run();
  const ipq::statistics stats = queue->stats();
  std::cout << stats.received << " received, " << stats.accepted << " accepted, " << stats.undecided << " held\n";
}
