// SPDX-License-Identifier: MIT
// What ends a command early: the exit status and one line that says what went wrong, where, and what to do.
#pragma once

#include <expected>
#include <string>

#include "exit_code.hpp"

namespace tool {

struct failure {
  exit_code code = failed;
  std::string message;

  failure(exit_code status, std::string text) : code(status), message(std::move(text)) {}
  // NOLINTNEXTLINE(google-explicit-constructor): what the library says becomes a failure as it is
  failure(const ipq::error& cause) : code(exit_code_of(cause)), message(cause.message()) {}
};

template <class T>
using outcome = std::expected<T, failure>;

/// For `return fail(wrong_usage, "...")`.
[[nodiscard]] inline std::unexpected<failure> fail(exit_code code, std::string message) {
  return std::unexpected(failure(code, std::move(message)));
}

}  // namespace tool
