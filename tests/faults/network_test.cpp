// SPDX-License-Identifier: MIT
// Faults of what is around a queue: links, namespaces, rule tables, interface names, threads and forks.
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>

#include "ground.hpp"
#include "ipq/interfaces.hpp"
#include "kernel/reader.hpp"

namespace fault_tests {
namespace {

using ipq::packet;
using ipq::queue;
using ipq::verdict;

// Serves a queue on a thread: accepts everything, but every eighth packet if told so.
class server {
 public:
  explicit server(const ipq::queue_options& options, bool drops = false)
      : queue_(must_open(options)), thread_([this, drops] {
          static_cast<void>(ipq::serve(queue_, [&, turn = 0u](const packet&) mutable {
            while (held_up_) {
              idle_ = true;
              std::this_thread::sleep_for(100us);
            }
            idle_ = false;
            return drops && ++turn % 8 == 0 ? verdict::drop() : verdict::accept();
          }));
        }) {}
  ~server() { finish(); }

  // From now on nothing is decided, until go_on(). Returns when so many packets wait, and where verdicts are not
  // collected (verdict_delay 0) none is on its way: so that what a fault does to them is certain.
  void hold_up(std::uint32_t waiting) {
    held_up_ = true;
    wait_until("packets wait for a verdict", [&] { return idle_ && queue_.stats().in_kernel->waiting >= waiting; });
  }
  void go_on() {
    held_up_ = false;
    wait_until("the server goes on", [this] { return !idle_; });
  }

  // Returns when nothing waits, neither in the kernel nor to be read.
  void wait_until_empty() const {
    wait_until("nothing waits for a verdict", [this] {
      const auto s = queue_.stats();
      return s.in_kernel->waiting == 0 && s.undecided == 0 &&
             s.received + s.in_kernel->lost_no_buffer == s.in_kernel->queued;
    });
  }
  // Ends when nothing waits, and says what it has counted.
  ipq::statistics finish() {
    held_up_ = false;
    if (thread_.joinable()) {
      wait_until_empty();
      queue_.stop();
      thread_.join();
    }
    return queue_.stats();
  }
  queue& operator*() { return queue_; }

 private:
  queue queue_;
  std::atomic<bool> held_up_ = false, idle_ = false;
  std::thread thread_;
};

class network_faults : public faults {
 protected:
  // Every packet that entered the queue has left it in one way.
  static void expect_sum(const ipq::statistics& s) {
    EXPECT_EQ(s.in_kernel->queued + s.in_kernel->lost_queue_full,
              s.accepted + s.dropped + s.gone + s.in_kernel->waiting + s.in_kernel->lost_no_buffer +
                  s.in_kernel->lost_queue_full);
    EXPECT_EQ(s.received, s.accepted + s.dropped + s.gone);
    EXPECT_EQ(s.refused + s.undecided + s.malformed, 0u);
    tell("queued", s.in_kernel->queued);
    tell("gone", s.gone);
  }
  static std::uint64_t dropped_by_device() {
    constexpr std::string_view device = "near0:";
    std::istringstream lines(must_run("cat /proc/thread-self/net/dev"));
    for (std::string line; std::getline(lines, line);) {
      if (const auto at = line.find(device); at != std::string::npos) {
        std::istringstream numbers(line.substr(at + device.size()));
        std::array<std::uint64_t, 16> all{};
        for (auto& each : all) numbers >> each;
        return all[3] + all[11];
      }
    }
    return 0;
  }
  static void bring_up() {
    must_run("ip link set near0 up");
    must_run("ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:02 nud permanent dev near0");
  }
  static constexpr std::uint32_t times = 5;

