// SPDX-License-Identifier: MIT
// The ground of the fault tests: two joined namespaces, and after each test the look whether a fault has left anything
// behind: a rule, a descriptor, a thread, or a queue that nobody can open. What stays in memory is looked for by
// expect_no_growth().
#pragma once

#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ipq/status.hpp"
#include "kernel/live_queue.hpp"
#include "kernel/process.hpp"
#include "load.hpp"

namespace fault_tests {

using ipq::queue_tests::must;
using ipq::queue_tests::must_open;
using ipq::queue_tests::number;
using ipq::queue_tests::soon;
using kernel_tests::must_run;
using kernel_tests::wait_until;
using namespace std::chrono_literals;

class faults : public kernel_tests::network_test {
 protected:
  void SetUp() override {
    network_test::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (!global_root("what the kernel lost is shown to it alone")) return;
    std::thread([] {}).join();  // where a sanitizer starts one of its own with the first
    descriptors_ = kernel_tests::open_descriptors();
    threads_ = kernel_tests::threads().size();
  }

  void TearDown() override {
    if (IsSkipped()) return;
    remove_rule();
    EXPECT_EQ(left_rules(), "");
    if (HasFatalFailure()) return;
    expect_next_start();
    EXPECT_EQ(kernel_tests::open_descriptors(), descriptors_);
    tell("descriptors left", kernel_tests::open_descriptors().size() - descriptors_.size());
    // One that was joined may have been there still when they were counted.
    wait_until("all threads have ended", [this] { return kernel_tests::threads().size() <= threads_; });
  }

  // What this rule says of goes to queue 3, until remove_rule().
  void rule_for(const std::string& which, std::string_view more = "") {
    rules_.push_back("OUTPUT " + which + " -j NFQUEUE --queue-num 3 " + std::string(more));
    must_run("iptables-legacy -w -A " + rules_.back());
  }
  // Datagrams of the load do.
  void rule(std::string_view more = "") { rule_for("-p udp --dport 5000", more); }
  // Takes away what the test has made, and nothing else.
  void remove_rule() {
    for (const auto& each : std::exchange(rules_, {})) must_run("iptables-legacy -w -D " + each);
  }
  // Rules, chains and tables of either family. Without those of the test none is anybody's but what is tested left it.
  static std::string left_rules() {
    return kernel_tests::run({"sh", "-c",
                              "for i in iptables-legacy ip6tables-legacy; do $i-save | grep -E '^-A|^:[^ ]+ - '; "
                              "done; nft list tables; true"})
        .output;
  }

  // The queue can be opened at once, and serves.
  void expect_next_start() {
    rule();
    {
      ipq::queue next = must_open();
      load one(near_ns(), far_ns());
      bool served = false;
      while (!served) {
        const ipq::batch got = must(next.receive(soon()));
        served = !got.empty();
        for (const ipq::packet& p : got) must(next.set_verdict(p, ipq::verdict::accept()));
      }
      wait_until("a packet arrives", [&] { return one.arrived() > 0; });
    }
    remove_rule();
  }

  // What the kernel says of queue 3 now.
  static ipq::queue_status status() {
    for (auto& each : must(ipq::read_queue_status())) {
      if (each.number == number) return each;
    }
    throw std::runtime_error("nobody has queue 3");
  }
  static std::uint64_t lost_by_the_kernel() {
    const auto now = status();
    return std::uint64_t{now.lost_queue_full} + now.lost_no_buffer;
  }

  // Runs a fault often and compares: what it leaves in memory each time would add up. Sanitizers count on their own,
  // and take their time. The C library has one arena then: it keeps two kilobytes for each further one, and makes as
  // many as threads happen to allocate at once.
  static void expect_no_growth(const char* name, const auto& fault, std::size_t most = 1024) {
    SCOPED_TRACE(name);
    ::mallopt(M_ARENA_MAX, 1);
    for (int i = 0; i < 3; ++i) fault();
    const auto before = allocated();
    for (int i = 0; i < repetitions; ++i) fault();
    const auto after = allocated();
    EXPECT_LE(after, before + most);
    tell("repetitions", repetitions);
    tell("bytes before", before);
    tell("bytes after", after);
  }
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  static constexpr int repetitions = 20;
#else
  static constexpr int repetitions = 200;
#endif
  // Large blocks are mapped, and counted apart.
  static std::size_t allocated() {
    const auto all = ::mallinfo2();
    return all.uordblks + all.hblkhd;
  }

 private:
  std::vector<std::string> rules_;
  std::set<int> descriptors_;
  std::size_t threads_ = 0;
};

// Handles of libipq are made for queue 3 as long as this lives.
class libipq_environment {
 public:
  explicit libipq_environment(std::uint32_t max_length = 1024) {
    ::setenv("LIBIPQ_QUEUE", std::to_string(number).c_str(), 1);
    ::setenv("LIBIPQ_MAX_LENGTH", std::to_string(max_length).c_str(), 1);
  }
  ~libipq_environment() {
    ::unsetenv("LIBIPQ_QUEUE");
    ::unsetenv("LIBIPQ_MAX_LENGTH");
  }
  libipq_environment(const libipq_environment&) = delete;
  libipq_environment& operator=(const libipq_environment&) = delete;
};

}  // namespace fault_tests
