// SPDX-License-Identifier: MIT
// The files that rules record to: opened once, with all rights, and kept over reloads.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "failure.hpp"
#include "ipq/recorder.hpp"
#include "rules/metadata.hpp"
#include "rules/ruleset.hpp"

namespace tool {

class recordings {
 public:
  /// Makes the files of `record FILE` while rights are there; those that were not there go again unless keep() is
  /// called. Failures: failed or no_rights, with the file; wrong_usage, two names of one file.
  [[nodiscard]] outcome<void> create(const ipq::tool::rules::ruleset& rules);
  /// Begins to write to them; starts threads, so rights should have been given up. Each has names of its own.
  [[nodiscard]] outcome<void> open(const std::function<ipq::tool::rules::interface_names()>& make_names);

  /// From here on the files stay.
  void keep() noexcept { kept_ = true; }

  /// The recorders of rules, in their order. Failure: one writes to a file that was not created at the start.
  [[nodiscard]] outcome<std::vector<ipq::recorder*>> of(const ipq::tool::rules::ruleset& rules);

  /// Says on standard error what could not be written and has not been told, unless nobody can read it there now.
  void tell_failures();

  /// Writes what waits. Failure: the first that could not be written.
  [[nodiscard]] outcome<void> close();

  struct count {
    std::string file;
    ipq::recorder_counts counts;
  };
  [[nodiscard]] std::vector<count> counts() const;

 private:
  struct file {
    std::filesystem::path path;
    int created = -1;
    bool is_new = false;
    std::unique_ptr<ipq::recorder> to = {};
    ipq::tool::rules::diagnostic where = {};  ///< the first rule that records there
    bool told = false;                        ///< that it failed
  };
  std::deque<file> files_;
  bool kept_ = false;

 public:
  recordings() = default;
  recordings(const recordings&) = delete;
  recordings& operator=(const recordings&) = delete;
  ~recordings();
};

}  // namespace tool
