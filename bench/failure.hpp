// SPDX-License-Identifier: MIT
// How the benchmark says that it cannot go on.
#pragma once

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace bench {

// Something went wrong: the measurement is worth nothing.
struct failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// This machine, or the rights of whoever started us, cannot run the measurement at all.
struct unavailable : failure {
  using failure::failure;
};

// "what: strerror(errno)"
inline std::string with_errno(const std::string& what) {
  return what + ": " + std::strerror(errno);
}

}  // namespace bench
