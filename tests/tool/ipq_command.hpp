// SPDX-License-Identifier: MIT
// The ipq binary, run in the network namespace of the test.
#pragma once

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

#include "kernel/command.hpp"

namespace tool_tests {

/// The binary's path; where the build tree is closed to an ordinary user there is a copy.
inline const std::string& command_path() {
  static const std::string path = [] {
    const char* copy = std::getenv("IPQ_TEST_COMMAND");
    return std::string(copy != nullptr ? copy : IPQ_COMMAND);
  }();
  return path;
}

inline kernel_tests::outcome ipq(std::string_view arguments) {
  auto words = kernel_tests::split(arguments);
  words.insert(words.begin(), command_path());
  return kernel_tests::run(words);
}

/// As a process that has no capability, whoever starts it.
inline kernel_tests::outcome ipq_without_rights(std::string_view arguments) {
  auto words = kernel_tests::split("setpriv --bounding-set=-all --inh-caps=-all " + command_path());
  for (auto& word : kernel_tests::split(arguments)) words.push_back(std::move(word));
  return kernel_tests::run(words);
}

inline std::string must_ipq(std::string_view arguments) {
  auto ended = ipq(arguments);
  if (ended.status != 0) {
    throw std::runtime_error("ipq " + std::string(arguments) + ": status " + std::to_string(ended.status) + "\n" +
                             ended.output);
  }
  return ended.output;
}

inline bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace tool_tests
