// SPDX-License-Identifier: MIT
// Stretches of code in which no signal handler may run, as it might never return: programs leave theirs by siglongjmp.
#pragma once

#include <pthread.h>
#include <signal.h>

namespace ipq::netlink {

/// Signals that come to the calling thread during the life of this object are handled behind it. errno stays.
class signals_off {
 public:
  signals_off() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~signals_off() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  signals_off(const signals_off&) = delete;
  signals_off& operator=(const signals_off&) = delete;

 private:
  sigset_t before_;
};

}  // namespace ipq::netlink
