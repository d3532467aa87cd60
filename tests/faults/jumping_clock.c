/* SPDX-License-Identifier: MIT */
/* Preloaded it makes the time of day jump by a day, ahead and back: every other look of a process is ahead, the first
   one, too. The looks of a process are counted in the file that JUMPING_CLOCK_LOOKS and its id name: "LOOKS.PID". */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic unsigned here;
static _Atomic unsigned* looks = &here;

/* A child of fork() that is no other program yet is none whose looks are asked for. */
static void forget_count(void) {
  looks = &here;
}

/* Opened at once: later the process may not be able to, nor permitted. */
__attribute__((constructor)) static void open_count(void) {
  const char* name = getenv("JUMPING_CLOCK_LOOKS");
  char path[4096];
  if (name == NULL || snprintf(path, sizeof path, "%s.%d", name, (int)getpid()) >= (int)sizeof path) return;
  const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return;
  if (ftruncate(file, sizeof *looks) == 0) {
    void* const shared = mmap(NULL, sizeof *looks, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared != MAP_FAILED && pthread_atfork(NULL, NULL, forget_count) == 0) looks = shared;
  }
  close(file);
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec* now) {
  const int failed = (int)syscall(SYS_clock_gettime, clock, now);
  if (failed == 0 && clock == CLOCK_REALTIME && atomic_fetch_add(looks, 1) % 2 == 0) now->tv_sec += 86400;
  return failed;
}
