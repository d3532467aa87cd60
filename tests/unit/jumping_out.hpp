// SPDX-License-Identifier: MIT
// Leaving code in the middle, as programs do whose signal handlers end in siglongjmp.
#pragma once

#include <setjmp.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>

namespace unit_tests {

inline sigjmp_buf behind_jump;

// Calls f() over and over, and leaves it so many times, at whatever moment a signal comes.
template <class F>
void jump_out_of(F f, int times) {
  struct sigaction jumping {
  }, before{};
  jumping.sa_handler = [](int) { siglongjmp(behind_jump, 1); };
  sigaction(SIGALRM, &jumping, &before);
  for (std::atomic<int> jumps = 0; jumps < times; ++jumps) {  // in memory, whose value a jump does not change
    if (sigsetjmp(behind_jump, 1) != 0) continue;
    ualarm(static_cast<useconds_t>(20 + jumps % 60), 0);
    for (;;) f();
  }
  sigaction(SIGALRM, &before, nullptr);
}

}  // namespace unit_tests
