// SPDX-License-Identifier: MIT
// Configuration of a queue, in one message: bind, copy parameters, length and flags together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "wire/constants.hpp"

namespace ipq::wire {

/// NFQNL_MSG_CONFIG. The kernel applies command, copy, max_length and flags in this order; it refuses bad flags before
/// it binds (nfnetlink_queue.c, nfqnl_recv_config). A new queue copies nothing and drops everything until it is told
/// how to copy, so bind and copy belong into one message.
struct config {
  struct copy_parameters {
    copy_mode mode;
    std::uint32_t range;  ///< bytes of each packet; 0 or more than max_payload: the kernel's maximum
  };
  struct flag_changes {
    std::uint32_t flags;  ///< queue_flag bits to set
    std::uint32_t mask;   ///< the bits that change
  };

  std::uint16_t queue = 0;
  bool acknowledge = false;    ///< ask for an answer also on success
  std::uint32_t sequence = 0;  ///< comes back in the answer
  std::uint32_t port_id = 0;   ///< comes back in an error's copy of the request; the kernel does not look at it
  std::optional<config_command> command = {};
  std::optional<copy_parameters> copy = {};
  std::optional<std::uint32_t> max_length = {};  ///< packets; 0 drops everything
  std::optional<flag_changes> flags = {};
};

inline constexpr std::size_t max_config_size = 64;

/// Writes the message, returns its size. `into` is 4-aligned.
std::size_t encode_config(const config& wanted, std::span<std::byte, max_config_size> into) noexcept;

}  // namespace ipq::wire
