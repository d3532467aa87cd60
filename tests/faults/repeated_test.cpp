// SPDX-License-Identifier: MIT
// Faults again and again: what one leaves in memory would add up.
#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include "ground.hpp"
#include "ipq/interfaces.hpp"
#include "kernel/child.hpp"
#include "kernel/reader.hpp"
#include "listener.hpp"
#include "memory.hpp"
#include "unit/without_capability.hpp"

namespace fault_tests {
namespace {

using ipq::packet;
using ipq::queue;
using ipq::verdict;

// near0, by ioctl(2): as a command does it, without starting one each time.
class near_device {
 public:
  near_device() : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket") {}

  void set_up(bool up) const {
    ifreq asked = named("near0");
    must_do(SIOCGIFFLAGS, asked);
    asked.ifr_flags = static_cast<short>(up ? asked.ifr_flags | IFF_UP : asked.ifr_flags & ~IFF_UP);
    must_do(SIOCSIFFLAGS, asked);
  }
  // False where the kernel does not rename an interface that is up.
  [[nodiscard]] bool rename(const char* from, const char* to) const {
    ifreq asked = named(from);
    std::strncpy(asked.ifr_newname, to, sizeof asked.ifr_newname - 1);
    return ::ioctl(socket_.get(), SIOCSIFNAME, &asked) == 0;
  }

 private:
  static ifreq named(const char* name) {
    ifreq made{};
    std::strncpy(made.ifr_name, name, sizeof made.ifr_name - 1);
    return made;
  }
  void must_do(unsigned long what, ifreq& asked) const {
    if (::ioctl(socket_.get(), what, &asked) != 0) throw std::system_error(errno, std::generic_category(), "near0");
  }

  kernel_tests::descriptor socket_;
};

// The process gets no descriptor as long as this lives.
class no_descriptors {
 public:
  no_descriptors() {
    if (::getrlimit(RLIMIT_NOFILE, &usual_) != 0) throw std::runtime_error("getrlimit");
    const int first_free = ::dup(0);
    ::close(first_free);
    const rlimit none{static_cast<rlim_t>(first_free), usual_.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) throw std::runtime_error("setrlimit");
  }
  ~no_descriptors() { ::setrlimit(RLIMIT_NOFILE, &usual_); }
  no_descriptors(const no_descriptors&) = delete;
  no_descriptors& operator=(const no_descriptors&) = delete;

 private:
  rlimit usual_{};
};

class repeated_faults : public faults {
 protected:
  void SetUp() override {
    faults::SetUp();
    if (!IsSkipped() && !HasFatalFailure()) from_.emplace(near_ns(), near_address);
  }
  void TearDown() override {
    from_.reset();
    faults::TearDown();
  }
  void send(int count, std::size_t size = 1) const {
    for (int i = 0; i < count; ++i) from_->send(far_address, load::port, std::string(size, 'x'));
  }

  static constexpr int room = 4;
  // Reads what a queue of that length holds, and accepts it; says of each round what is allocated.
  static void serve_rounds(library written_with, const kernel_tests::child::line& line) {
    if (written_with == library::cpp) {
      queue q = must_open({.max_length = room});
      line.say("open");
      for (;;) {
        for (std::size_t seen = 0; seen < room;) {
          const auto got = must(q.receive(soon()));
          seen += got.size();
          for (const packet& p : got) must(q.set_verdict(p, verdict::accept()));
        }
        line.say(std::to_string(allocated()));
      }
    }
    const kernel_tests::handle h(kernel_tests::ipv4, IPQ_COPY_PACKET);
    line.say("open");
    for (;;) {
      for (int i = 0; i < room; ++i) kernel_tests::set_verdict(h, kernel_tests::read_packet(h).id());
      line.say(std::to_string(allocated()));
    }
  }

