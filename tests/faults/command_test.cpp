// SPDX-License-Identifier: MIT
// Faults of the ipq command and of what it stands on. After each the next command starts, and there is no rule.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <regex>

#include "ground.hpp"
#include "ipq/capture.hpp"
#include "tool/ipq_command.hpp"
#include "tool/live_command.hpp"

namespace fault_tests {
namespace {

using kernel_tests::run;
using tool_tests::has;
using tool_tests::live_command;
using tool_tests::queue_rules;

class command_faults : public faults {
 protected:
  command_faults() {
    folder_ = std::filesystem::temp_directory_path() / "ipq_faults_XXXXXX";
    if (::mkdtemp(folder_.data()) == nullptr) throw std::runtime_error("no folder " + folder_);
  }
  ~command_faults() override { std::filesystem::remove_all(folder_); }

  void TearDown() override {
    if (!IsSkipped() && !HasFatalFailure()) {
      EXPECT_EQ(left_rules(), "");  // before another command tidies up
      load traffic(near_ns(), far_ns());
      expect_next_command(traffic);
    }
    faults::TearDown();
  }

  // Packets that were on their way in a stage of a test: what it may lose.
  struct stretch {
    std::uint32_t first = 0, last = 0;
  };
  static constexpr std::uint32_t max_length = 1024;  // the command's own
  // Those that may have waited when `sent` were sent, by a command that was started when `started` were, up to the last
  // one that may be on its way now.
  static stretch waiting_since(std::uint32_t started, std::uint32_t sent, const load& traffic) {
    return {std::max(started, sent - std::min(sent, max_length)), traffic.sent()};
  }

  static std::vector<std::string> on_load(std::vector<std::string> words) {
    words.insert(words.begin() + 1, {"--select", "output", "udp dport 5000"});
    return words;
  }
  // A command works as if nothing had been; what waits at its end, by default, is dropped.
  static stretch expect_next_command(load& traffic) {
    const std::uint32_t started = traffic.sent();
    live_command next(on_load({"accept"}));
    traffic.wait_for_arrivals(20);
    const std::uint32_t sent = traffic.sent();
    EXPECT_EQ(next.interrupt().status, 0);
    EXPECT_EQ(queue_rules(), "");
    return waiting_since(started, sent, traffic);
  }
  // Started with little of something it works, or says what is missing and leaves nothing. Traffic goes on.
  void expect_started_or_told(const std::vector<std::string>& with, const std::string& missing, const load& traffic) {
    std::vector<std::string> words = with;
    words.insert(words.end(),
                 {IPQ_COMMAND, "accept", "--select", "output", "udp dport 5000", "--fail", "open", "--for", "1ms"});
    const auto ended = run(words);
    EXPECT_EQ(queue_rules(), "") << with.back();
    if (ended.status == 0) {
      ++started_;
    } else {
      ++refused_;
      // 126 and 127: it could not even be loaded.
      EXPECT_LT(ended.status, 128) << with.back() << ": " << ended.output;
      EXPECT_TRUE(std::regex_search(ended.output, std::regex(missing))) << with.back() << ": " << ended.output;
    }
    traffic.wait_for_arrivals(10);
  }
  // Some of these starts worked, and some did not; none of them lost a packet, and the next one works.
  void expect_both_and_all_arrived(load& traffic) {
    EXPECT_GT(started_, 0u);
    EXPECT_GT(refused_, 2u);
    const stretch next = expect_next_command(traffic);
    traffic.wait_for_last();
    const auto found = traffic.settle(0);
    EXPECT_EQ(found.from_to(next.first, next.last).missing, found.missing);
    EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
    tell("refused", refused_);
  }
  [[nodiscard]] std::string path(const char* name) const { return folder_ + "/" + name; }

 private:
  std::string folder_;
  std::size_t started_ = 0, refused_ = 0;
};

class killed_command : public command_faults {
 protected:
  static constexpr std::uint32_t least = 20;

