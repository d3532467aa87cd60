// SPDX-License-Identifier: MIT
// Two queues with a thread each, which count bytes by protocol without a lock; Ctrl-C ends it and prints the sums.
#include <ipq/decode.hpp>
#include <ipq/workers.hpp>

#include <array>
#include <csignal>
#include <cstdint>
#include <iostream>

namespace {

using byte_counts = std::array<std::uint64_t, 256>;  // of each protocol

ipq::workers* running = nullptr;

}  // namespace

int main() {
  std::array<byte_counts, 2> counts{};
  auto pool = ipq::workers::start({.queue = {.number = 0}, .count = 2}, [&](ipq::queue& mine, std::size_t worker) {
    byte_counts& own = counts[worker];
    return ipq::serve(mine, [&](const ipq::packet& packet) {
      const auto layers = ipq::decode(packet.payload);
      if (layers) own[static_cast<std::uint8_t>(layers->transport)] += packet.payload.size();
      return ipq::verdict::accept();
    });
  });
  if (!pool) return std::cerr << pool.error().message() << '\n', 1;
  running = &*pool;
  std::signal(SIGINT, [](int) { running->stop(); });
  std::signal(SIGTERM, [](int) { running->stop(); });
  const auto ended = pool->join();
  for (std::size_t protocol = 0; protocol < 256; ++protocol) {
    const auto bytes = counts[0][protocol] + counts[1][protocol];
    if (bytes != 0) std::cout << "protocol " << protocol << ": " << bytes << " bytes\n";
  }
  if (!ended) return std::cerr << ended.error().message() << '\n', 1;
}
