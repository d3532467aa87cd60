/* SPDX-License-Identifier: MIT */
/* Preloaded it makes the time of day jump by a day, ahead and back every other microsecond. */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec* now) {
  const int failed = (int)syscall(SYS_clock_gettime, clock, now);
  if (failed == 0 && clock == CLOCK_REALTIME && now->tv_nsec / 1000 % 2 != 0) {
    now->tv_sec += 86400;
  }
  return failed;
}