  void under_load(int signal) const {
    std::uint64_t lost = 0;
    for (const bool open : {false, true}) {
      SCOPED_TRACE(open ? "--fail open" : "--fail closed");
      load traffic(near_ns(), far_ns());
      const std::uint32_t started = traffic.sent();
      live_command command(on_load({"accept", "--fail", open ? "open" : "closed"}));
      traffic.wait_for_arrivals(500);
      const std::uint32_t sent = traffic.sent();
      if (signal != SIGTERM) {
        // So that some surely wait when it dies.
        command.stop();
        wait_until("packets wait", [] { return must(ipq::read_queue_status()).at(0).waiting >= least; });
      }
      command.signal(signal);
      command.signal(SIGCONT);  // one that is stopped looks at its signals, and comes no further
      const auto ended = command.end();
      EXPECT_EQ(ended.status, signal == SIGTERM ? 0 : 128 + signal) << ended.output;
      wait_until("the rules are gone", [] { return queue_rules().empty(); });
      const stretch of_first = waiting_since(started, sent, traffic);
      traffic.wait_for_arrivals(100);
      const stretch of_next = expect_next_command(traffic);
      traffic.wait_for_last();
      const auto found = traffic.settle(0);
      EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
      SCOPED_TRACE(testing::PrintToString(found.missing));
      // The first command's stretch, and the orderly end of the next, whose waiting packets fall to its policy.
      const auto by_first = found.from_to(of_first.first, of_first.last);
      const auto by_next = found.from_to(of_next.first, of_next.last);
      EXPECT_EQ(by_first.missing.size() + by_next.missing.size(), found.missing.size());
      EXPECT_TRUE(by_next.in_one_piece());
      EXPECT_LE(by_next.missing.size(), max_length);
      if (open && signal == SIGTERM) {
        EXPECT_EQ(by_first.missing.size(), 0u);
      }
      if (open || signal == SIGTERM) {
        EXPECT_LE(by_first.missing.size(), max_length);
      }
      if (signal != SIGTERM) {
        EXPECT_GE(by_first.missing.size(), least);
      }
      // Where it fails open, one that meets the dying socket passes in between.
      EXPECT_TRUE(open || by_first.in_one_piece());
      lost += found.missing.size();
    }
    tell("lost", lost);
  }
};

TEST_F(killed_command, by_term_under_load_leaves_no_rule) {
  under_load(SIGTERM);
}

TEST_F(killed_command, by_kill_under_load_leaves_no_rule) {
  under_load(SIGKILL);
}

TEST_F(killed_command, by_segv_under_load_leaves_no_rule) {
  under_load(SIGSEGV);
}

TEST_F(command_faults, ended_in_order_with_fail_open_loses_nothing) {
  load traffic(near_ns(), far_ns());
  std::uint64_t received = 0;
  for (int i = 0; i < 5; ++i) {
    live_command command(on_load({"accept", "--fail", "open"}));
    traffic.wait_for_arrivals(300);
    command.signal(SIGTERM);
    const auto ended = command.end();
    EXPECT_EQ(ended.status, 0);
    EXPECT_EQ(queue_rules(), "");
    std::smatch number;
    ASSERT_TRUE(std::regex_search(ended.output, number, std::regex(": ([0-9]+) received"))) << ended.output;
    received += std::stoull(number[1]);
  }
  traffic.wait_for_last();
  const auto found = traffic.settle(traffic.sent());
  EXPECT_EQ(found.missing, std::vector<std::uint32_t>());
  EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
  EXPECT_GE(received, 5u * 300);
  EXPECT_LE(received, traffic.sent());
  tell("received", received);
}

// With a rule of the user's own, which stays.
TEST_F(command_faults, ended_in_order_behind_a_bypass_loses_nothing) {
  rule("--queue-bypass");
  load traffic(near_ns(), far_ns());
  for (int i = 0; i < 10; ++i) {
    traffic.pause();  // a queue that opens under load may lose one
    live_command command({"accept", "--queue", "3", "--fail", "open"});
    traffic.go_on();
    traffic.wait_for_arrivals(300);
    command.signal(SIGTERM);
    EXPECT_EQ(command.end().status, 0);
  }
  traffic.wait_for_last();
  remove_rule();
  const auto found = traffic.settle(traffic.sent());
  EXPECT_EQ(found.missing, std::vector<std::uint32_t>());
  EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
}

TEST_F(command_faults, out_of_descriptors) {
  load traffic(near_ns(), far_ns());
  for (int most = 3; most <= 24; ++most) {
    expect_started_or_told({"prlimit", "--nofile=" + std::to_string(most) + ":" + std::to_string(most)},
                           "Too many open files|cannot open shared object file: Error 24", traffic);
  }
  expect_both_and_all_arrived(traffic);
}

TEST_F(command_faults, out_of_address_space) {
  load traffic(near_ns(), far_ns());
  for (std::size_t mebibytes = 8; mebibytes <= 256; mebibytes += mebibytes < 64 ? 4 : 16) {
    expect_started_or_told({"prlimit", "--as=" + std::to_string(mebibytes << 20)},
                           "failed to map segment|Cannot allocate memory|Memory allocation failure|bad_alloc|"
                           "Resource temporarily unavailable",
                           traffic);
  }
  expect_both_and_all_arrived(traffic);
}

// The workers that could be started end, and so does the command; what came to it meanwhile passes.
TEST_F(command_faults, out_of_threads) {
  load traffic(near_ns(), far_ns());
  const auto ended = run({"env", "LD_PRELOAD=" IPQ_ONE_THREAD, "timeout", "20", IPQ_COMMAND, "accept", "-q", "0-2",
                          "--workers", "3", "--select", "output", "udp dport 5000", "--fail", "open"});
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(has(ended.output,
                  "ipq accept: start worker 2 of 3: Resource temporarily unavailable: take fewer "
                  "--workers, or raise the limit of processes (ulimit -u)\n"))
      << ended.output;
  EXPECT_EQ(queue_rules(), "");
  EXPECT_EQ(must(ipq::read_queue_status()).size(), 0u);
  traffic.wait_for_arrivals(100);
  traffic.wait_for_last();
  const auto found = traffic.settle(traffic.sent());
  EXPECT_EQ(found.missing, std::vector<std::uint32_t>());
  EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
}

// For a moment again and again: verdicts are kept, and sent with the next call. One queue and several are served
// differently.
TEST_F(command_faults, kernel_short_of_memory_for_verdicts_ends_nothing) {
  for (const char* queues : {"0", "0-2"}) {
    for (const char* what : {"accept", "run"}) {
      load traffic(near_ns(), far_ns());
      std::vector<std::string> words{"env", "LD_PRELOAD=" IPQ_SHORT_OF_MEMORY, IPQ_COMMAND, what};
      if (what == std::string("run")) words.push_back("delay 1ms");
      for (const char* each :
           {"-q", queues, "--select", "output", "udp dport 5000", "--fail", "open", "--for", "300ms"}) {
        words.push_back(each);
      }
      const auto ended = run(words);
      EXPECT_EQ(ended.status, 0) << ended.output;
      EXPECT_FALSE(has(ended.output, " 0 received")) << ended.output;
      traffic.wait_for_last();
      const auto found = traffic.settle(traffic.sent());
      EXPECT_EQ(found.missing, std::vector<std::uint32_t>()) << what << " -q " << queues;
      EXPECT_EQ(found.repeated + found.damaged, 0u);
    }
  }
}

TEST_F(command_faults, disk_full_while_it_records) {
  load traffic(near_ns(), far_ns());
  const std::string file = path("traffic.pcapng");
  live_command command(
      on_load({"run", "record \"" + file + "\""}),
      {"unshare", "--mount", "sh", "-c",
       "mount -t tmpfs -o size=64k none " + std::filesystem::path(file).parent_path().string() + " && exec \"$@\"",
       "sh"});
  traffic.wait_for_arrivals(2000);
  traffic.stop();
  wait_until("nothing waits for a verdict", [] { return must(ipq::read_queue_status()).at(0).waiting == 0; });
  const auto found = traffic.settle(traffic.sent());
  const auto ended = command.interrupt();
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(has(ended.output, "ipq run: record " + file + ": write recording, packet ")) << ended.output;
  EXPECT_TRUE(has(ended.output, ": No space left on device: ")) << ended.output;
  EXPECT_EQ(found.missing.size() + found.repeated + found.damaged, 0u);
  EXPECT_EQ(queue_rules(), "");
}

// The time of day jumps with every look at it; the recording has every packet, and times without jumps.
TEST_F(command_faults, time_of_day_jumps) {
  load traffic(near_ns(), far_ns());
  const std::string file = path("traffic.pcapng"), counts = path("looks");
  live_command command(on_load({"run", "record \"" + file + "\", delay 5ms"}),
                       {"env", "LD_PRELOAD=" IPQ_JUMPING_CLOCK, "JUMPING_CLOCK_LOOKS=" + counts});
  const std::string count = counts + "." + std::to_string(command.pid());
  traffic.wait_for_arrivals(1000);
  traffic.stop();
  wait_until("nothing waits for a verdict", [] { return must(ipq::read_queue_status()).at(0).waiting == 0; });
  const auto ended = command.interrupt();
  EXPECT_EQ(ended.status, 0) << ended.output;
  const auto found = traffic.settle(traffic.sent());
  EXPECT_EQ(found.missing.size() + found.repeated + found.damaged, 0u);
  std::smatch number;
  ASSERT_TRUE(std::regex_search(ended.output, number, std::regex(": ([0-9]+) received"))) << ended.output;
  auto capture = must(ipq::capture_reader::open(file));
  std::uint64_t recorded = 0;
  std::int64_t before = 0, jumps = 0;
  static_cast<void>(ipq::serve(capture, [&](const ipq::packet& p) {
    ++recorded;
    const std::int64_t now = p.timestamp ? p.timestamp->seconds : 0;
    jumps += std::abs(now - std::exchange(before, now)) > 80'000;
    return ipq::verdict::accept();
  }));
  EXPECT_EQ(std::to_string(recorded), number[1]);
  EXPECT_EQ(jumps, 1) << "the first is from 1970";
  std::uint32_t seen = 0;
  std::ifstream(count, std::ios::binary).read(reinterpret_cast<char*>(&seen), sizeof seen);
  EXPECT_GT(seen, 0u) << "the command has not looked at the clock that jumps";
  // It goes on from its first look at the clock, which was a day ahead.
  EXPECT_NEAR(static_cast<double>(before - ::time(nullptr)), 86'400, 3600);
}

// A cgroup with a limit of memory, of either version; removed with its object.
class memory_group {
 public:
  memory_group() {
    for (const char* root : {"/sys/fs/cgroup/memory/", "/sys/fs/cgroup/"}) {
      path_ = root + ("ipq_faults_" + std::to_string(::getpid()));
      if (::mkdir(path_.c_str(), 0755) != 0) continue;
      for (const char* name : {"/memory.limit_in_bytes", "/memory.max"}) {
        if (::access((path_ + name).c_str(), W_OK) == 0) limit_ = path_ + name;
      }
      if (!limit_.empty()) return;
      ::rmdir(path_.c_str());
    }
  }
  memory_group(const memory_group&) = delete;
  memory_group& operator=(const memory_group&) = delete;
  ~memory_group() {
    if (exists()) ::rmdir(path_.c_str());
  }

  [[nodiscard]] bool exists() const { return !limit_.empty(); }
  // What it allocates from now on is limited.
  void take(pid_t process, std::size_t bytes) const {
    std::ofstream(limit_) << bytes << std::flush;
    std::ofstream(path_ + "/cgroup.procs") << process << std::flush;
  }

 private:
  std::string path_, limit_;
};

TEST_F(command_faults, out_of_memory_while_packets_are_delayed) {
  const memory_group group;
  if (!group.exists()) GTEST_SKIP() << "no cgroup with a limit of memory can be made here";
  load traffic(near_ns(), far_ns(), load::pace::flood);
  traffic.wait_for_arrivals(100);
  const std::uint32_t before = traffic.sent();
  live_command command(on_load({"run", "delay 60min", "--max-length", "1000000"}));
  group.take(command.pid(), 128 << 10);
  const auto ended = command.end();
  EXPECT_EQ(ended.status, 128 + SIGKILL) << ended.output;
  wait_until("the rules are gone", [] { return queue_rules().empty(); });
  const std::uint32_t after = traffic.sent();
  traffic.wait_for_arrivals(100);
  traffic.wait_for_last();
  // All that came to the command is lost, and nothing else.
  const auto found = traffic.settle(0);
  ASSERT_FALSE(found.missing.empty());
  EXPECT_TRUE(found.in_one_piece());
  EXPECT_GE(found.missing.front(), before);
  EXPECT_LE(found.missing.back(), after);
  EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
  tell("lost", found.missing.size());
}

}  // namespace
}  // namespace fault_tests
