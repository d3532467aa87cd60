// SPDX-License-Identifier: MIT
// Output that nobody reads, or not at once: packets go on, and what was not printed is told.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>

#include "ipq_command.hpp"
#include "kernel/flow.hpp"
#include "kernel/process.hpp"
#include "live_command.hpp"

namespace tool_tests {
namespace {

// A pipe whose reader begins when it is told to.
class late_reader {
 public:
  late_reader() : late_reader(opened()) {}

  /// Starts the command that follows with this pipe as its standard output.
  [[nodiscard]] std::vector<std::string> as_output() const {
    return {"bash", "-c",
            "exec \"$@\" >&" + std::to_string(write_->get()) + " " + std::to_string(write_->get()) + ">&-", "-"};
  }
  /// Once the command has it.
  void close_writing_end() { write_.reset(); }

  /// All that is written until the command has closed it.
  [[nodiscard]] std::string read() const {
    std::string text;
    std::array<char, 65536> part{};
    for (;;) {
      const ssize_t got = ::read(read_.get(), part.data(), part.size());
      if (got < 0) throw std::system_error(errno, std::generic_category(), "read");
      if (got == 0) return text;
      text.append(part.data(), static_cast<std::size_t>(got));
    }
  }

 private:
  static std::array<int, 2> opened() {
    std::array<int, 2> ends{-1, -1};
    static_cast<void>(pipe2(ends.data(), 0));
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    return ends;
  }
  explicit late_reader(std::array<int, 2> ends) : read_(ends[0], "pipe") { write_.emplace(ends[1], "pipe"); }

  kernel_tests::descriptor read_;
  std::optional<kernel_tests::descriptor> write_;
};

// A terminal that nobody reads.
class stopped_terminal {
 public:
  stopped_terminal() : stopped_terminal(opened()) {}

  /// Starts the command that follows with this as its standard output and error.
  [[nodiscard]] std::vector<std::string> as_output() const {
    const std::string number = std::to_string(there_.get());
    return {"bash", "-c", "exec \"$@\" >&" + number + " 2>&" + number, "-"};
  }

 private:
  static std::array<int, 2> opened() {
    std::array<int, 2> ends{-1, -1};
    static_cast<void>(openpty(&ends[0], &ends[1], nullptr, nullptr, nullptr));
    return ends;
  }
  explicit stopped_terminal(std::array<int, 2> ends) : here_(ends[0], "terminal"), there_(ends[1], "terminal") {}

  kernel_tests::descriptor here_, there_;
};

class output : public kernel_tests::flow_test {
 protected:
  /// Sends packets, which have to arrive, until much more than the command keeps would have been printed.
  void pass_packets(int count) const {
    const std::string payload(8000, 'x');
    for (int i = 0; i < count; ++i) {
      flow4().send(payload);
      ASSERT_EQ(flow4().arrived(), payload) << "packet " << i;
    }
  }
};

TEST_F(output, that_nobody_takes_holds_up_no_packet) {
  const std::string prefix(16000, 'p');
  const std::vector<std::string> commands[] = {
      {"watch", "--json", "-x"},
      {"drop", "--json", "-x", "[outdev=near0]", "udp[8]", "=", "0x78", "--else", "accept"},
      {"run", "log \"" + prefix + "\""}};
  for (auto words : commands) {
    const bool drops = words[0] == "drop";
    words.insert(words.begin() + 1, {"--select", "output", "udp dport 5000"});
    late_reader reader;
    live_command command(words, reader.as_output());
    reader.close_writing_end();
    constexpr int count = 1200;
    if (drops) {
      // What is printed was dropped, and others pass behind it.
      const std::string payload(8000, 'x');
      for (int i = 0; i < count; ++i) {
        flow4().send(payload);
        if (i % 100 != 99) continue;
        flow4().send("passes");
        ASSERT_EQ(flow4().arrived(), "passes") << "packet " << i;
      }
    } else {
      pass_packets(count);
    }
    command.signal(SIGINT);
    EXPECT_EQ(command.notice(), "STOPPING=1");
    int printed = 0;
    std::istringstream lines(reader.read());
    for (std::string line; std::getline(lines, line); ++printed) {
      ASSERT_FALSE(lines.eof()) << "no line is cut";
      if (words[0] == "run") {
        ASSERT_TRUE(has(line, prefix));
      } else {
        ASSERT_TRUE(nlohmann::json::accept(line)) << line;
      }
    }
    const auto ended = command.end();
    EXPECT_EQ(ended.status, 0) << ended.output;
    std::smatch found;
    ASSERT_TRUE(std::regex_search(ended.output, found,
                                  std::regex("ipq [a-z]+: ([0-9]+) lines not printed: the reader was too slow\n")))
        << ended.output;
    EXPECT_EQ(printed + std::stoi(found[1]), count);
    EXPECT_GT(printed, count / 4) << "some megabytes are kept";
  }
}

TEST_F(output, that_is_read_in_the_end_is_whole) {
  late_reader reader;
  live_command watch({"watch", "-t", "--select", "output", "udp dport 5000"}, reader.as_output());
  reader.close_writing_end();
  // More than a pipe holds.
  for (int i = 0; i < 2000; ++i) {
    flow4().send("x");
    ASSERT_EQ(flow4().arrived(), "x");
  }
  watch.signal(SIGINT);
  EXPECT_EQ(watch.notice(), "STOPPING=1");
  const std::string text = reader.read();
  EXPECT_EQ(std::ranges::count(text, '\n'), 2000);
  const auto ended = watch.end();
  EXPECT_EQ(ended.status, 0);
  EXPECT_FALSE(has(ended.output, "not printed")) << ended.output;
}

TEST_F(output, on_a_stopped_terminal_does_not_outlive_a_second_signal) {
  const stopped_terminal terminal;
  live_command watch({"watch", "--select", "output", "udp dport 5000"}, terminal.as_output());
  // More than a terminal holds.
  for (int i = 0; i < 2000; ++i) {
    flow4().send("x");
    ASSERT_EQ(flow4().arrived(), "x");
  }
  watch.signal(SIGINT);
  EXPECT_EQ(watch.notice(), "STOPPING=1");
  std::this_thread::sleep_for(std::chrono::milliseconds(600));  // signals sooner behind each other are one
  watch.signal(SIGINT);
  EXPECT_EQ(watch.end().status, 1);
  kernel_tests::wait_until("the rules are gone", [] { return queue_rules().empty(); });
}

}  // namespace
}  // namespace tool_tests
