// SPDX-License-Identifier: MIT
// One filter, two sources: the kernel's queue, or, where one is named, a capture file.
#include <ipq/capture.hpp>
#include <ipq/queue.hpp>

#include <iostream>

ipq::verdict judge(const ipq::packet& packet) {
  return packet.payload.size() > 1000 ? ipq::verdict::drop() : ipq::verdict::accept();
}

int run(ipq::source& from) {
  const auto ended = ipq::serve(from, judge);
  if (!ended) return std::cerr << ended.error().message() << '\n', 1;
  const auto stats = from.stats();
  std::cout << stats.received << " packets, " << stats.dropped << " dropped\n";
  return 0;
}

int main(int argc, char** argv) {
  if (argc > 1) {
    auto capture = ipq::capture_reader::open(argv[1], {.passed = argc > 2 ? argv[2] : ""});
    if (!capture) return std::cerr << capture.error().message() << '\n', 1;
    return run(*capture);
  }
  auto queue = ipq::queue::open({.number = 0});
  if (!queue) return std::cerr << queue.error().message() << '\n', 1;
  return run(*queue);
}
