// SPDX-License-Identifier: MIT
#include "flow.hpp"

#include <algorithm>

namespace kernel_tests {
namespace {

bool nothing_before_marker(const udp_socket& sender, std::string_view address, const udp_socket& open,
                           const udp_socket& watched) {
  sender.send(address, flow::open_port, "marker");
  open.receive();
  return !watched.receive_now();
}

}  // namespace

flow::flow(const netns& near, const netns& far, uint32_t protocol)
    : near_(near),
      protocol_(protocol),
      near_address_(protocol == ipv4 ? network_test::near_address : network_test::near_address6),
      far_address_(protocol == ipv4 ? network_test::far_address : network_test::far_address6),
      here_(near, near_address_, port),
      there_(far, far_address_, port),
      here_open_(near, near_address_, open_port),
      there_open_(far, far_address_, open_port) {}

const flow& flow::rule(std::string_view table_and_chain, std::string_view target) const {
  must_run(rule_command() + " " + std::string{table_and_chain} + " -p udp --dport " + std::to_string(port) + " -j " +
           std::string{target});
  return *this;
}

std::string flow::rule_command() const {
  return protocol_ == ipv4 ? "iptables-legacy -w" : "ip6tables-legacy -w";
}

void flow::send_numbered(size_t count, size_t size) const {
  // What waits in a queue counts against the send buffer of its socket; this many of any size fit the usual one.
  constexpr size_t per_socket = 40;
  for (size_t number = 0; number < count;) {
    const udp_socket sender{near_, near_address_};
    for (size_t sent = 0; sent < per_socket && number < count; ++sent, ++number) {
      std::string text = std::to_string(number);
      text.resize(std::max(size, text.size()), ' ');
      sender.send(far_address_, port, text);
    }
  }
}

void flow::send_back(std::string_view payload) const {
  there_.send(near_address_, port, payload);
}

bool flow::nothing_arrived() const {
  return nothing_before_marker(here_open_, far_address_, there_open_, there_);
}

bool flow::nothing_arrived_back() const {
  return nothing_before_marker(there_open_, near_address_, here_open_, here_);
}

void flow_test::SetUp() {
  network_test::SetUp();
  if (IsSkipped() || HasFatalFailure()) return;
  flow4_.emplace(near_ns(), far_ns(), ipv4);
  flow6_.emplace(near_ns(), far_ns(), ipv6);
}

}  // namespace kernel_tests
