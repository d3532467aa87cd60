// SPDX-License-Identifier: MIT
// The watchdog, and the buffer.
#include "measurement.hpp"

#include <unistd.h>

#include <csignal>

namespace bench {
namespace {

extern "C" void give_up(int) {
  static const char message[] = "bench_ipq: a packet is missing: a loop has waited for it for two minutes\n";
  // Nothing is left to do about a message that cannot be written.
  [[maybe_unused]] const auto written = write(STDERR_FILENO, message, sizeof message - 1);
  _exit(1);
}

}  // namespace

watchdog::watchdog() {
  std::signal(SIGALRM, give_up);
  alarm(patience_seconds);
}

watchdog::~watchdog() {
  alarm(0);
}

std::span<unsigned char> message_buffer() {
  alignas(64) static unsigned char bytes[0xffff + 4096];
  return bytes;
}

}  // namespace bench
