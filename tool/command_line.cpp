// SPDX-License-Identifier: MIT
#include "command_line.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "printable.hpp"
#include "say.hpp"

namespace tool {

namespace {

// CLI11 takes a word "[a,b]" for a list, though a filter or the name of a file may be just that: it gets this behind
// it, and values lose it again.
constexpr char no_list = '\x01';

std::string without_mark(std::string text) {
  if (text.starts_with('[') && text.ends_with(no_list)) text.pop_back();
  return text;
}

}  // namespace

command_line::command_line(const char* name, const char* description)
    : app_(std::make_unique<CLI::App>(description, fmt::format("ipq {}", name))) {
  add_option(
      "--netns", "NAME",
      [this](std::string_view text) -> parsed<void> {
        if (text.empty()) return std::unexpected("'' is no name of a network namespace");
        netns_ = text;
        return {};
      },
      "work in this network namespace: a name of `ip netns`, or a path");
}

command_line::~command_line() = default;

void command_line::add_argument(const char* name, std::string& value, const char* help) {
  app_->add_option(name, value, help)->required()->transform(without_mark);
}

void command_line::add_arguments(const char* name, std::vector<std::string>& values, const char* help) {
  app_->add_option(name, values, help)->transform(without_mark);
}

void command_line::add_flag(const char* names, bool& value, const char* help) {
  app_->add_flag(names, value, help);
}

void command_line::add_off_flag(const char* names, bool& value, const char* help) {
  app_->add_flag_callback(
      names, [&value] { value = false; }, help);
}

void command_line::add_option(const char* names, const char* form, reader read, const char* help) {
  const std::string_view all = names;
  std::string longest(all.substr(all.find(',') + 1));
  app_->add_option_function<std::string>(
          names,
          [read = std::move(read), longest = std::move(longest)](const std::string& text) {
            if (const auto taken = read(text); !taken) throw CLI::ValidationError(longest, taken.error());
          },
          help)
      ->type_name(form)
      ->transform(without_mark);
}

void command_line::add_option(const char* names, const char* form, std::string& value, const char* help) {
  app_->add_option(names, value, help)->type_name(form)->transform(without_mark);
}

void command_line::add_repeated(const char* names, const char* form, int words, std::vector<std::string>& values,
                                const char* help) {
  app_->add_option(names, values, help)
      ->type_name(form)
      ->type_size(words)
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->transform(without_mark);
}

void command_line::exclude(const char* option, const char* other) {
  app_->get_option(option)->excludes(app_->get_option(other));
}

void command_line::need(const char* option, const char* other) {
  app_->get_option(option)->needs(app_->get_option(other));
}

std::optional<int> command_line::parse(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  for (std::string& each : words) {
    if (each.starts_with('[') && each.ends_with(']')) each.push_back(no_list);
  }
  std::ranges::reverse(words);
  try {
    app_->parse(std::move(words));
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app_->help());
    return done;
  } catch (const CLI::ParseError& wrong) {
    std::string what = wrong.what();
    std::erase(what, no_list);
    for (const CLI::Option* each : app_->get_options()) {
      const bool once = each->get_multi_option_policy() == CLI::MultiOptionPolicy::Throw;
      if (once && each->get_items_expected_max() == 1 && each->count() > 1)
        what = each->get_name() + ": is given twice";
    }
    say("{}: {}; {} --help lists what there is\n", app_->get_name(), printable(what), app_->get_name());
    return wrong_usage;
  }
  if (netns_.empty()) return std::nullopt;
  if (const auto entered = enter_netns(netns_); !entered) {
    say("{}: {}\n", app_->get_name(), entered.error().message);
    return entered.error().code;
  }
  return std::nullopt;
}

outcome<void> enter_netns(const std::string& name) {
  const std::string path = name.find('/') == std::string::npos ? "/run/netns/" + name : name;
  const std::string shown = printable(name), place = printable(path);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) {
      return fail(failed,
                  fmt::format("network namespace {}: there is no {}; `ip netns list` shows names", shown, place));
    }
    return fail(errno == EACCES ? no_rights : failed,
                fmt::format("network namespace {}: open {}: {}", shown, place, std::strerror(errno)));
  }
  const int moved = ::setns(fd, CLONE_NEWNET);
  const int error = moved == 0 ? 0 : errno;
  ::close(fd);
  if (error == EPERM) {
    return fail(no_rights, fmt::format("network namespace {}: entering it takes CAP_SYS_ADMIN, as root has", shown));
  }
  if (error == EINVAL)
    return fail(
        failed,
        fmt::format(
            "network namespace {}: {} is none; name one that `ip netns list` shows, or a file as /proc/812/ns/net",
            shown, place));
  if (error != 0) return fail(failed, fmt::format("network namespace {}: {}", shown, std::strerror(error)));
  return {};
}

int report(const char* command, const failure& what) {
  say("ipq {}: {}\n", command, what.message);
  return what.code;
}

bool has_colours(std::FILE* output) {
  const char* refused = std::getenv("NO_COLOR");
  return ::isatty(::fileno(output)) == 1 && (refused == nullptr || *refused == '\0');
}

}  // namespace tool
