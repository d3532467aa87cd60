// SPDX-License-Identifier: MIT
// Faults of what a program lives on: descriptors, memory, the clock.
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
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
  // So many have arrived, and what nobody served any more is missing.
  static void expect_first_arrived(load& traffic, std::uint32_t served) {
    const auto found = traffic.settle(served);
    EXPECT_EQ(traffic.arrived(), served);
    EXPECT_EQ(found.from_to(0, served - 1).missing, std::vector<std::uint32_t>());
    EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
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
    line.say(std::to_string(seen));
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
  const auto served = static_cast<std::uint32_t>(std::stoul(limited.hear()));
  traffic.stop();
  limited.go();
  EXPECT_EQ(limited.wait(), 0);
  expect_first_arrived(traffic, served);
}

TEST_F(resource_faults, out_of_descriptors_a_handle_is_refused_and_one_that_is_open_serves) {
  static constexpr std::uint32_t served = 300;
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
    for (std::uint32_t i = 0; i < served; ++i) kernel_tests::set_verdict(h, kernel_tests::read_packet(h).id());
    line.say("served");
    line.wait_for_go();
  });
  EXPECT_EQ(limited.hear(), "serving");
  load traffic(near_ns(), far_ns());
  EXPECT_EQ(limited.hear(), "served");
  traffic.stop();
  limited.go();
  EXPECT_EQ(limited.wait(), 0);
  expect_first_arrived(traffic, served);
}

