// SPDX-License-Identifier: MIT
// The command line of a command: its options and arguments, and what all commands share: --help, --netns, usage errors,
// colours.
#pragma once

#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "exit_code.hpp"
#include "failure.hpp"
#include "values.hpp"

namespace CLI {
class App;
}

namespace tool {

/// Options and arguments are added first; parse() fills the values, which live until then. Names are as in
/// "-q,--queue". `form` is what --help prints for an option's value, as "N[-M]".
class command_line {
 public:
  /// Takes the text of an option, or says what is wrong with it.
  using reader = std::function<parsed<void>(std::string_view)>;

  command_line(const char* name, const char* description);
  command_line(const command_line&) = delete;
  command_line& operator=(const command_line&) = delete;
  ~command_line();

  /// An argument that has to be there.
  void add_argument(const char* name, std::string& value, const char* help);
  /// All other arguments.
  void add_arguments(const char* name, std::vector<std::string>& values, const char* help);

  /// Sets the value to true.
  void add_flag(const char* names, bool& value, const char* help);
  /// Sets it to false.
  void add_off_flag(const char* names, bool& value, const char* help);

  void add_option(const char* names, const char* form, reader read, const char* help);
  void add_option(const char* names, const char* form, std::string& value, const char* help);
  /// `read` makes a parsed value of the text, whose error becomes a usage error.
  template <class Value, class Read>
  void add_option(const char* names, const char* form, Value& value, Read read, const char* help) {
    add_option(
        names, form,
        [&value, read = std::move(read)](std::string_view text) -> parsed<void> {
          auto made = read(text);
          if (!made) return std::unexpected(std::move(made).error());
          value = static_cast<Value>(*std::move(made));
          return {};
        },
        help);
  }
  /// An option that may be repeated, with so many words each time, of which all but the first may be anything.
  void add_repeated(const char* names, const char* form, int words, std::vector<std::string>& values, const char* help);

  /// The two options don't go together.
  void exclude(const char* option, const char* other);
  /// The option goes with the other alone.
  void need(const char* option, const char* other);

  /// Reads the arguments and enters the network namespace of --netns; `argv[0]` is "ipq NAME", as main hands it over.
  /// An exit status means that the command ends with it: help was asked for and printed, or the usage is wrong, which
  /// was said on standard error.
  [[nodiscard]] std::optional<int> parse(int argc, char** argv);

 private:
  std::unique_ptr<CLI::App> app_;
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
