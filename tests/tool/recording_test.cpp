// SPDX-License-Identifier: MIT
// What ipq run records of real traffic, ipq replay judges again: with the same rules and seed it gives the same file.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <regex>
#include <stdexcept>

#include "ipq_command.hpp"
#include "kernel/flow.hpp"
#include "live_command.hpp"

namespace tool_tests {
namespace {

class recording : public kernel_tests::flow_test {
 protected:
  recording() {
    char name[] = "/tmp/ipq_recording_XXXXXX";
    if (mkdtemp(name) == nullptr) throw std::runtime_error("no folder for recordings");
    folder_ = name;
    for (const char* each : {"live", "again", "other"}) std::filesystem::create_directory(folder_ / each);
    std::ofstream(rules()) << "record traffic.pcapng, mark 0x10/0xf0, continue\n"
                              "accept : udp[8] = 0x79 or ip6[48] = 0x79\n"
                              "drop : udp[8] = 0x78\n"
                              "connmark 3/0xf, priority 6, queue 9 bypass : udp[8] = 0x71\n"
                              "rate 2000/s, set ttl 9, replace \"rate\" with \"late\" : udp[8] = 0x72\n"
                              "loss 40%, corrupt 30%, duplicate 10%, delay 2ms jitter 1ms, reorder 20% within 3ms\n";
  }
  ~recording() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string rules() const { return folder_ / "rules"; }
  [[nodiscard]] std::string recorded(const char* run) const { return folder_ / run / "traffic.pcapng"; }
  [[nodiscard]] std::string bytes(const char* run) const {
    std::ifstream file(recorded(run), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // `record` writes to the folder that the command is started in.
  [[nodiscard]] std::vector<std::string> in_folder(const char* run) const {
    return {"sh", "-c", "cd " + (folder_ / run).string() + " && exec \"$@\"", "sh"};
  }
  nlohmann::json replay(const char* into, const std::string& seed, const std::vector<std::string>& more = {}) const {
    auto words = in_folder(into);
    words.insert(words.end(), {command_path(), "replay", "--json", "--seed", seed, "-f", rules(), recorded("live")});
    words.insert(words.end(), more.begin(), more.end());
    const auto ended = kernel_tests::run(words);
    EXPECT_EQ(ended.status, 0) << ended.output;
    return nlohmann::json::parse(ended.output);
  }

 private:
  std::filesystem::path folder_;
};

TEST_F(recording, is_replayed_byte_for_byte) {
  live_command command({"run", "-f", rules(), "--seed", "11", "--select", "output", "udp dport 5000"},
                       in_folder("live"));
  const char* kinds[] = {"x", "q", "rate", "anything"};
  for (int i = 0; i < 40; ++i) {
    const auto& flow = i % 3 == 0 ? flow6() : flow4();
    for (const char* kind : kinds) flow.send(kind + std::to_string(i) + std::string(static_cast<std::size_t>(i), '.'));
  }
  flow4().send("y");
  while (flow4().arrived() != "y") continue;
  const auto ended = command.interrupt();
  ASSERT_EQ(ended.status, 0) << ended.output;
  ASSERT_TRUE(has(ended.output, " 0 lost")) << ended.output;

  const auto summary = replay("again", "11");
  // The copies that duplicate sends are not judged, but recorded they would be: there are none in the recording.
  EXPECT_EQ(summary["packets"], 161);
  EXPECT_GT(summary["changed"], 26);
  EXPECT_GT(summary["delayed"], 10);
  EXPECT_GT(summary["verdicts"]["drop"]["packets"], 26);
  EXPECT_EQ(summary["verdicts"]["queue"]["packets"], 26) << "of IPv4, which udp[8] is about";
  EXPECT_GT(bytes("live").size(), 10'000u);
  EXPECT_TRUE(bytes("again") == bytes("live"));

  replay("other", "12");
  EXPECT_FALSE(bytes("other") == bytes("live")) << "other dice, other verdicts";
}

// Each worker has dice and rates of its own, and nobody chose the seed.
TEST_F(recording, of_several_workers_is_replayed_byte_for_byte) {
  flow4().rule("-A OUTPUT", "NFQUEUE --queue-num 3");
  flow6().rule("-A OUTPUT", "NFQUEUE --queue-num 4");
  live_command command({"run", "-f", rules(), "-q", "3-4", "--workers", "2"}, in_folder("live"));
  for (int i = 0; i < 40; ++i) {
    for (const auto* flow : {&flow4(), &flow6()}) {
      for (const char* kind : {"rate", "anything"}) flow->send(kind + std::to_string(i));
    }
  }
  for (const auto* flow : {&flow4(), &flow6()}) {
    flow->send("y");
    while (flow->arrived() != "y") continue;
  }
  const auto ended = command.interrupt();
  ASSERT_EQ(ended.status, 0) << ended.output;
  ASSERT_TRUE(has(ended.output, "162 packets recorded, 0 lost")) << ended.output;
  std::smatch seed;
  ASSERT_TRUE(std::regex_search(ended.output, seed, std::regex("\nipq run: .* of --seed ([0-9]+)\n"))) << ended.output;

  EXPECT_EQ(replay("again", seed[1], {"--workers", "2", "-q", "3-4"})["packets"], 162);
  EXPECT_TRUE(bytes("again") == bytes("live"));
  replay("other", seed[1]);
  EXPECT_FALSE(bytes("other") == bytes("live")) << "as if one had judged all";
}

TEST_F(recording, into_a_folder_is_refused) {
  const auto folder = std::filesystem::path(rules()).parent_path().string();
  const auto ended = kernel_tests::run({command_path(), "run", "-q", "4", "record " + folder});
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(ended.output.starts_with("ipq run: rule 1:1:1: record " + folder + ": Is a directory: name a file\n"))
      << ended.output;
}

TEST_F(recording, into_what_another_writes_is_refused_and_leaves_it_as_it_is) {
  const std::string file = recorded("live");
  std::ofstream(file) << "another's";
  const int writer = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_EQ(::flock(writer, LOCK_EX | LOCK_NB), 0);
  const auto ended = kernel_tests::run({command_path(), "run", "-q", "4", "record " + file});
  ::close(writer);
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(ended.output.starts_with("ipq run: rule 1:1:1: record " + file + ": another writer has it open: "))
      << ended.output;
  EXPECT_EQ(bytes("live"), "another's");
}

}  // namespace
}  // namespace tool_tests
