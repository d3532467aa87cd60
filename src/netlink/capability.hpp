// SPDX-License-Identifier: MIT
// The right that every request about queues takes.
#pragma once

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <optional>

namespace ipq::netlink {

/// Without the right the kernel refuses what a thread sends (nfnetlink_rcv).
class net_admin_right {
 public:
  /// Right after the kernel has granted the calling thread a request about queues. To a thread without CAP_NET_ADMIN it
  /// does so by the effective user id, as the owner of the network namespace's user namespace (cap_capable).
  net_admin_right() noexcept {
    if (has_capability() == false) owner_ = ::geteuid();
  }

  /// Whether the calling thread has it now. A system call or two; false where they may not be made.
  [[nodiscard]] bool is_there() const noexcept {
    return has_capability().value_or(false) || (owner_ && *owner_ == ::geteuid());
  }

 private:
  static std::optional<bool> has_capability() noexcept {
    __user_cap_header_struct of_this_thread{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> has{};
    if (::syscall(SYS_capget, &of_this_thread, has.data()) != 0) return std::nullopt;
    return (has[CAP_TO_INDEX(CAP_NET_ADMIN)].effective & CAP_TO_MASK(CAP_NET_ADMIN)) != 0;
  }

  std::optional<uid_t> owner_;
};

}  // namespace ipq::netlink
