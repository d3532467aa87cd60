// SPDX-License-Identifier: MIT
// Stretches of code that a pthread_cancel() of their thread must not leave halfway.
#pragma once

#include <pthread.h>

namespace ipq::netlink {

/// Cancels that come during the life of this object take effect at the thread's next cancellation point behind it.
class cancellation_off {
 public:
  cancellation_off() noexcept { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~cancellation_off() { ::pthread_setcancelstate(before_, nullptr); }
  cancellation_off(const cancellation_off&) = delete;
  cancellation_off& operator=(const cancellation_off&) = delete;

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

}  // namespace ipq::netlink
