// SPDX-License-Identifier: MIT
// Faults of the ipq command and of what it stands on. After each there is no rule, the traffic goes on, and the next
// command starts.
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
    char name[] = "/tmp/ipq_faults_XXXXXX";
    if (::mkdtemp(name) == nullptr) throw std::runtime_error("no folder");
    folder_ = name;
  }
  ~command_faults() override { std::filesystem::remove_all(folder_); }

  static std::vector<std::string> on_load(std::vector<std::string> words) {
    words.insert(words.begin() + 1, {"--select", "output", "udp dport 5000"});
    return words;
  }
  // A command works as if nothing had been.
  static void expect_next_command(load& traffic) {
    live_command next(on_load({"accept"}));
    traffic.wait_for_arrivals(20);
    EXPECT_EQ(next.interrupt().status, 0);
    EXPECT_EQ(queue_rules(), "");
  }
  // Started with little of something it works, or says what is missing and leaves nothing.
  static void expect_started_or_told(const std::vector<std::string>& with, std::size_t& started, std::size_t& refused) {
    std::vector<std::string> words = with;
    words.insert(words.end(), {IPQ_COMMAND, "accept", "--select", "output", "udp dport 5000", "--for", "1ms"});
    const auto ended = run(words);
    EXPECT_EQ(queue_rules(), "") << with.back();
    if (ended.status == 0) {
      ++started;
    } else {
      ++refused;
      // 126 and 127: it could not even be loaded.
      EXPECT_LT(ended.status, 128) << with.back() << ": " << ended.output;
      EXPECT_FALSE(ended.output.empty());
    }
  }
  [[nodiscard]] std::string path(const char* name) const { return folder_ + "/" + name; }

 private:
  std::string folder_;
};

class killed_command : public command_faults {
 protected:
  void under_load(int signal) const {
    std::uint64_t lost = 0;
    for (const bool open : {false, true}) {
      SCOPED_TRACE(open ? "--fail open" : "--fail closed");
      load traffic(near_ns(), far_ns());
      live_command command(on_load({"accept", "--fail", open ? "open" : "closed"}));
      traffic.wait_for_arrivals(500);
      command.signal(signal);
      const auto ended = command.end();
      EXPECT_EQ(ended.status, signal == SIGTERM ? 0 : 128 + signal) << ended.output;
      wait_until("the rules are gone", [] { return queue_rules().empty(); });
      traffic.wait_for_arrivals(100);
      expect_next_command(traffic);
      traffic.wait_for_last();
      const auto found = traffic.settle(0);
      EXPECT_EQ(found.repeated + found.damaged + found.unread, 0u);
      // The first command's stretch, and the orderly end of the next, whose waiting packets fall to its policy.
      if (open) {
        EXPECT_LE(found.missing.size(), 2u * 1024);
      }
      if (open && signal == SIGTERM) {
        EXPECT_LE(found.missing.size(), 1024u);
      }
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
    std::smatch number;
    ASSERT_TRUE(std::regex_search(ended.output, number, std::regex(": ([0-9]+) received"))) << ended.output;
    received += std::stoull(number[1]);
  }
  traffic.wait_for_last();
  const auto found = traffic.settle(traffic.sent());
  EXPECT_EQ(found.missing, std::vector<std::uint32_t>());
  EXPECT_GE(received, 5u * 300);
  tell("received", received);
}

TEST_F(command_faults, out_of_descriptors) {
  std::size_t started = 0, refused = 0;
  for (int most = 3; most <= 24; ++most) {
    expect_started_or_told({"prlimit", "--nofile=" + std::to_string(most) + ":" + std::to_string(most)}, started,
                           refused);
  }
  EXPECT_GT(started, 0u);
  EXPECT_GT(refused, 2u);
  load traffic(near_ns(), far_ns());
  expect_next_command(traffic);
  tell("refused", refused);
}

TEST_F(command_faults, out_of_address_space) {
  std::size_t started = 0, refused = 0;
  for (std::size_t mebibytes = 8; mebibytes <= 256; mebibytes += mebibytes < 64 ? 4 : 16) {
    expect_started_or_told({"prlimit", "--as=" + std::to_string(mebibytes << 20)}, started, refused);
  }
  EXPECT_GT(started, 0u);
  EXPECT_GT(refused, 2u);
  load traffic(near_ns(), far_ns());
  expect_next_command(traffic);
  tell("refused", refused);
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

// The time of day jumps with every other look at it; the recording has every packet, and times without jumps.
TEST_F(command_faults, time_of_day_jumps) {
  const auto looks = run({"env", "LD_PRELOAD=" IPQ_JUMPING_CLOCK, "sh", "-c",
                          "first=$(date +%j); while [ $(date +%j) = $first ]; do :; done; echo it jumps"});
  ASSERT_EQ(looks.output, "it jumps\n");
  load traffic(near_ns(), far_ns());
  const std::string file = path("traffic.pcapng");
  live_command command(on_load({"run", "record \"" + file + "\", delay 5ms"}),
                       {"env", "LD_PRELOAD=" IPQ_JUMPING_CLOCK});
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
  live_command command(on_load({"run", "delay 60min", "--max-length", "1000000"}));
  group.take(command.pid(), 128 << 10);
  const auto ended = command.end();
  EXPECT_EQ(ended.status, 128 + SIGKILL) << ended.output;
  wait_until("the rules are gone", [] { return queue_rules().empty(); });
  traffic.wait_for_arrivals(100);
  expect_next_command(traffic);
}

}  // namespace
}  // namespace fault_tests
