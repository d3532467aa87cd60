// SPDX-License-Identifier: MIT
// Network namespaces for tests against the real kernel, and the fixture that most tests start from.
// Everything lives in namespaces that vanish with the process: nothing of the host is touched.
#pragma once

#include <gtest/gtest.h>
#include <time.h>

#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "command.hpp"

namespace kernel_tests {

// A network namespace, kept alive by a descriptor.
class netns {
 public:
  static netns current();
  // Makes a namespace and leaves the calling thread where it was.
  static netns create();

  netns(netns&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  netns& operator=(netns&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~netns();

  int fd() const { return fd_; }

 private:
  explicit netns(int fd) : fd_(fd) {}
  int fd_;
};

// The calling thread, and what it starts meanwhile, is in the namespace as long as this object lives.
class inside {
 public:
  explicit inside(const netns& there);
  inside(const inside&) = delete;
  inside& operator=(const inside&) = delete;
  ~inside();

 private:
  netns back_;
};

// Calls f() in the namespace: in(far, [] { return must_run("ip addr"); }).
auto in(const netns& there, std::invocable auto f) {
  inside guard{there};
  return f();
}

enum class rights {
  global_root,  // CAP_NET_ADMIN in the first user namespace: may force buffers
  namespaced,   // root of a user namespace of its own
  missing       // neither: no namespace can be made
};

// What this process may do. The first call may move the process to a user namespace of its own, so it has to come
// while there is one thread only; the fixture sees to that.
rights rights_of_process();

// Whether the kernel shows the counters of its queues to this process, in the namespace that the thread is in. It does
// to its root, and to the root of a user namespace only where ids were mapped before the network namespace was made.
bool queue_counters_are_shown();

// Why rights are missing, for people.
const std::string& why_rights_are_missing();

// Two namespaces, `near_ns` with the rules and the queue, and `far_ns`, the peer, joined by a veth pair:
//   near_ns: near0 02:00:00:00:00:01 192.0.2.1/24 2001:db8::1/64   far_ns: far0 02:00:00:00:00:02 192.0.2.2/24
//   2001:db8::2/64
// lo is up in both, neighbours are known, and addresses work at once. The test runs in near_ns. Without the rights to
// make this the test is skipped, or fails when the environment says CI=true. A test that hangs is aborted after a
// while.
class network_test : public ::testing::Test {
 public:
  static constexpr std::string_view near_address = "192.0.2.1", far_address = "192.0.2.2";
  static constexpr std::string_view near_address6 = "2001:db8::1", far_address6 = "2001:db8::2";
  static constexpr std::string_view near_mac = "02:00:00:00:00:01", far_mac = "02:00:00:00:00:02";

 protected:
  network_test();
  ~network_test() override;
  void SetUp() override;

  const netns& near_ns() const { return *near_; }
  const netns& far_ns() const { return *far_; }

  // Waits until packets pass from one address to the other. The kernel notices a carrier, and puts the route to an IPv6
  // address in place, in the background; meanwhile it loses packets.
  static void wait_for_path(const netns& from, std::string_view from_address, const netns& to,
                            std::string_view to_address);
  // The same for near0 and far0, both families and both directions. SetUp does it; tests that take the link down have
  // to do it again, with the addresses back in place.
  void wait_for_link() const;

  // Rules in the namespace that the thread is in: iptables("-t mangle -A INPUT -p udp -j QUEUE").
  static void iptables(std::string_view rule);
  static void ip6tables(std::string_view rule);

  // Skips the test, with the reason, where only root outside of any user namespace can do what it needs; fails it
  // instead in CI, unless the whole run is meant to be in a user namespace. Use it as: if (!global_root("why")) return;
  static bool global_root(std::string_view what_for);

 private:
  std::optional<netns> origin_, near_, far_;
  timer_t watchdog_;
};

}  // namespace kernel_tests
