// SPDX-License-Identifier: MIT
// What ipq run carries over when it reads its rules again.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>

#include "ipq_command.hpp"
#include "kernel/flow.hpp"
#include "live_command.hpp"

namespace tool_tests {
namespace {

using steady = std::chrono::steady_clock;

class reload : public kernel_tests::flow_test {
 protected:
  reload() {
    char name[] = "/tmp/ipq_reload_XXXXXX";
    if (mkdtemp(name) == nullptr) throw std::runtime_error("no folder for rules");
    folder_ = name;
  }
  ~reload() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string file() const { return folder_ / "rules"; }
  void write(std::string_view text) const { std::ofstream(file(), std::ios::binary) << text; }

  [[nodiscard]] std::vector<std::string> on_flow(std::vector<std::string> words) const {
    words.insert(words.begin(), {"run", "--select", "output", "udp dport 5000", "-f", file()});
    return words;
  }

  /// Reads the rules again and waits until that is done; what is said then.
  static std::string read_again(const live_command& command) {
    command.signal(SIGHUP);
    EXPECT_TRUE(command.notice().starts_with("RELOADING=1"));
    return command.notice();
  }

 private:
  std::filesystem::path folder_;
};

TEST_F(reload, of_the_same_rate_lets_nobody_overtake) {
  write("rate 20/s within 10s");
  live_command command(on_flow({}));
  const auto start = steady::now();
  for (int i = 0; i < 20; ++i) {
    if (i == 10) {
      EXPECT_EQ(read_again(command), "READY=1\nSTATUS=rules loaded");
    }
    flow4().send(std::to_string(i));
  }
  for (int i = 0; i < 20; ++i) EXPECT_EQ(flow4().arrived(), std::to_string(i));
  EXPECT_GE(steady::now() - start, std::chrono::milliseconds(19 * 50));
  EXPECT_EQ(command.interrupt().status, 0);
}

TEST_F(reload, throws_no_dice_again) {
  write("loss 50% : udp[8] = 0x78");
  live_command command(on_flow({"--seed", "1"}));
  const auto throw_some = [&] {
    std::string made;
    for (int i = 0; i < 64; ++i) flow4().send("x" + std::to_string(i) + " ");
    flow4().send("end");
    for (std::string last; last != "end"; made += last) last = flow4().arrived();
    return made;
  };
  const std::string first = throw_some();
  EXPECT_EQ(read_again(command), "READY=1\nSTATUS=rules loaded");
  EXPECT_NE(throw_some(), first);
  EXPECT_EQ(command.interrupt().status, 0);
}

TEST_F(reload, makes_the_mark_of_copies_one_that_is_not_judged) {
  constexpr std::uint32_t mark = 0x69707164;
  ASSERT_EQ(setsockopt(flow4().near_socket().fd(), SOL_SOCKET, SO_MARK, &mark, sizeof mark), 0);
  write("drop : udp[8] = 0x78");
  live_command command(on_flow({}));
  flow4().send("x: no copy");
  flow4().send("end");
  EXPECT_EQ(flow4().arrived(), "end");
  write("drop : udp[8] = 0x78\nduplicate 1% : tcp");
  EXPECT_EQ(read_again(command), "READY=1\nSTATUS=rules loaded");
  flow4().send("x: a copy");
  EXPECT_EQ(flow4().arrived(), "x: a copy");
  // Copies may be on their way still.
  write("drop : udp[8] = 0x78");
  EXPECT_EQ(read_again(command), "READY=1\nSTATUS=rules loaded");
  flow4().send("x: late");
  EXPECT_EQ(flow4().arrived(), "x: late");
  EXPECT_EQ(command.interrupt().status, 0);
}

// There is nothing to read again, so the terminal that is gone ends it as other commands.
TEST_F(reload, of_no_file_is_the_end) {
  const std::vector<std::string> words{"run", "--select", "output", "udp dport 5000", "drop : udp[8] = 0x78"};
  live_command command(words);
  command.signal(SIGHUP);
  EXPECT_EQ(command.notice(), "STOPPING=1");
  EXPECT_EQ(command.end().status, 0);
  live_command stays(words, {"nohup"});
  stays.signal(SIGHUP);
  flow4().send("x");
  flow4().send("y");
  EXPECT_EQ(flow4().arrived(), "y");
  EXPECT_EQ(stays.interrupt().status, 0);
}

// As an editor leaves it for a moment, or for good on a full disk.
TEST_F(reload, of_no_rule_at_all_leaves_the_old_ones) {
  write("drop");
  live_command command(on_flow({}));
  write("# nothing\n");
  EXPECT_EQ(read_again(command), "READY=1\nSTATUS=the new rules are wrong: the old ones stay");
  for (int i = 0; i < 10; ++i) flow4().send("lost");
  const auto ended = command.interrupt();
  EXPECT_TRUE(flow4().nothing_arrived());
  EXPECT_TRUE(has(ended.output, "ipq run: " + file() +
                                    ": there is no rule in it; one that accepts everything is 'accept'\n"
                                    "ipq run: the new rules are wrong: the old ones stay\n"))
      << ended.output;
  for (const std::string what : {"check -f ", "run -f "}) {
    const auto refused = ipq(what + file());
    EXPECT_EQ(refused.status, 2) << refused.output;
    EXPECT_TRUE(has(refused.output, file() + ": there is no rule in it")) << refused.output;
  }
}

}  // namespace
}  // namespace tool_tests
