// SPDX-License-Identifier: MIT
// The ipq binary, run in the network namespace of the test.
#pragma once

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

#include "kernel/command.hpp"

namespace tool_tests {

inline kernel_tests::outcome ipq(std::string_view arguments) {
  auto words = kernel_tests::split(arguments);
  words.insert(words.begin(), IPQ_COMMAND);
  return kernel_tests::run(words);
}

/// As a process that has no capability, whoever starts it.
inline kernel_tests::outcome ipq_without_rights(std::string_view arguments) {
  auto words = kernel_tests::split("setpriv --bounding-set=-all --inh-caps=-all " IPQ_COMMAND);
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
