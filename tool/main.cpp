// SPDX-License-Identifier: MIT
// The ipq command: a table of commands, and the choice of one.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "commands.hpp"
#include "exit_code.hpp"
#include "printable.hpp"
#include "rules/file.hpp"
#include "say.hpp"

namespace {

struct command {
  std::string_view name;
  int (*run)(int argc, char** argv);
  std::string_view help;
  int trouble = tool::failed;  ///< the least exit status of what fails; smaller ones are answers
};

constexpr std::array commands{
    command{"watch", tool::watch_main, "print what is queued, and accept it"},
    command{"accept", tool::accept_main, "accept what matches a filter; --else says what becomes of the rest"},
    command{"drop", tool::drop_main, "drop what matches a filter; --else says what becomes of the rest"},
    command{"run", tool::run_main, "judge packets by rules: change, delay, lose, count, record them"},
    command{"check", tool::check_main, "check rules, and start nothing"},
    command{"status", tool::status_main, "show the queues: who serves them, what waits, what was lost"},
    command{"top", tool::top_main, "show the queues live, with rates"},
    command{"replay", tool::replay_main, "judge the packets of a capture with rules; needs no rights"},
    command{"compare", tool::compare_main, "show packets whose verdicts differ between two recordings or rule files",
            tool::wrong_usage},
    command{"doctor", tool::doctor_main, "find what keeps a queue from working here, and the remedy"},
    command{"cleanup", tool::cleanup_main, "remove rules that a killed process left behind"},
    command{"demo", tool::demo_main, "show it all on real packets, in a private network namespace"},
};

constexpr std::string_view version = IPQ_VERSION;

std::string usage() {
  std::string text = "usage: ipq COMMAND [OPTION...]\n\nHolds packets of the kernel, judges and changes them.\n\n";
  for (const auto& each : commands) text += fmt::format("  {:<9} {}\n", each.name, each.help);
  return text +
         "\nipq COMMAND --help tells more. Exit status: 0 done, 1 failed, 2 wrong usage, 3 no rights, 4 queue taken,\n"
         "5 the kernel lacks something.\n";
}

// A descriptor that is opened later must not be taken for a standard one: these are never used the other way round.
void occupy_standard_descriptors() {
  while (true) {
    const int next = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (next > STDERR_FILENO) ::close(next);
    if (next < 0 || next > STDERR_FILENO) return;
    ::close(next);
    // To be found unusable as before.
    if (::open("/dev/null", next == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) return;
  }
}

// Runs what prints and returns an exit status. What was printed and could not be written is a failure, as on a full
// disk.
template <class Printing>
int end_with(std::string_view name, int trouble, Printing&& print) {
  try {
    const int status = print();
    if (std::fflush(stdout) == 0) return status;
    tool::say("{}: write to standard output: {}\n", name, ipq::tool::rules::file_reason(errno));
    return std::max(status, trouble);
  } catch (const std::exception& unexpected) {
    tool::say("{}: {}\n", name, unexpected.what());
    return trouble;
  }
}

}  // namespace

int main(int argc, char** argv) {
  occupy_standard_descriptors();
  if (argc < 2) {
    tool::say("{}", usage());
    return tool::wrong_usage;
  }
  const std::string_view wanted = argv[1];
  const bool helps = wanted == "help" && argc > 2;
  const std::string_view asked = helps ? argv[2] : wanted;
  const bool is_general = asked == "--help" || asked == "-h" || asked == "help";
  if (is_general || wanted == "--version") {
    return end_with("ipq", tool::failed, [&] {
      fmt::print("{}", is_general ? usage() : fmt::format("ipq {}\n", version));
      return tool::done;
    });
  }
  const auto* const found = std::ranges::find(commands, asked, &command::name);
  if (found == commands.end()) {
    tool::say("ipq: there is no command {}; ipq --help lists them\n", tool::printable(asked));
    return tool::wrong_usage;
  }
  std::string name = fmt::format("ipq {}", asked), help = "--help";
  std::vector<char*> words{name.data()};
  if (helps) {
    words.push_back(help.data());
  } else {
    words.insert(words.end(), argv + 2, argv + argc);
  }
  words.push_back(nullptr);
  return end_with(name, found->trouble, [&] { return found->run(static_cast<int>(words.size()) - 1, words.data()); });
}
