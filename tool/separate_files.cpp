// SPDX-License-Identifier: MIT
#include "separate_files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <deque>
#include <utility>

namespace tool {
namespace {

/// What a path leads to. A file that is not there yet is made, since two names of it can't be compared before, and
/// taken away again in the end: whatever opens it for good tells what keeps it from being made.
class looked_up {
 public:
  looked_up(const std::string& path, int standard) : path_(path) {
    if (path == "-") {
      regular_ = ::fstat(standard, &about_) == 0 && S_ISREG(about_.st_mode);
      return;
    }
    bool found = ::stat(path.c_str(), &about_) == 0;
    if (!found) {
      constexpr int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY;
      int made = ::open(path.c_str(), flags | O_EXCL, 0666);
      created_ = made >= 0;
      if (!created_) made = ::open(path.c_str(), flags, 0666);  // a link to what is not there yet
      found = made >= 0 && ::fstat(made, &about_) == 0;
      if (made >= 0) ::close(made);
    }
    regular_ = found && S_ISREG(about_.st_mode);
  }
  looked_up(const looked_up&) = delete;
  looked_up& operator=(const looked_up&) = delete;
  ~looked_up() {
    if (created_) ::unlink(path_.c_str());
  }

  [[nodiscard]] bool is_file_of(const looked_up& other) const noexcept {
    return regular_ && other.regular_ && about_.st_dev == other.about_.st_dev && about_.st_ino == other.about_.st_ino;
  }

 private:
  std::string path_;
  struct stat about_ {};
  bool regular_ = false, created_ = false;
};

}  // namespace

outcome<void> need_separate_files(const std::string& input, std::span<const named_output> outputs) {
  // An input that is not there must not be made.
  struct stat ignored {};
  const bool has_input = input == "-" || ::stat(input.c_str(), &ignored) == 0;
  std::deque<std::pair<std::string, looked_up>> before;  // names, and where they lead
  const auto add = [&](const std::string& name, const std::string& path, int standard) -> looked_up& {
    return before
        .emplace_back(std::piecewise_construct, std::forward_as_tuple(name), std::forward_as_tuple(path, standard))
        .second;
  };
  if (has_input) add(input == "-" ? "standard input" : input, input, STDIN_FILENO);
  const std::string* to_standard_output = nullptr;
  for (const named_output& each : outputs) {
    if (each.path == "-" && to_standard_output != nullptr) {
      return fail(wrong_usage, fmt::format("{} and {} can't both be standard output", *to_standard_output, each.name));
    }
    if (each.path == "-") to_standard_output = &each.name;
  }
  const auto check = [&](const std::string& name, const std::string& path) -> outcome<void> {
    const std::size_t earlier = before.size();
    const looked_up& which = add(name, path, STDOUT_FILENO);
    for (std::size_t i = 0; i < earlier; ++i) {
      if (!before[i].second.is_file_of(which)) continue;
      if (i == 0 && has_input) {
        return fail(wrong_usage, fmt::format("{}: it is the file that is read, {}", name, before[i].first));
      }
      return fail(wrong_usage, fmt::format("{} and {} are one file: write to another", before[i].first, name));
    }
    return {};
  };
  if (to_standard_output == nullptr) {
    if (const auto fine = check("standard output", "-"); !fine) return fine;
  }
  for (const named_output& each : outputs) {
    if (const auto fine = check(each.name, each.path); !fine) return fine;
  }
  return {};
}

}  // namespace tool
