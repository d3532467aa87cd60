// SPDX-License-Identifier: MIT
// Accepts every packet and records it with its verdict, until Ctrl-C.
#include <ipq/queue.hpp>
#include <ipq/recorder.hpp>

#include <csignal>
#include <iostream>

ipq::queue* running = nullptr;

int main(int argc, char** argv) {
  if (argc != 2) return std::cerr << "usage: record FILE\n", 2;
  auto queue = ipq::queue::open({.number = 0});
  if (!queue) return std::cerr << queue.error().message() << '\n', 1;
  auto recorder = ipq::recorder::open(argv[1]);
  if (!recorder) return std::cerr << recorder.error().message() << '\n', 1;
  running = &*queue;
  std::signal(SIGINT, [](int) { running->stop(); });
  const auto ended = ipq::serve(*queue, [&](const ipq::packet& packet) {
    const auto given = ipq::verdict::accept();
    recorder->record(packet, given);
    return given;
  });
  if (!ended) std::cerr << ended.error().message() << '\n';
  const auto written = recorder->close();
  if (!written) std::cerr << written.error().message() << '\n';
  std::cout << recorder->counts().recorded << " packets recorded, " << recorder->counts().lost << " lost\n";
  return ended && written ? 0 : 1;
}
