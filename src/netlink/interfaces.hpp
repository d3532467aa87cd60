// SPDX-License-Identifier: MIT
// Interface indices become names and hardware types, as they are now: renames and re-creations are followed.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "ipq/error.hpp"
#include "netlink/socket.hpp"

namespace ipq::netlink {

struct interface {
  std::array<char, 16> name{};  ///< NUL-terminated; empty if there is no such interface
  std::uint16_t type = 0;       ///< ARPHRD_*
};

/// Remembers what the kernel said of each interface and forgets it when the kernel says that something changed. May be
/// called from several threads and from a signal handler, which may leave by longjmp: it takes no lock and allocates
/// nothing, and who finds the memory in use asks the kernel over a socket of its own instead.
class interfaces {
 public:
  explicit interfaces(const socket_source& source) noexcept : source_(source) {}

  /// How long an answer may come from memory before the kernel's announcements are looked at again: looking costs a
  /// system call, which a reader that drains thousands of packets can't spend on each.
  static constexpr std::chrono::microseconds max_age{100};

  /// The interface of this index in the network namespace of the thread that called first (who finds the memory in
  /// use: in its own); index 0 is none.
  [[nodiscard]] interface find(std::uint32_t index);

 private:
  interface find_remembered(std::uint32_t index);
  bool open_sockets();
  void forget_what_changed();

  struct entry {
    std::uint32_t index = 0;
    interface what;
  };

  const socket_source& source_;
  std::atomic_flag in_use_;
  socket announcements_;
  socket questions_;  ///< apart, so that no announcement stands before an answer
  std::uint32_t questions_asked_ = 0;
  pid_t opened_by_ = 0;
  std::chrono::steady_clock::time_point looked_{};
  std::array<entry, 32> remembered_{};  ///< at the index, modulo size; 0 marks a free place
};

}  // namespace ipq::netlink
