// SPDX-License-Identifier: MIT
// Accepts what has up to 1000 bytes and drops the rest: a first program with the C++ library.
#include <ipq/queue.hpp>

#include <iostream>

int main() {
  auto queue = ipq::queue::open({.number = 0});
  if (!queue) return std::cerr << queue.error().message() << '\n', 1;
  const auto ended = ipq::serve(*queue, [](const ipq::packet& packet) {
    return packet.payload.size() > 1000 ? ipq::verdict::drop() : ipq::verdict::accept();
  });
  if (!ended) return std::cerr << ended.error().message() << '\n', 1;
}
