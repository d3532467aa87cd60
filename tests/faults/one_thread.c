/* SPDX-License-Identifier: MIT */
/* Preloaded it lets a process start one thread, and refuses every other as the kernel does where a limit of processes
   is reached. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

typedef int starter(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);

__attribute__((visibility("default"))) int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                                                          void* (*work)(void*), void* argument) {
  static _Atomic unsigned started;
  if (atomic_fetch_add(&started, 1) != 0) return EAGAIN;
  void* const next = dlsym(RTLD_NEXT, "pthread_create");
  starter* start;
  memcpy(&start, &next, sizeof start); /* C has no conversion of pointers to functions */
  return start(thread, attributes, work, argument);
}
