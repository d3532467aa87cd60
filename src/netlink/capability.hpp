// SPDX-License-Identifier: MIT
// The right that every request about queues takes.
#pragma once

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

namespace ipq::netlink {

/// Whether the calling thread has CAP_NET_ADMIN now: without it the kernel refuses what the thread sends
/// (nfnetlink_rcv). A system call; false where it may not be made.
[[nodiscard]] inline bool has_net_admin() noexcept {
  __user_cap_header_struct of_this_thread{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> has{};
  if (::syscall(SYS_capget, &of_this_thread, has.data()) != 0) return false;
  return (has[CAP_TO_INDEX(CAP_NET_ADMIN)].effective & CAP_TO_MASK(CAP_NET_ADMIN)) != 0;
}

}  // namespace ipq::netlink
