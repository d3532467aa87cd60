// SPDX-License-Identifier: MIT
// Numbered datagrams of IPv4 from the near namespace to the far one, many thousand a second, and which of them arrive:
// so that after a fault every packet can be accounted for.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <iterator>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "kernel/netns.hpp"
#include "kernel/traffic.hpp"

namespace fault_tests {

// Numbers go into the test's output, which its results keep.
inline void tell(const char* what, std::uint64_t count) {
  std::cout << "            " << what << ": " << count << '\n';
}

// Sends from the beginning of its life until stop(). Numbers count from 0, without gaps; each datagram's length and
// bytes follow from its number.
class load {
 public:
  static constexpr std::uint16_t port = 5000;

  // steady: never far ahead of what arrives, so that a listener that is merely short of CPU time does not lose any;
  // while nothing arrives a packet every 5 ms. flood: ahead of any listener.
  enum class pace : bool { steady, flood };

  load(const kernel_tests::netns& near, const kernel_tests::netns& far, pace how = pace::steady,
       std::string_view from = kernel_tests::network_test::near_address,
       std::string_view to = kernel_tests::network_test::far_address);
  load(const load&) = delete;
  load& operator=(const load&) = delete;
  ~load();

  // While paused nothing is sent; returns when that is so.
  void pause();
  void go_on() { paused_ = false; }
  // Sends no more.
  void stop();
  // Receives no more, and leaves the far namespace, which may go then; the sender goes on.
  void leave();

  // How many the kernel has taken from us, and how many the far namespace has received.
  [[nodiscard]] std::uint32_t sent() const { return sent_; }
  [[nodiscard]] std::uint32_t arrived() const { return arrived_; }
  // Waits until so many more have been sent, or have arrived.
  void wait_for_sent(std::uint32_t more) const;
  void wait_for_arrivals(std::uint32_t more) const;
  // Stops, and waits until the last one has arrived, whatever became of others.
  void wait_for_last();

  // What became of them.
  struct account {
    std::vector<std::uint32_t> missing;  // numbers
    std::uint32_t repeated = 0, damaged = 0;
    std::uint32_t unread = 0;  // for which the receiving socket had no room

    // Whether the missing ones follow each other.
    [[nodiscard]] bool in_one_piece() const {
      return missing.empty() || missing.back() - missing.front() + 1 == missing.size();
    }
    // Those of the missing ones that are numbered from first to last.
    [[nodiscard]] account from_to(std::uint32_t first, std::uint32_t last) const {
      account part;
      std::ranges::copy_if(missing, std::back_inserter(part.missing),
                           [&](std::uint32_t each) { return first <= each && each <= last; });
      return part;
    }
  };
  // Stops, waits until so many have arrived, or `patience` has passed, and nothing more does. Ends the receiver.
  account settle(std::uint64_t expected);

 private:
  void send();
  void receive();

  const pace pace_;
  const kernel_tests::endpoint address_;
  kernel_tests::udp_socket from_;
  std::optional<kernel_tests::udp_socket> to_;
  std::atomic<bool> paused_ = false, idle_ = false, stopping_ = false, ending_ = false;
  std::atomic<std::uint32_t> sent_ = 0, arrived_ = 0, last_ = 0;
  std::vector<std::uint8_t> seen_;  // by number; the receiver's until it has ended
  account account_;
  std::thread sender_, receiver_;
};

}  // namespace fault_tests
