// SPDX-License-Identifier: MIT
#include "terminal.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace tool {
namespace {

// Known to signal handlers.
termios original;
std::atomic<bool> taken = false;

constexpr std::array ending{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGSEGV,
                            SIGBUS, SIGILL,  SIGFPE, SIGABRT, SIGALRM, SIGXCPU};

void write_all(std::string_view text) noexcept {
  while (!text.empty()) {
    const auto written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

void enter() noexcept {
  termios raw = original;
  raw.c_lflag &= static_cast<tcflag_t>(~(ICANON | ECHO));  // ISIG stays: Ctrl-C and Ctrl-Z are signals
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  write_all("\033[?1049h\033[?25l\033[H");
}

/// From handlers, too: write and tcsetattr may be used there.
void leave() noexcept {
  if (!taken.exchange(false)) return;
  write_all("\033[0m\033[?25h\033[?1049l");
  ::tcsetattr(STDIN_FILENO, TCSANOW, &original);
}

void end_by(int signal) {
  leave();
  // As if there were no handler: whoever waits for the process sees the signal. SA_RESETHAND has set the default.
  ::raise(signal);
}

void stop(int) {
  const int kept = errno;
  leave();
  ::raise(SIGSTOP);
  errno = kept;
}

void go_on(int) {
  const int kept = errno;
  if (!taken.exchange(true)) enter();
  errno = kept;
}

void handle(int signal, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

outcome<terminal> terminal::take(const char* command) {
  if (::isatty(STDOUT_FILENO) != 1 || ::isatty(STDIN_FILENO) != 1 || ::tcgetattr(STDIN_FILENO, &original) != 0) {
    return fail(wrong_usage, fmt::format("this view needs a terminal; `{} --watch` writes to anything", command));
  }
  static const bool registered = std::atexit(leave) == 0;
  (void)registered;
  taken = true;
  for (const int signal : ending) handle(signal, end_by, static_cast<int>(SA_RESETHAND));
  handle(SIGTSTP, stop, 0);
  handle(SIGCONT, go_on, 0);
  handle(
      SIGWINCH, [](int) {}, 0);
  enter();
  return terminal();
}

terminal::terminal(terminal&& other) noexcept : mine_(std::exchange(other.mine_, false)) {}

terminal::~terminal() {
  if (!mine_) return;
  handle(SIGCONT, SIG_DFL, 0);
  leave();
  for (const int signal : ending) handle(signal, SIG_DFL, 0);
  handle(SIGTSTP, SIG_DFL, 0);
}

terminal::size terminal::measure() const noexcept {
  winsize found{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &found) != 0 || found.ws_col == 0 || found.ws_row == 0) return {};
  return {found.ws_col, found.ws_row};
}

void terminal::show(const std::string& lines) const {
  // Each line clears what is left of the one before; without a newline at the end nothing scrolls.
  std::string text = "\033[H";
  std::string_view rest = lines;
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    text += line;
    text += rest.empty() ? "\033[K" : "\033[K\r\n";
  }
  write_all(text + "\033[J");
}

int terminal::wait_key(std::chrono::steady_clock::time_point deadline) const {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  pollfd keys{STDIN_FILENO, POLLIN, 0};
  if (::poll(&keys, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0))) <= 0) return 0;
  char key = 0;
  return ::read(STDIN_FILENO, &key, 1) == 1 ? key : -1;
}

}  // namespace tool
