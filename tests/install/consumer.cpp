// SPDX-License-Identifier: MIT
// A program that uses the installed C++ library. It opens no queue: it may run where it must not.
#include <ipq/edit.hpp>
#include <ipq/queue.hpp>

#include <string_view>
#include <vector>

int main() {
  const auto address = ipq::ipv4_address::parse("192.0.2.1");
  if (!address || address->to_string() != "192.0.2.1") return 1;
  const auto refused = ipq::queue::open({.number = 7, .copy_range = 65532});
  if (refused) return 2;
  if (refused.error().message() != "bind queue 7: Invalid argument: copy_range is at most 65531 bytes") return 3;
  std::vector<std::byte> buffer;
  return ipq::packet_editor::edit(ipq::packet{}, buffer) ? 4 : 0;
}
