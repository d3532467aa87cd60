// SPDX-License-Identifier: MIT
// Gives every packet a time to live of 9: how a packet is edited and written back.
#include <ipq/edit.hpp>
#include <ipq/queue.hpp>

#include <iostream>
#include <vector>

int main() {
  auto queue = ipq::queue::open({.number = 0});
  if (!queue) return std::cerr << queue.error().message() << '\n', 1;
  const auto ended = ipq::serve(*queue, [](const ipq::packet& packet, std::vector<std::byte>& buffer) {
    auto editor = ipq::packet_editor::edit(packet, buffer);
    if (!editor) return ipq::verdict::accept();  // truncated, or no IP packet: as it is
    editor->set_ttl(9);
    return ipq::verdict::accept().with_payload(editor->finish());
  });
  if (!ended) return std::cerr << ended.error().message() << '\n', 1;
}
