// SPDX-License-Identifier: MIT
// A program that accepts everything from queue 3, in a process of its own that a fault may hit, written with the C++
// or the C library.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "kernel/child.hpp"

namespace fault_tests {

enum class library : bool { cpp, c };

struct listener_plan {
  library written_with = library::cpp;
  std::uint32_t max_length = 1024;
  bool fail_open = false;
  std::chrono::microseconds per_packet{0};  // of work
  std::uint32_t receive_buffer = 0;         // bytes; 0: as the library makes it
};

inline std::string name_of(library which) {
  return which == library::cpp ? "C++ library" : "C library";
}

class listener {
 public:
  // Returns when the queue is open.
  explicit listener(const listener_plan& plan);

  // Sends it a signal and waits for its end; throws if it ends in another way than by this signal.
  void end_by(int signal);
  // Returns when it has stopped.
  void stop() const;
  void go_on() const;

 private:
  kernel_tests::child child_;
};

}  // namespace fault_tests