// Each allocation on the way fails once: the queue is refused with ENOMEM, and nothing is left of it.
TEST_F(resource_faults, out_of_memory_a_queue_is_refused) {
  granted_allocations = 0;
  void* const none = ::operator new(8, std::nothrow);
  granted_allocations = -1;
  EXPECT_EQ(none, nullptr) << "not every way to allocate can fail";
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

// Whichever operator new of a C function fails: it is refused with ENOMEM and leaves nothing, or does its work.
TEST_F(resource_faults, out_of_memory_in_c_functions) {
  static constexpr std::uint32_t served = 300;
  static constexpr unsigned taken_number = 4;
  const queue taken = must_open({.number = taken_number});
  child limited([](const child::line& line) {
    std::uint64_t refused = 0;
    // With no allocation, with one, with two, until it works.
    const auto call = [&refused](const std::string& what, auto function) {
      for (long granted = 0;; ++granted) {
        expect(granted < 1000, what + " never works");
        const auto descriptors = kernel_tests::open_descriptors();
        const auto threads = kernel_tests::threads().size();
        errno = 0;
        granted_allocations = granted;
        const bool works = function();
        const int why = errno;
        granted_allocations = -1;
        if (works) return;
        expect(why == ENOMEM, what + ": " + std::strerror(why));
        expect(kernel_tests::open_descriptors() == descriptors, what + " left a descriptor");
        expect(kernel_tests::threads().size() == threads, what + " left a thread");
        ++refused;
      }
    };
    const auto with_none = [](const std::string& what, auto function) {
      granted_allocations = 0;
      const bool holds = function();
      granted_allocations = -1;
      expect(holds, what + ": " + kernel_tests::last_error());
    };
    alignas(8) unsigned char buffer[4096];
    const auto reads_error = [&buffer](ipq_handle* from, int error) {
      return ipq_read(from, buffer, sizeof buffer, 10'000'000) > 0 && ipq_message_type(buffer) == NLMSG_ERROR &&
             ipq_get_msgerr(buffer) == error;
    };
    const auto create = [&call](unsigned flags, std::size_t i) {
      ipq_handle* made = nullptr;
      call("create",
           [&] { return (made = ipq_create_handle(flags, i == 0 ? kernel_tests::ipv4 : kernel_tests::ipv6)); });
      return made;
    };
    for (const unsigned flags : {0u, IPQ_CREATE_BATCH}) {
      ipq_handle* const refused_one = create(flags, 0);
      call("set queue", [&] { return ipq_set_queue(refused_one, taken_number) >= 0; });
      with_none("wrong queue", [&] { return ipq_set_queue(refused_one, 70'000) < 0; });
      expect(ipq_set_mode(refused_one, IPQ_COPY_META, 0) >= 0, "set mode");  // with memory to learn that it may
      with_none("late queue", [&] { return ipq_set_queue(refused_one, 5) < 0; });
      with_none("taken queue", [&] { return reads_error(refused_one, EBUSY); });
      ipq_destroy_handle(refused_one);

      ipq_handle* handles[2]{};
      for (std::size_t i : {0u, 1u}) {
        ipq_handle* const h = handles[i] = create(flags, i);
        call("set queue", [&] { return ipq_set_queue(h, number) >= 0; });
        call("set mode", [&] { return ipq_set_mode(h, IPQ_COPY_PACKET, 0xffff) >= 0; });
      }
      ipq_status status;
      ipq_stats stats;
      call("get status", [&] { return ipq_get_status(handles[0], &status, sizeof status) >= 0; });
      call("get stats", [&] { return ipq_get_stats(handles[0], &stats, sizeof stats) >= 0; });
      with_none("unknown packet", [&] {
        ipq_set_verdict(handles[0], 4'000'000'000, NF_ACCEPT, 0, nullptr);
        return reads_error(handles[0], ENOENT);
      });
      line.say("serving");
      for (std::uint32_t i = 0; i < served; ++i) {
        with_none("serve", [&] {
          return ipq_read(handles[0], buffer, sizeof buffer, 0) > 0 && ipq_message_type(buffer) == IPQM_PACKET &&
                 ipq_set_verdict(handles[0], ipq_get_packet(buffer)->packet_id, NF_ACCEPT, 0, nullptr) >= 0;
        });
      }
      line.say("served");
      line.wait_for_go();
      ipq_get_status(handles[0], &status, sizeof status);
      expect(status.length > 0, "nothing is left to be dropped");
      with_none("destroy", [&] { return ipq_destroy_handle(handles[0]) == 0; });
      wait_until("what one left is dropped", [&] {
        ipq_get_status(handles[1], &status, sizeof status);
        return status.length == 0;
      });
      with_none("destroy", [&] { return ipq_destroy_handle(handles[1]) == 0; });
    }

    // On a capture: of each family as many packets as it has, and then the end.
    char path[] = "/tmp/ipq_memory_XXXXXX";
    const int file = ::mkostemp(path, O_CLOEXEC);
    expect(file >= 0, "a temporary file");
    static constexpr std::uint32_t packets = 50;
    std::string capture;
    const auto put = [&capture](auto... numbers) {
      for (const std::uint32_t each : {std::uint32_t{numbers}...}) {
        for (int shift = 0; shift < 32; shift += 8) capture += static_cast<char>(each >> shift);
      }
    };
    put(0xa1b2c3d4u, 0x00040002u, 0u, 0u, 65535u, 101u);  // pcap, of bare packets
    for (std::uint32_t i = 0; i < packets; ++i) {
      put(0u, 0u, 20u, 20u, 0x14000045u, 0u, 0x1140u, 0u, 0u);
      put(0u, 0u, 40u, 40u, 0x60u, 0x403b0000u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u);
    }
    expect(::write(file, capture.data(), capture.size()) == static_cast<ssize_t>(capture.size()), "the capture");
    ::setenv("LIBIPQ_SOURCE", (std::string("capture:") + path + "," + path + ".out").c_str(), 1);
    ipq_handle* handles[2]{};
    for (std::size_t i : {0u, 1u}) {
      handles[i] = create(0, i);
      call("set mode", [&] { return ipq_set_mode(handles[i], IPQ_COPY_PACKET, 0xffff) >= 0; });
    }
    std::uint32_t seen[2]{};
    for (std::size_t i : {0u, 1u}) {
      for (bool ended = false; !ended;) {
        ssize_t got = 0;
        call("read", [&] {
          got = ipq_read(handles[i], buffer, sizeof buffer, 0);
          ended = got < 0 && errno != ENOMEM;
          return got > 0 || ended;
        });
        if (ended) break;
        ++seen[i];
        call("set verdict", [&] {
          return ipq_set_verdict(handles[i], ipq_get_packet(buffer)->packet_id, NF_ACCEPT, 0, nullptr) >= 0;
        });
      }
      expect(kernel_tests::last_error().find("EOF") != std::string::npos, kernel_tests::last_error());
    }
    for (ipq_handle* each : handles) ipq_destroy_handle(each);
    ::close(file);
    ::unlink(path);
    ::unlink((std::string(path) + ".out").c_str());
    expect(seen[0] == packets && seen[1] == packets,
           "packets of the capture: " + std::to_string(seen[0]) + " " + std::to_string(seen[1]));
    line.say(std::to_string(refused));
  });
  for (int round = 0; round < 2; ++round) {
    ASSERT_EQ(limited.hear(), "serving");
    rule();
    load traffic(near_ns(), far_ns());
    ASSERT_EQ(limited.hear(), "served");
    while (traffic.sent() <= served) std::this_thread::sleep_for(1ms);  // so that something waits when it is destroyed
    traffic.stop();
    limited.go();
    expect_first_arrived(traffic, served);
    remove_rule();
  }
  const auto refused = std::stoull(limited.hear());
  EXPECT_GT(refused, 10u);
  EXPECT_EQ(limited.wait(), 0);
  tell("refused", refused);
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
  struct life {
    std::uint32_t began, over;  // what had been sent
  };
  std::vector<life> lives;
  for (int i = 0; i < 3; ++i) {
    traffic.pause();  // a queue that begins under load may lose one
    lives.push_back({traffic.sent(), 0});
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
    traffic.go_on();
    try {
      greedy.hear();
      ADD_FAILURE() << "there was memory";
    } catch (const std::exception& error) {
      EXPECT_NE(std::string(error.what()).find("bad_alloc"), std::string::npos) << error.what();
    }
    greedy.wait();
    lives.back().over = traffic.sent();
    traffic.wait_for_arrivals(100);  // by the bypass
  }
  traffic.wait_for_last();
  const auto found = traffic.settle(0);
  SCOPED_TRACE(testing::PrintToString(found.missing));
  // What waited each time, at most: one stretch.
  std::size_t known = 0;
  for (const auto& each : lives) {
    const auto lost = found.from_to(each.began, each.over);
    EXPECT_TRUE(lost.in_one_piece()) << each.began << " to " << each.over;
    EXPECT_LE(lost.missing.size(), 1024u);
    known += lost.missing.size();
  }
  EXPECT_EQ(known, found.missing.size());
  EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
}
#endif

// ---- clocks

// ThreadSanitizer has a thread, and only a process without any may enter another time namespace.
#ifndef __SANITIZE_THREAD__
// CLOCK_MONOTONIC as the process sees it jumps by a day, there and back: the process enters another time namespace.
class clock_faults : public resource_faults {
 protected:
  class clock_jumps {
   public:
    [[nodiscard]] bool possible() {
      here_ = ::open("/proc/self/ns/time", O_RDONLY | O_CLOEXEC);
      if (::unshare(CLONE_NEWTIME) != 0) return false;
      std::ofstream("/proc/self/timens_offsets") << "monotonic 86400 0" << std::flush;
      there_ = ::open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
      return true;
    }
    // Whether the next one is ahead.
    [[nodiscard]] bool ahead() const { return done_ % 2 == 0; }
    void jump() {
      expect(::setns(ahead() ? there_ : here_, CLONE_NEWTIME) == 0, "enter a time namespace");
      const auto away = queue::clock::now() - began_;
      expect(ahead() ? away > 23h : away < 1h, "the clock has not jumped");
      ++done_;
    }

   private:
    int here_ = -1, there_ = -1;
    unsigned done_ = 0;
    const queue::clock::time_point began_ = queue::clock::now();
  };
  // What the test and the child tell each other: how many jumps are wanted and done, and when it is enough.
  struct conversation {
    std::atomic<std::uint32_t> wanted = 0, done = 0;
    std::atomic<bool> enough = false;
  };

  // How long something takes, by the time of day, which does not jump here.
  static auto time_of(const auto& what) {
    const auto start = std::chrono::system_clock::now();
    what();
    return std::chrono::system_clock::now() - start;
  }

  static void serve_in_cpp(conversation& told, clock_jumps& clock, const child::line& line) {
    queue q = must_open({.verdict_delay = 5ms});
    line.say("serving");
    std::size_t seen = 0;
    while (!told.enough) {
      const auto got = q.receive(queue::clock::now() + 10ms);
      if (!got) {
        expect(got.error().is(ETIMEDOUT), got.error().message());
        continue;
      }
      seen += got->size();
      const bool jumps_now = told.wanted != told.done;
      for (std::size_t i = 0; i < got->size(); ++i) {
        if (jumps_now && i == got->size() / 2) clock.jump();  // in the midst of a batch, with verdicts that wait
        must(q.set_verdict((*got)[i], verdict::accept()));
      }
      if (jumps_now) ++told.done;
    }
    // Nothing comes any more, so the deadlines alone end it.
    const auto ends_after = [&](queue::clock::time_point deadline) {
      return time_of([&] {
        const auto nothing = q.receive(deadline);
        expect(!nothing && nothing.error().is(ETIMEDOUT), nothing ? "a packet" : nothing.error().message());
      });
    };
    static_cast<void>(ends_after(queue::clock::now()));
    for (int i = 0; i < 4; ++i) {
      const bool ahead = clock.ahead();
      const auto before = queue::clock::now() + 1h;
      clock.jump();
      if (ahead) expect(ends_after(before) < 10s, "a deadline that the jump has passed is not over");
      const auto took = ends_after(queue::clock::now() + 20ms);
      expect(took > 15ms && took < 10s, "a deadline by the new time is not kept");
    }
    expect(q.stats().accepted == seen, "not every packet was accepted");
    expect(q.stats().in_kernel->waiting == 0, "packets wait");
  }

  static void serve_in_c(conversation& told, clock_jumps& clock, const child::line& line) {
    const libipq_environment of_libipq;
    const kernel_tests::handle h(kernel_tests::ipv4, IPQ_COPY_PACKET);
    line.say("serving");
    alignas(8) unsigned char buffer[4096];
    std::uint64_t seen = 0;
    while (!told.enough) {
      const auto got = ::ipq_read(h, buffer, sizeof buffer, 10'000);
      if (got == 0) continue;
      expect(got > 0 && ::ipq_message_type(buffer) == IPQM_PACKET, "read: " + kernel_tests::last_error(h));
      ++seen;
      if (told.wanted != told.done) {
        clock.jump();
        ++told.done;
      }
      kernel_tests::set_verdict(h, ::ipq_get_packet(buffer)->packet_id);
    }
    for (int i = 0; i < 4; ++i) {
      clock.jump();
      const auto took = time_of([&] {
        expect(::ipq_read(h, buffer, sizeof buffer, 20'000) == 0, "a message: " + kernel_tests::last_error(h));
      });
      expect(took > 15ms && took < 10s, "a timeout by the new time is not kept");
    }
    expect(kernel_tests::stats_of(h).accepted == seen, "not every packet was accepted");
    expect(kernel_tests::status_of(h).length == 0, "packets wait");
  }

  void jump_under_load(void (*serve)(conversation&, clock_jumps&, const child::line&)) {
    void* const memory =
        ::mmap(nullptr, sizeof(conversation), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    auto& jumps = *new (memory) conversation;
    rule();
    child jumping([&](const child::line& line) {
      clock_jumps clock;
      if (!clock.possible()) return line.say("none");
      serve(jumps, clock, line);
    });
    const bool serves = jumping.hear() == "serving";
    if (!serves) GTEST_SKIP() << "this kernel has no time namespaces";
    load traffic(near_ns(), far_ns());
    for (std::uint32_t i = 1; i <= 10; ++i) {
      jumps.wanted = i;
      wait_until("the clock jumps", [&] { return jumps.done == i; });
      traffic.wait_for_arrivals(100);
    }
    traffic.wait_for_last();
    jumps.enough = true;
    EXPECT_EQ(jumping.wait(), 0);
    const auto found = traffic.settle(traffic.sent());
    EXPECT_EQ(found.missing.size() + found.repeated + found.damaged, 0u);
    ::munmap(memory, sizeof(conversation));
  }
};

TEST_F(clock_faults, jump_by_a_day_and_back_in_cpp) {
  jump_under_load(serve_in_cpp);
}

TEST_F(clock_faults, jump_by_a_day_and_back_in_c) {
  jump_under_load(serve_in_c);
}

#endif

}  // namespace
}  // namespace fault_tests
