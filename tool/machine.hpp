// SPDX-License-Identifier: MIT
// Settings of the kernel that a queue depends on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tool {

/// /proc/sys/net/core/rmem_max for "net.core.rmem_max", as a number; nullopt where there is none.
[[nodiscard]] std::optional<std::int64_t> read_sysctl(std::string name);

/// Interfaces whose packets are dropped when their source is not where they come from (rp_filter 1): the larger of the
/// interface's own setting and that of all counts, and 2 is loose. "all" where it is every one.
[[nodiscard]] std::vector<std::string> strict_reverse_paths(const std::string& folder = "/proc/sys/net/ipv4/conf");

/// Whether this process may have receive buffers of any size: CAP_NET_ADMIN in the initial user namespace.
[[nodiscard]] bool may_force_buffers();

/// Whether the kernel finds the packet of a verdict by a hash of its id rather than by a walk through all that wait.
/// nullopt: the kernel's type information, where that can be seen, can't be read.
[[nodiscard]] std::optional<bool> has_hashed_lookup(const std::string& type_folder = "/sys/kernel/btf");

}  // namespace tool
