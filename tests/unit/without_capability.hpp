// SPDX-License-Identifier: MIT
// A thread of the test gives up a capability for a while, so that root meets what an ordinary user does.
#pragma once

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace unit_tests {

// CAP_NET_ADMIN is missing from the calling thread as long as this lives. Where it was missing anyway nothing changes.
class without_net_admin {
 public:
  without_net_admin() {
    must(::syscall(SYS_capget, &header_, before_));
    __user_cap_data_struct fewer[2] = {before_[0], before_[1]};
    fewer[CAP_TO_INDEX(CAP_NET_ADMIN)].effective &= ~CAP_TO_MASK(CAP_NET_ADMIN);
    must(::syscall(SYS_capset, &header_, fewer));
  }
  ~without_net_admin() { ::syscall(SYS_capset, &header_, before_); }
  without_net_admin(const without_net_admin&) = delete;
  without_net_admin& operator=(const without_net_admin&) = delete;

 private:
  static void must(long result) {
    if (result != 0) throw std::system_error(errno, std::generic_category(), "change capabilities");
  }

  __user_cap_header_struct header_{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct before_[2]{};
};

}  // namespace unit_tests
