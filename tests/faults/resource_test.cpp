// SPDX-License-Identifier: MIT
// Faults of what a program lives on: descriptors, memory, the clock.
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "ground.hpp"
#include "kernel/child.hpp"
#include "kernel/reader.hpp"
#include "memory.hpp"

namespace fault_tests {
namespace {

using ipq::packet;
using ipq::queue;
using ipq::verdict;
using kernel_tests::child;

class resource_faults : public faults {
 protected:
  // Grants no descriptor beyond those that are open, in the process that calls.
  static void allow_descriptors(std::size_t more) {
    const int first_free = ::dup(0);
    ::close(first_free);
    const rlimit limit{static_cast<rlim_t>(first_free) + more, 4096};
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) throw std::runtime_error("setrlimit");
  }
  static void expect(bool holds, const std::string& what) {
    if (!holds) throw std::runtime_error(what);
  }
  // One packet goes through.
  static void serve_one(queue& q, const load& traffic) {
    const auto arrived = traffic.arrived();
    for (;;) {
      const auto got = must(q.receive(soon()));
      for (const packet& p : got) must(q.set_verdict(p, verdict::accept()));
      if (traffic.arrived() > arrived) return;
    }
  }
};

TEST_F(resource_faults, out_of_descriptors_a_queue_is_refused_and_one_that_is_open_serves) {
  rule();
  child limited([](const child::line& line) {
    for (std::size_t spare = 0; spare < 8; ++spare) {
      allow_descriptors(100);
      const auto before = kernel_tests::open_descriptors();
      allow_descriptors(spare);
      const auto opened = queue::open({.number = number});
      const auto message = opened ? "opened" : opened.error().message();
      if (opened) {
        line.say("open");
        line.wait_for_go();
        continue;
      }
      expect(opened.error().is(EMFILE), message);
      expect(opened.error().queue == number, message);
      allow_descriptors(100);
      expect(kernel_tests::open_descriptors() == before, "a descriptor was left");
    }
    // Served without any more.
    allow_descriptors(100);
    queue q = must_open();
    allow_descriptors(0);
    line.say("serving");
    std::size_t seen = 0;
    while (seen < 500) {
      const auto got = must(q.receive(soon()));
      for (const packet& p : got) must(q.set_verdict(p, verdict::accept()));
      seen += got.size();
    }
    const auto counted = q.stats();
    expect(counted.accepted == seen && counted.in_kernel.has_value(), "the counters can't be read");
    line.say("served");
    line.wait_for_go();
  });
  std::size_t opened = 0;
  std::string said;
  while ((said = limited.hear()) == "open") {
    ++opened;
    limited.go();
  }
  EXPECT_GT(opened, 0u);
  EXPECT_LT(opened, 8u) << "none was refused";
  EXPECT_EQ(said, "serving");
  load traffic(near_ns(), far_ns());
  EXPECT_EQ(limited.hear(), "served");
  traffic.stop();
  limited.go();
  EXPECT_EQ(limited.wait(), 0);
}

TEST_F(resource_faults, out_of_descriptors_a_handle_is_refused_and_one_that_is_open_serves) {
  rule();
  child limited([](const child::line& line) {
    ::setenv("LIBIPQ_QUEUE", "3", 1);
    allow_descriptors(0);
    expect(::ipq_create_handle(0, kernel_tests::ipv4) == nullptr, "a handle without a descriptor");
    expect(kernel_tests::last_error().find("Too many open files") != std::string::npos, kernel_tests::last_error());
    allow_descriptors(100);
    const kernel_tests::handle h(kernel_tests::ipv4, IPQ_COPY_PACKET);
    allow_descriptors(0);  // not even for the names of interfaces
    line.say("serving");
    for (int i = 0; i < 300; ++i) kernel_tests::set_verdict(h, kernel_tests::read_packet(h).id());
    line.say("served");
    line.wait_for_go();
  });
  EXPECT_EQ(limited.hear(), "serving");
  load traffic(near_ns(), far_ns());
  EXPECT_EQ(limited.hear(), "served");
  traffic.stop();
  limited.go();
  EXPECT_EQ(limited.wait(), 0);
}

// Each allocation on the way fails once: the queue is refused with ENOMEM, and nothing is left of it.
TEST_F(resource_faults, out_of_memory_a_queue_is_refused) {
  const auto descriptors = kernel_tests::open_descriptors();
  long fails = 0;
  for (bool done = false; !done; ++fails) {
    ASSERT_LT(fails, 1000);
    granted_allocations = fails;
    auto opened = queue::open({.number = number});
    granted_allocations = -1;
    done = opened.has_value();
    if (done) break;
    EXPECT_TRUE(opened.error().is(ENOMEM)) << opened.error().message();
    ASSERT_EQ(kernel_tests::open_descriptors(), descriptors) << "after " << fails << " allocations";
  }
  EXPECT_GT(fails, 3);
  tell("allocations", static_cast<std::uint64_t>(fails));
}

// No memory while it serves: what can't be held is told and still to be decided, and no packet is lost.
TEST_F(resource_faults, out_of_memory_while_it_serves) {
  rule();
  queue q = must_open();
  load traffic(near_ns(), far_ns());
  std::vector<ipq::held_packet> held;
  held.reserve(4096);
  std::uint64_t refused = 0, seen = 0;
  while (seen < 2000) {
    granted_allocations = static_cast<long>(seen % 3);
    const auto got = q.receive(soon());
    granted_allocations = -1;
    ASSERT_TRUE(got) << got.error().message();
    seen += got->size();
    for (const packet& p : *got) {
      granted_allocations = 0;
      auto kept = q.hold(p);
      granted_allocations = -1;
      if (kept) {
        held.push_back(*std::move(kept));
      } else {
        EXPECT_TRUE(kept.error().is(ENOMEM)) << kept.error().message();
        ++refused;
        must(q.set_verdict(p, verdict::accept()));
      }
    }
    if (held.size() < 100) continue;
    granted_allocations = 0;
    for (auto& each : held) {
      const auto given = std::move(each).set_verdict(verdict::accept());
      EXPECT_TRUE(given) << given.error().message();
    }
    held.clear();
    granted_allocations = -1;
  }
  EXPECT_GT(refused, 0u);
  for (auto& each : held) must(std::move(each).set_verdict(verdict::accept()));
  traffic.stop();
  while (q.stats().in_kernel->waiting != 0) {
    const auto got = q.receive(queue::clock::now() + 10ms);
    if (!got) continue;
    for (const packet& p : *got) must(q.set_verdict(p, verdict::accept()));
  }
  EXPECT_EQ(q.stats().accepted, traffic.sent());
  const auto found = traffic.settle(traffic.sent());
  EXPECT_EQ(found.missing.size() + found.repeated + found.damaged, 0u);
  tell("refused", refused);
}

// The sanitizers' own memory has no limit.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// A process whose memory has a limit ends as it must, and the queue is free at once.
TEST_F(resource_faults, out_of_address_space_ends_the_process_and_nothing_else) {
  rule("--queue-bypass");
  load traffic(near_ns(), far_ns());
  for (int i = 0; i < 3; ++i) {
    child greedy([](const child::line& line) {
      queue q = must_open();
      line.say("open");
      std::ifstream sizes("/proc/self/statm");
      rlim_t pages = 0;
      sizes >> pages;
      const rlim_t bytes = pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + (8 << 20);
      const rlimit limit{bytes, bytes};
      expect(::setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
      std::vector<std::vector<char>> all;
      for (;;) {
        const auto got = must(q.receive(soon()));
        for (const packet& p : got) must(q.set_verdict(p, verdict::accept()));
        all.emplace_back(1 << 20, 'x');
      }
    });
    EXPECT_EQ(greedy.hear(), "open");
    try {
      greedy.hear();
      ADD_FAILURE() << "there was memory";
    } catch (const std::exception& error) {
      EXPECT_NE(std::string(error.what()).find("bad_alloc"), std::string::npos) << error.what();
    }
    greedy.wait();
    traffic.wait_for_arrivals(100);  // by the bypass
  }
  traffic.stop();
  // At most what waited each time.
  EXPECT_LE(traffic.settle(0).missing.size(), 3u * 1024);
}
#endif

// ---- clocks

// ThreadSanitizer has a thread, and only a process without any may enter another time namespace.
#ifndef __SANITIZE_THREAD__
// CLOCK_MONOTONIC as the process sees it jumps by a day, there and back: the process enters another time namespace.
TEST_F(resource_faults, clock_jumps_by_a_day_and_back) {
  rule();
  child jumping([](const child::line& line) {
    queue q = must_open({.verdict_delay = 5ms});
    const int here = ::open("/proc/self/ns/time", O_RDONLY | O_CLOEXEC);
    if (::unshare(CLONE_NEWTIME) != 0) return line.say("none");
    std::ofstream("/proc/self/timens_offsets") << "monotonic 86400 0" << std::flush;
    const int there = ::open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
    line.say("serving");
    std::size_t seen = 0;
    const auto began = queue::clock::now();
    for (int jump = 0; jump < 10; ++jump) {
      // In the midst of a batch, with verdicts that wait.
      const auto got = must(q.receive(soon()));
      seen += got.size();
      for (std::size_t i = 0; i < got.size(); ++i) {
        if (i == got.size() / 2 && ::setns(jump % 2 == 0 ? there : here, CLONE_NEWTIME) != 0) {
          throw std::runtime_error("enter a time namespace");
        }
        must(q.set_verdict(got[i], verdict::accept()));
      }
      const auto away = queue::clock::now() - began;
      expect(jump % 2 == 0 ? away > 23h : away < 1h, "the clock has not jumped");
      for (std::size_t more = 0; more < 100;) {
        const auto next = must(q.receive(soon()));
        for (const packet& p : next) must(q.set_verdict(p, verdict::accept()));
        more += next.size();
        seen += next.size();
      }
      const auto nothing = q.receive(queue::clock::now());  // a deadline is one by the new time
      if (nothing) {
        seen += nothing->size();
        for (const packet& p : *nothing) must(q.set_verdict(p, verdict::accept()));
      }
    }
    line.say("jumped");
    line.wait_for_go();
    for (;;) {
      const auto rest = q.receive(queue::clock::now() + 200ms);
      if (!rest) break;
      seen += rest->size();
      for (const packet& p : *rest) must(q.set_verdict(p, verdict::accept()));
    }
    expect(q.stats().accepted == seen, "not every packet was accepted");
  });
  if (jumping.hear() != "serving") GTEST_SKIP() << "this kernel has no time namespaces";
  load traffic(near_ns(), far_ns());
  EXPECT_EQ(jumping.hear(), "jumped");
  traffic.stop();
  jumping.go();
  EXPECT_EQ(jumping.wait(), 0);
  const auto found = traffic.settle(traffic.sent());
  EXPECT_EQ(found.missing.size() + found.repeated + found.damaged, 0u);
}

#endif

// ---- again and again

TEST_F(resource_faults, repeated_they_leave_no_memory_behind) {
  rule();
  expect_no_growth([this] {
    queue q = must_open({.max_length = 4});
    const kernel_tests::udp_socket from(near_ns(), near_address);
    for (int i = 0; i < 8; ++i) from.send(far_address, load::port, "x");
    const auto got = must(q.receive(soon()));
    EXPECT_FALSE(queue::open({.number = number}));
    if (!got.empty()) static_cast<void>(must(q.hold(got[0])));
    EXPECT_EQ(q.stats().in_kernel->lost_queue_full, 4u);
  });
}

}  // namespace
}  // namespace fault_tests
