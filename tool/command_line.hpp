// SPDX-License-Identifier: MIT
// What all commands share on the command line: --help, --netns, usage errors, colours.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdio>
#include <optional>
#include <string>

#include "exit_code.hpp"
#include "failure.hpp"

namespace tool {

/// The command line of one command. `argv[0]` is "ipq NAME", as main hands it over.
class command_line {
 public:
  command_line(const char* name, const char* description);

  /// To add options and arguments to.
  [[nodiscard]] CLI::App& app() noexcept { return app_; }

  /// Reads the arguments and enters the network namespace of --netns. An exit status means that the command ends with
  /// it: help was asked for and printed, or the usage is wrong, which was said on standard error.
  [[nodiscard]] std::optional<int> parse(int argc, char** argv);

 private:
  CLI::App app_;
  std::string netns_;
};

/// Moves the calling thread, and threads and processes that it starts, to a network namespace: a name as `ip netns`
/// has it, or a path to one, as /proc/812/ns/net.
[[nodiscard]] outcome<void> enter_netns(const std::string& name);

/// Prints "ipq NAME: message" on standard error and returns the exit status.
int report(const char* command, const failure& what);

/// Whether to colour what goes there: a terminal, and no NO_COLOR in the environment.
[[nodiscard]] bool has_colours(std::FILE* output);

}  // namespace tool