  // Takes the link down again and again, after before(). Besides those that the server and the kernel have told of, the
  // device may have lost some, which it has counted, and each time `in_hand` more.
  ipq::statistics under_load(const std::function<void(server&)>& before, std::uint64_t in_hand) {
    rule();
    server serving({.verdict_delay = 0ms}, true);
    load traffic(near_ns(), far_ns());
    std::uint64_t counted = 0;
    for (std::uint32_t i = 0; i < times; ++i) {
      traffic.wait_for_arrivals(200);
      const std::uint64_t other = dropped_by_device();
      before(serving);
      must_run("ip link set near0 down");
      serving.go_on();
      traffic.pause();  // until the way is good again, so that none is lost for want of a neighbour
      serving.wait_until_empty();
      counted += dropped_by_device() - other;
      bring_up();
      wait_for_path(near_ns(), near_address, far_ns(), far_address);
      traffic.go_on();
    }
    traffic.wait_for_arrivals(200);
    traffic.stop();
    const auto s = serving.finish();
    expect_sum(s);
    EXPECT_EQ(s.in_kernel->lost_queue_full + s.in_kernel->lost_no_buffer, 0u);
    EXPECT_EQ(s.in_kernel->queued, traffic.sent());
    const std::uint64_t lost = s.dropped + s.gone;
    const auto found = traffic.settle(traffic.sent() - lost);
    EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
    EXPECT_LE(traffic.arrived() + lost, traffic.sent());
    const std::uint64_t rest = traffic.sent() - (traffic.arrived() + lost);
    EXPECT_LE(rest, counted + in_hand * times);
    tell("lost behind the queue", rest);
    tell("counted by the device", counted);
    return s;
  }
};

// With one verdict a message, as verdict_delay 0 sends them, the kernel tells of each packet that is gone. Nothing is
// decided while the link goes down, so only the packet that is being sent then may get lost elsewhere.
TEST_F(network_faults, link_down_under_load) {
  constexpr std::uint32_t least = 20;
  const auto s = under_load([&](server& serving) { serving.hold_up(least); }, 1);
  EXPECT_GE(s.gone, times * least);
}

// What has its verdict may still meet a device that goes down, which counts it, or a route that is gone, which does
// not: that can only be what the server and the sender have in hand at that moment.
TEST_F(network_faults, link_down_while_verdicts_are_given) {
  under_load([](server&) {}, 2);
}

// The packets that wait are the kernel's to drop: exact, since nothing moves meanwhile.
TEST_F(network_faults, link_down_with_packets_that_wait) {
  rule();
  for (const auto delay : {0ms, 5ms}) {
    queue q = must_open({.verdict_delay = delay});
    load traffic(near_ns(), far_ns(), load::pace::flood);
    traffic.wait_for_sent(60);
    traffic.stop();
    const auto sent = traffic.sent();
    std::size_t seen = 0;
    std::vector<ipq::held_packet> held;
    while (seen < sent) {
      const auto got = must(q.receive(soon()));
      seen += got.size();
      for (const packet& p : got) held.push_back(must(q.hold(p)));
    }
    must_run("ip link set near0 down");
    for (auto& each : held) must(std::move(each).set_verdict(verdict::accept()));
    held.clear();
    std::size_t gone = 0;
    while (gone < sent) {
      for (const auto& each : must(q.receive(soon())).events()) {
        EXPECT_EQ(each.what, ipq::event::kind::gone);
        gone += each.count;
      }
    }
    const auto s = q.stats();
    EXPECT_EQ(s.gone, sent);
    expect_sum(s);
    bring_up();
    wait_for_path(near_ns(), near_address, far_ns(), far_address);
    EXPECT_EQ(traffic.settle(0).missing.size(), sent);
  }
}

// The peer's namespace goes, and this end of the link with it; the queue serves the next link. Whatever has its verdict
// before has arrived; what waits is told as gone, and only the packet that is being sent then may get lost elsewhere.
TEST_F(network_faults, namespace_of_the_peer_removed_under_load) {
  constexpr std::uint32_t rounds = 3, least = 50;
  constexpr std::string_view here = "198.51.100.1", there = "198.51.100.2";
  rule_for("-p udp -o other0");
  server serving({.verdict_delay = 0ms});
  ipq::statistics before = (*serving).stats();
  for (std::uint32_t i = 0; i < rounds; ++i) {
    std::optional<kernel_tests::netns> peer = kernel_tests::netns::create();
    const std::string path = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(peer->fd());
    must_run("ip -batch -", "link add other0 type veth peer name peer0 netns " + path +
                                " address 02:00:00:00:00:09\naddr add 198.51.100.1/24 dev other0\n"
                                "link set other0 up\n"
                                "neigh add 198.51.100.2 lladdr 02:00:00:00:00:09 nud permanent dev other0\n");
    in(*peer, [] { return must_run("ip -batch -", "addr add 198.51.100.2/24 dev peer0\nlink set peer0 up\n"); });
    wait_for_path(near_ns(), here, *peer, there);
    serving.wait_until_empty();
    before = (*serving).stats();  // of the path
    load traffic(near_ns(), *peer, load::pace::steady, here, there);
    traffic.wait_for_arrivals(200);
    serving.hold_up(least);
    const std::uint64_t accepted = (*serving).stats().accepted - before.accepted;
    wait_until("what was accepted arrives", [&] { return traffic.arrived() >= accepted; });
    traffic.leave();
    peer.reset();
    wait_until("the link is gone", [] { return kernel_tests::run({"ip", "link", "show", "other0"}).status != 0; });
    serving.go_on();
    traffic.stop();
    serving.wait_until_empty();
    const auto gone = [&] { return (*serving).stats().gone - before.gone; };
    wait_until("what waited is told as gone", [&] { return accepted + gone() + 1 >= traffic.sent(); });
    // One at most, whose way was found just before the link went, is discarded in place of being queued (dst_dev_put).
    const std::uint64_t queued = (*serving).stats().in_kernel->queued - before.in_kernel->queued;
    EXPECT_LE(queued, traffic.sent());
    EXPECT_GE(queued + 1, traffic.sent());
    const auto found = traffic.settle(0);
    EXPECT_EQ(traffic.arrived(), accepted);
    EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
    ASSERT_FALSE(found.missing.empty());
    EXPECT_TRUE(found.in_one_piece());
    EXPECT_EQ(found.missing.front(), accepted);
    EXPECT_GE(gone(), least);
    EXPECT_LE(gone(), found.missing.size());
  }
  const auto s = serving.finish();
  expect_sum(s);
  EXPECT_EQ(s.in_kernel->lost_queue_full + s.in_kernel->lost_no_buffer, 0u);
}

// A queue in a namespace whose name has been removed serves on, and keeps it alive until it is closed itself.
TEST_F(network_faults, namespace_of_the_queue_removed_while_it_serves) {
  std::optional<kernel_tests::netns> removed = kernel_tests::netns::create();
  const std::string path = "/proc/self/fd/" + std::to_string(removed->fd());
  in(*removed, [] {
    must_run("ip link set lo up");
    return must_run("iptables-legacy -w -A OUTPUT -p udp --dport 5000 -j NFQUEUE --queue-num 3");
  });
  must_run("ip link add inner0 type veth peer name outer0 netns /proc/" + std::to_string(::getpid()) + "/fd/" +
           std::to_string(removed->fd()));
  std::optional<server> serving(std::in_place, ipq::queue_options{.network_namespace = path});
  {
    load traffic(*removed, *removed, load::pace::steady, "127.0.0.1", "127.0.0.1");
    traffic.wait_for_arrivals(200);
    removed.reset();
    traffic.wait_for_arrivals(500);
    traffic.stop();
    const auto found = traffic.settle(traffic.sent());
    EXPECT_EQ(found.missing, std::vector<std::uint32_t>());
    EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
    wait_until("every verdict is counted", [&] { return (**serving).stats().accepted >= traffic.sent(); });
    EXPECT_EQ((**serving).stats().accepted, traffic.sent());
  }
  EXPECT_EQ(kernel_tests::run({"ip", "link", "show", "inner0"}).status, 0) << "the namespace is there";
  serving.reset();
  wait_until("the namespace is gone", [] { return kernel_tests::run({"ip", "link", "show", "inner0"}).status != 0; });
}

// The rule goes and comes; and a table's hooks, which take with them what waits in any queue of their hook.
TEST_F(network_faults, rules_and_tables_removed_and_made_under_load) {
  rule();
  server serving({.verdict_delay = 0ms}, true);
  load traffic(near_ns(), far_ns());
  constexpr std::uint32_t rounds = 20, least = 5;
  for (std::uint32_t i = 0; i < rounds; ++i) {
    remove_rule();
    must_run("nft add table ip temporary");
    must_run("nft add chain ip temporary output { type filter hook output priority 10; }");
    rule();
    traffic.wait_for_arrivals(20);
    serving.hold_up(least);
    must_run("nft delete table ip temporary");
    serving.go_on();
  }
  traffic.wait_for_arrivals(200);
  traffic.stop();
  const auto s = serving.finish();
  expect_sum(s);
  EXPECT_GT(s.in_kernel->queued, 0u);
  EXPECT_LT(s.in_kernel->queued, traffic.sent()) << "the rule was always there";
  EXPECT_GE(s.gone, rounds * least);
  const std::uint64_t lost = s.dropped + s.gone + s.in_kernel->lost_queue_full + s.in_kernel->lost_no_buffer;
  const auto found = traffic.settle(traffic.sent() - lost);
  EXPECT_EQ(traffic.sent(), traffic.arrived() + lost);
  EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
}

TEST_F(network_faults, interface_renamed_under_load) {
  if (kernel_tests::run({"ip", "link", "set", "near0", "name", "near1"}).status != 0) {
    GTEST_SKIP() << "this kernel has no new names for interfaces that are up";
  }
  rule();
  queue q = must_open();
  std::atomic<std::uint64_t> nameless = 0;
  std::mutex lock;
  std::string last;
  std::thread serving([&] {
    const ipq::interface_names names;
    static_cast<void>(ipq::serve(q, [&](const packet& p) {
      const std::string name(names.find(p.outdev).name_view());
      nameless += !name.starts_with("near");
      const std::lock_guard locked(lock);
      last = name;
      return verdict::accept();
    }));
  });
  load traffic(near_ns(), far_ns());
  for (int i = 1; i <= 20; ++i) {
    const std::string next = "near" + std::to_string(i + 1);
    must_run("ip link set near" + std::to_string(i) + " name " + next);
    wait_until("packets have the new name", [&] {
      const std::lock_guard locked(lock);
      return last == next;
    });
  }
  traffic.stop();
  wait_until("nothing waits for a verdict", [&] { return q.stats().in_kernel->waiting == 0; });
  q.stop();
  serving.join();
  EXPECT_EQ(nameless, 0u);
  expect_sum(q.stats());
  const auto found = traffic.settle(traffic.sent());
  EXPECT_EQ(found.missing.size() + found.repeated + found.damaged, 0u);
}

// ---- threads and forks

template <class Item>
class hand_over {
 public:
  void put(Item item) {
    const std::lock_guard locked(mutex_);
    items_.push_back(std::move(item));
    filled_.notify_one();
  }
  // nullopt when it is closed and empty.
  std::optional<Item> take() {
    std::unique_lock locked(mutex_);
    filled_.wait(locked, [this] { return closed_ || !items_.empty(); });
    if (items_.empty()) return std::nullopt;
    Item first = std::move(items_.front());
    items_.pop_front();
    return first;
  }
  void close() {
    const std::lock_guard locked(mutex_);
    closed_ = true;
    filled_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<Item> items_;
  bool closed_ = false;
};

constexpr unsigned deciders = 8;
constexpr std::uint32_t enough_packets = 3000;

TEST_F(network_faults, verdicts_from_eight_threads_in_cpp) {
  rule();
  queue q = must_open();
  hand_over<ipq::held_packet> waiting;
  std::atomic<std::uint64_t> dropped = 0;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < deciders; ++i) {
    threads.emplace_back([&, i] {
      while (auto next = waiting.take()) {
        const bool drops = next->id() % 9 == i;
        dropped += drops;
        must(std::move(*next).set_verdict(drops ? verdict::drop() : verdict::accept()));
      }
    });
  }
  std::thread reader([&] {
    for (;;) {
      const auto got = q.receive(soon());
      if (!got) return;
      for (const packet& p : *got) waiting.put(must(q.hold(p)));
    }
  });
  load traffic(near_ns(), far_ns());
  traffic.wait_for_arrivals(enough_packets);
  traffic.stop();
  wait_until("nothing waits for a verdict", [&] { return q.stats().in_kernel->waiting == 0; });
  q.stop();
  reader.join();
  waiting.close();
  for (auto& each : threads) each.join();
  const auto s = q.stats();
  expect_sum(s);
  EXPECT_EQ(s.dropped, dropped);
  EXPECT_GT(dropped, 0u);
  const auto found = traffic.settle(traffic.sent() - dropped);
  EXPECT_EQ(traffic.sent(), traffic.arrived() + dropped);
  EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
}

TEST_F(network_faults, verdicts_from_eight_threads_in_c) {
  const libipq_environment of_libipq;
  rule();
  {
    kernel_tests::handle h(kernel_tests::ipv4, IPQ_COPY_PACKET);
    hand_over<ipq_id_t> waiting;
    std::atomic<std::uint64_t> dropped = 0, refused = 0;
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < deciders; ++i) {
      threads.emplace_back([&, i] {
        while (const auto next = waiting.take()) {
          const bool drops = *next % 9 == i;
          dropped += drops;
          if (::ipq_set_verdict(h, *next, drops ? NF_DROP : NF_ACCEPT, 0, nullptr) < 0) ++refused;
        }
      });
    }
    std::atomic<bool> enough = false;
    std::thread reader([&] {
      kernel_tests::bytes buffer(kernel_tests::large_enough);
      while (!enough) {
        const auto length = ::ipq_read(h, buffer.data(), buffer.size(), 10'000);
        if (length > 0 && ::ipq_message_type(buffer.data()) == IPQM_PACKET) {
          waiting.put(::ipq_get_packet(buffer.data())->packet_id);
        }
      }
    });
    load traffic(near_ns(), far_ns());
    traffic.wait_for_arrivals(enough_packets);
    traffic.stop();
    wait_until("nothing waits for a verdict", [] { return status().waiting == 0; });
    enough = true;
    reader.join();
    waiting.close();
    for (auto& each : threads) each.join();
    EXPECT_EQ(refused, 0u);
    EXPECT_GT(dropped, 0u);
    EXPECT_EQ(kernel_tests::stats_of(h).refused, 0u);
    const auto found = traffic.settle(traffic.sent() - dropped);
    EXPECT_EQ(traffic.sent(), traffic.arrived() + dropped);
    EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
  }
}

// Children that end, and that become other programs, take nothing from the queue, and do not keep it.
TEST_F(network_faults, forks_in_the_middle) {
  rule();
  std::optional<server> serving(std::in_place, ipq::queue_options{});
  load traffic(near_ns(), far_ns());
  std::vector<pid_t> sleepers;
  for (int i = 0; i < 20; ++i) {
    traffic.wait_for_arrivals(20);
    const pid_t made = ::fork();
    ASSERT_GE(made, 0);
    if (made == 0) {
      if (i % 2 == 0) ::_exit(0);
      ::execlp("sleep", "sleep", "1000", nullptr);
      ::_exit(1);
    }
    if (i % 2 == 0) {
      ::waitpid(made, nullptr, 0);
    } else {
      sleepers.push_back(made);
    }
  }
  traffic.wait_for_arrivals(20);
  traffic.stop();
  const auto s = serving->finish();
  expect_sum(s);
  EXPECT_EQ(s.accepted, traffic.sent());
  const auto found = traffic.settle(traffic.sent());
  EXPECT_EQ(found.missing.size() + found.repeated + found.damaged, 0u);
  serving.reset();
  for (const pid_t each : sleepers) {
    wait_until("the program is another one",
               [each] { return must_run("cat /proc/" + std::to_string(each) + "/comm") == "sleep\n"; });
  }
  static_cast<void>(must_open());  // though they live
  for (const pid_t each : sleepers) {
    ::kill(each, SIGKILL);
    ::waitpid(each, nullptr, 0);
  }
}

// Every third child reads and decides, every third lets go of its copy: each packet is its reader's, and no one else's.
TEST_F(network_faults, forks_in_the_middle_in_c) {
  void* const memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto& by_children = *new (memory) std::atomic<std::uint32_t>(0);
  const libipq_environment of_libipq;
  rule();
  {
    kernel_tests::handle h(kernel_tests::ipv4, IPQ_COPY_PACKET);
    // Whether a packet was there, which has its verdict then.
    const auto pass_one = [&h](int microseconds) {
      alignas(8) unsigned char buffer[4096];
      if (::ipq_read(h, buffer, sizeof buffer, microseconds) <= 0) return false;
      if (::ipq_message_type(buffer) != IPQM_PACKET) return false;
      return ::ipq_set_verdict(h, ::ipq_get_packet(buffer)->packet_id, NF_ACCEPT, 0, nullptr) > 0;
    };
    std::atomic<bool> enough = false;
    std::uint32_t by_parent = 0;
    std::thread serving([&] {
      while (!enough) by_parent += pass_one(10'000);
    });
    load traffic(near_ns(), far_ns());
    for (int i = 0; i < 30; ++i) {
      traffic.wait_for_arrivals(20);
      const pid_t made = ::fork();
      ASSERT_GE(made, 0);
      if (made == 0) {
        // The parent reads, too, and may leave it none in this time.
        for (int tries = 0; i % 3 == 0 && tries < 100; ++tries) {
          if (!pass_one(10'000)) continue;
          ++by_children;
          break;
        }
        ::_exit(i % 3 == 1 ? h.destroy() : 0);
      }
      int status = -1;
      ::waitpid(made, &status, 0);
      EXPECT_EQ(status, 0);
    }
    traffic.wait_for_arrivals(20);
    traffic.stop();
    wait_until("nothing waits for a verdict", [] { return status().waiting == 0; });
    enough = true;
    serving.join();
    EXPECT_GT(by_children, 0u);
    EXPECT_EQ(by_parent + by_children, traffic.sent());
    EXPECT_EQ(lost_by_the_kernel(), 0u);
    const auto found = traffic.settle(traffic.sent());
    EXPECT_EQ(found.missing, std::vector<std::uint32_t>());
    EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
  }
  ::munmap(memory, 4096);
}

}  // namespace
}  // namespace fault_tests