 private:
  std::optional<kernel_tests::udp_socket> from_;
};

TEST_F(repeated_faults, leave_no_memory_in_a_queue) {
  rule();
  expect_no_growth("full, and wanted by another", [&] {
    queue q = must_open({.max_length = 4});
    send(8);
    const auto got = must(q.receive(soon()));
    EXPECT_FALSE(queue::open({.number = number}));
    if (!got.empty()) static_cast<void>(must(q.hold(got[0])));
    EXPECT_EQ(q.stats().in_kernel->lost_queue_full, 4u);
  });
  expect_no_growth("lost messages", [&] {
    queue q = must_open({.receive_buffer = 4096});
    send(20, 1000);
    const auto lost = q.stats().in_kernel->lost_no_buffer;
    EXPECT_GT(lost, 0u);
    for (std::size_t seen = 0; seen < 20 - lost;) seen += must(q.receive(soon())).size();
  });
  expect_no_growth("no memory", [] {
    for (long granted = 0;; ++granted) {
      granted_allocations = granted;
      const auto opened = queue::open({.number = number});
      granted_allocations = -1;
      if (opened) break;
      EXPECT_TRUE(opened.error().is(ENOMEM)) << opened.error().message();
    }
  });
  expect_no_growth("no descriptors", [&] {
    const no_descriptors now;
    EXPECT_FALSE(queue::open({.number = number}));
  });
  expect_no_growth("capability lost", [&] {
    queue q = must_open({.verdict_delay = 0ms});
    send(4);
    const auto got = must(q.receive(soon()));
    {
      const unit_tests::without_net_admin powerless;
      for (const packet& p : got) must(q.set_verdict(p, verdict::accept()));
    }
    EXPECT_FALSE(must(q.receive(soon())).events().empty());
  });
  expect_no_growth("forks", [&] {
    queue q = must_open();
    send(2);
    const auto got = must(q.receive(soon()));
    const pid_t made = ::fork();
    if (made == 0) ::_exit(0);
    ::waitpid(made, nullptr, 0);
    for (const packet& p : got) must(q.set_verdict(p, verdict::accept()));
  });
}

TEST_F(repeated_faults, leave_no_memory_in_a_handle) {
  using kernel_tests::handle, kernel_tests::ipv4;
  const libipq_environment of_libipq(room);
  rule();
  expect_no_growth("full, and wanted by another", [&] {
    const handle h(ipv4, IPQ_COPY_PACKET);
    send(2 * room);
    EXPECT_EQ(lost_by_the_kernel(), 0u + room);
    {
      kernel_tests::child other([](const kernel_tests::child::line& line) {
        const handle second(ipv4, IPQ_COPY_PACKET);
        line.say(std::to_string(kernel_tests::read_error(second).error()));
      });
      EXPECT_EQ(other.hear(), std::to_string(EBUSY));
    }
    for (int i = 0; i < room; ++i) kernel_tests::set_verdict(h, kernel_tests::read_packet(h).id());
  });
  expect_no_growth("refused, as another has it", [&] {
    const queue first = must_open();
    const handle second(ipv4, IPQ_COPY_PACKET);
    EXPECT_EQ(kernel_tests::read_error(second).error(), EBUSY);
  });
  expect_no_growth("no memory", [] {
    for (long granted = 0;; ++granted) {
      granted_allocations = granted;
      ipq_handle* const made = ::ipq_create_handle(0, ipv4);
      const int why = errno;
      granted_allocations = -1;
      if (made != nullptr) {
        ::ipq_destroy_handle(made);
        break;
      }
      EXPECT_EQ(why, ENOMEM);
    }
  });
  expect_no_growth("no descriptors", [] {
    const no_descriptors now;
    EXPECT_EQ(::ipq_create_handle(0, ipv4), nullptr);
  });
  expect_no_growth("capability lost", [&] {
    const handle h(ipv4, IPQ_COPY_PACKET);
    send(1);
    const auto id = kernel_tests::read_packet(h).id();
    const unit_tests::without_net_admin powerless;
    kernel_tests::set_verdict(h, id);
    EXPECT_EQ(kernel_tests::read_error(h).error(), EPERM);
  });
}

TEST_F(repeated_faults, leave_no_memory_in_a_listener_that_is_held_up) {
  for (const library which : {library::cpp, library::c}) {
    const libipq_environment of_libipq(room);
    rule();
    kernel_tests::child held_up([&](const kernel_tests::child::line& line) { serve_rounds(which, line); });
    ASSERT_EQ(held_up.hear(), "open");
    std::size_t before = 0, after = 0;
    for (int round = 0; round < repetitions + 3; ++round) {
      ASSERT_EQ(::kill(held_up.pid(), SIGSTOP), 0);
      int status = 0;
      ASSERT_EQ(::waitpid(held_up.pid(), &status, WUNTRACED), held_up.pid());
      ASSERT_TRUE(WIFSTOPPED(status));
      send(2 * room);
      ASSERT_EQ(::kill(held_up.pid(), SIGCONT), 0);
      after = std::stoul(held_up.hear());
      if (round == 2) before = after;
    }
    EXPECT_LE(after, before + 1024) << name_of(which);
    remove_rule();
  }
}

TEST_F(repeated_faults, leave_no_memory_of_eight_threads) {
  rule();
  const auto decide = [&] {
    queue q = must_open();
    send(8);
    std::vector<std::thread> threads;
    for (int seen = 0; seen < 8;) {
      const auto got = must(q.receive(soon()));
      for (const packet& p : got) {
        ++seen;
        threads.emplace_back(
            [held = must(q.hold(p))]() mutable { must(std::move(held).set_verdict(verdict::accept())); });
      }
    }
    for (auto& each : threads) each.join();
  };
  // The C library keeps memory for a thread or two; what all rounds leak, of 32 bytes at the least, is more than that.
  expect_no_growth("verdicts from eight threads", decide, repetitions * 32 / 2);
}

TEST_F(repeated_faults, around_a_queue_leave_no_memory_in_it) {
  rule();
  const near_device device;
  const ipq::interface_names names;
  if (device.rename("near0", "near1") && device.rename("near1", "near0")) {
    expect_no_growth("renamed", [&] {
      queue q = must_open();
      for (const char* name : {"near1", "near0"}) {
        EXPECT_TRUE(device.rename(std::string_view(name) == "near1" ? "near0" : "near1", name));
        send(1);
        const auto got = must(q.receive(soon()));
        wait_until("the new name is known", [&] { return names.find(got[0].outdev).name_view() == name; });
      }
    });
  }
  expect_no_growth("link down", [&] {
    queue q = must_open();
    send(4);
    const auto got = must(q.receive(soon()));
    device.set_up(false);
    for (const packet& p : got) must(q.set_verdict(p, verdict::accept()));
    device.set_up(true);
    EXPECT_FALSE(must(q.receive(soon())).events().empty());
  });
  expect_no_growth("table removed", [&] {
    must_run("nft -f -", "table ip temporary {\n chain output { type filter hook output priority 10; }\n}\n");
    queue q = must_open({.verdict_delay = 0ms});
    send(4);
    const auto got = must(q.receive(soon()));
    must_run("nft delete table ip temporary");
    for (const packet& p : got) must(q.set_verdict(p, verdict::accept()));
    EXPECT_FALSE(must(q.receive(soon())).events().empty());
  });
  expect_no_growth("namespace removed", [] {
    std::optional<kernel_tests::netns> other = kernel_tests::netns::create();
    const std::string path = "/proc/self/fd/" + std::to_string(other->fd());
    queue q = must(queue::open({.number = number, .network_namespace = path}));
    other.reset();
    EXPECT_FALSE(q.receive(queue::clock::now()));
  });
  must_run("ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:02 nud permanent dev near0");
  wait_for_path(near_ns(), near_address, far_ns(), far_address);
}

}  // namespace
}  // namespace fault_tests
