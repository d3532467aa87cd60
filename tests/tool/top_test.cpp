// SPDX-License-Identifier: MIT
// ipq top in a terminal, which it must give back however it ends.
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include <chrono>
#include <cstring>
#include <stdexcept>

#include "ipq/queue.hpp"
#include "ipq_command.hpp"
#include "kernel/netns.hpp"
#include "kernel/process.hpp"
#include "kernel/traffic.hpp"

namespace tool_tests {
namespace {

constexpr std::string_view enters = "\033[?1049h\033[?25l", leaves = "\033[?25h\033[?1049l";

/// A program in a terminal of its own.
class in_terminal {
 public:
  explicit in_terminal(const std::string& arguments, unsigned short columns = 100) {
    auto words = kernel_tests::split(arguments);
    words.insert(words.begin(), command_path());
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    winsize size{.ws_row = 12, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    int program_side = -1;
    if (::openpty(&ours_, &program_side, nullptr, nullptr, &size) != 0) throw std::runtime_error("no terminal");
    theirs_ = program_side;
    ::tcgetattr(theirs_, &before_);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(ours_);
      if (::login_tty(program_side) != 0) ::_exit(126);
      ::unsetenv("NO_COLOR");
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
  }
  in_terminal(const in_terminal&) = delete;
  in_terminal& operator=(const in_terminal&) = delete;
  ~in_terminal() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(ours_);
    ::close(theirs_);
  }

  pid_t pid() const { return pid_; }
  void press(char key) const { ASSERT_EQ(::write(ours_, &key, 1), 1); }

  /// Reads until the text has come `times` times.
  const std::string& wait_for(std::string_view text, int times = 1) {
    const auto end = std::chrono::steady_clock::now() + kernel_tests::patience;
    for (;;) {
      int seen = 0;
      for (auto at = output_.find(text); at != std::string::npos; at = output_.find(text, at + 1)) ++seen;
      if (seen >= times) return output_;
      if (std::chrono::steady_clock::now() > end) throw std::runtime_error("it did not come: " + output_);
      read_some();
    }
  }

  int wait_for_end() {
    int status = 0;
    kernel_tests::wait_until("the program ends", [&] {
      read_some();
      return ::waitpid(pid_, &status, WNOHANG) == pid_;
    });
    pid_ = -1;
    read_some();
    return status;
  }

  /// The terminal is as it was, and its last word about the screen is that the old one is back.
  void expect_given_back() {
    termios now;
    ASSERT_EQ(::tcgetattr(theirs_, &now), 0);
    EXPECT_EQ(now.c_lflag, before_.c_lflag);
    EXPECT_EQ(now.c_iflag, before_.c_iflag);
    EXPECT_EQ(std::memcmp(now.c_cc, before_.c_cc, sizeof now.c_cc), 0);
    const auto entered = output_.rfind(enters), left = output_.rfind(leaves);
    ASSERT_NE(entered, std::string::npos) << output_;
    ASSERT_NE(left, std::string::npos) << output_;
    EXPECT_GT(left, entered);
  }

  bool is_raw() const {
    termios now;
    return ::tcgetattr(theirs_, &now) == 0 && (now.c_lflag & (ICANON | ECHO)) == 0;
  }

 private:
  void read_some() {
    pollfd readable{ours_, POLLIN, 0};
    char part[4096];
    while (::poll(&readable, 1, 10) == 1 && (readable.revents & POLLIN) != 0) {
      const auto length = ::read(ours_, part, sizeof part);
      if (length <= 0) return;
      output_.append(part, static_cast<std::size_t>(length));
    }
  }

  int ours_ = -1, theirs_ = -1;
  pid_t pid_ = -1;
  termios before_{};
  std::string output_;
};

class top : public kernel_tests::network_test {
 protected:
  void SetUp() override {
    network_test::SetUp();
    if (!IsSkipped()) global_root("the counters of queues");
  }
};

TEST_F(top, shows_queues_and_their_rates) {
  auto queue = ipq::queue::open({.number = 3});
  ASSERT_TRUE(queue);
  iptables("-A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 3");
  in_terminal view("top --interval 0.1");
  view.wait_for("    3  ");
  const kernel_tests::udp_socket sender(near_ns(), near_address);
  for (int i = 0; i < 40; ++i) sender.send(far_address, 9, "x");
  const auto& output = view.wait_for("█");
  EXPECT_TRUE(has(output, "1 queue   q quits")) << output;
  EXPECT_TRUE(has(output, "(" + std::to_string(::getpid()) + ")")) << output;
  view.press('q');
  const int status = view.wait_for_end();
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  view.expect_given_back();
}

TEST_F(top, gives_the_terminal_back_after_its_looks) {
  in_terminal view("top --interval 0.05 --count 3");
  view.wait_for("There is no queue.");
  EXPECT_EQ(view.wait_for_end(), 0);
  view.expect_given_back();
}

TEST_F(top, gives_the_terminal_back_on_every_signal_that_ends_it) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGABRT, SIGSEGV, SIGPIPE}) {
    SCOPED_TRACE(::strsignal(signal));
    in_terminal view("top");
    view.wait_for("There is no queue.");
    EXPECT_TRUE(view.is_raw());
    ASSERT_EQ(::kill(view.pid(), signal), 0);
    const int status = view.wait_for_end();
    EXPECT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(WTERMSIG(status), signal);
    view.expect_given_back();
  }
}

TEST_F(top, keys_of_the_terminal_are_signals) {
  in_terminal view("top");
  view.wait_for("There is no queue.");
  view.press('\003');
  const int status = view.wait_for_end();
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGINT);
  view.expect_given_back();
}

TEST_F(top, gives_the_terminal_back_while_it_is_stopped) {
  in_terminal view("top");
  view.wait_for("There is no queue.");
  ASSERT_EQ(::kill(view.pid(), SIGTSTP), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(view.pid(), &status, WUNTRACED), view.pid());
  ASSERT_TRUE(WIFSTOPPED(status));
  view.wait_for(leaves);
  view.expect_given_back();
  ASSERT_EQ(::kill(view.pid(), SIGCONT), 0);
  view.wait_for(enters, 2);
  EXPECT_TRUE(view.is_raw());
  view.press('q');
  EXPECT_EQ(view.wait_for_end(), 0);
  view.expect_given_back();
}

TEST_F(top, fits_into_a_narrow_terminal) {
  const auto queue = ipq::queue::open({.number = 3});
  in_terminal view("top --interval 0.05 --count 3", 20);
  view.wait_for("    3  ");
  EXPECT_EQ(view.wait_for_end(), 0);
}

TEST_F(top, wants_a_terminal) {
  const auto ended = ipq("top");
  EXPECT_EQ(ended.status, 2);
  EXPECT_EQ(ended.output, "ipq top: this view needs a terminal; `ipq status --watch` writes to anything\n");
}

using top_without_rights = kernel_tests::network_test;

TEST_F(top_without_rights, leaves_the_terminal_alone) {
  if (kernel_tests::queue_counters_are_shown()) return;
  EXPECT_EQ(ipq("top").status, 3);
}

}  // namespace
}  // namespace tool_tests
