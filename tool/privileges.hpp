// SPDX-License-Identifier: MIT
// What a command that serves a queue may still do once everything is open: next to nothing.
#pragma once

#include "failure.hpp"

namespace tool {

/// Gives up every capability but CAP_NET_ADMIN, which the kernel wants to see with each verdict, and the way to get new
/// ones (no_new_privs). For the calling thread and those that it starts: call it before there are others.
[[nodiscard]] outcome<void> drop_capabilities();

/// Whether restrict_system_calls() can be. Failure: kernel_lacks.
[[nodiscard]] outcome<void> check_system_call_filters();

/// From now on all threads of the process can only serve: read and write what is open, open files for reading, make
/// threads, accept connections, allocate, wait. Other system calls fail with EPERM: execve, socket, open for writing,
/// ptrace, kill and tgkill of other processes. Needs no_new_privs, so drop_capabilities() first. There is no way back.
[[nodiscard]] outcome<void> restrict_system_calls();

}  // namespace tool
