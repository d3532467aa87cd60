// SPDX-License-Identifier: MIT
// The options that all commands on live queues have.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "failure.hpp"
#include "firewall/selection_options.hpp"
#include "ipq/queue.hpp"
#include "values.hpp"

namespace tool {

class command_line;

struct live_options {
  std::uint16_t first_queue = 0, last_queue = 0;
  std::optional<std::uint32_t> max_length;  ///< packets that may wait in each queue
  std::uint32_t copy_range = 0;             ///< bytes of each packet; 0: all
  bool fail_open = false;                   ///< --fail-open: accept what finds the queue full
  bool gso = false;
  std::uint64_t count = 0;  ///< packets to judge before the end; 0: no end
  std::optional<std::chrono::nanoseconds> duration;
  unsigned workers = 1;  ///< threads, at most one a queue

  firewall::selection_options selection;  ///< --select, --fail, --dry-run

  [[nodiscard]] unsigned queues() const noexcept { return last_queue - first_queue + 1u; }
  [[nodiscard]] firewall::queue_range range() const noexcept { return {first_queue, last_queue}; }
  [[nodiscard]] bool fails_open() const { return selection.policy() == firewall::fail_policy::open; }
  /// For the kernel's queue `number`; what the command adds is up to it.
  [[nodiscard]] ipq::queue_options queue(std::uint16_t number) const;
};

/// "3" or "3-5": the first and the last of at most 256 queues.
[[nodiscard]] parsed<std::pair<std::uint16_t, std::uint16_t>> parse_queues(std::string_view text);
/// --queue, which is one or several.
void add_queue_option(command_line& to, std::uint16_t& first, std::uint16_t& last, const char* what);

/// Failure: wrong_usage, more workers than queues.
[[nodiscard]] outcome<void> check_workers(unsigned workers, unsigned queues);

/// Adds the options to a command line, which fills `options` when it is parsed, and complains of what is wrong.
void add_live_options(command_line& to, live_options& options);

/// Checks what depends on several options, after parsing.
[[nodiscard]] outcome<void> check(const live_options& options);

/// Prints what --select would install, for --dry-run. Returns the exit status.
int print_dry_run(const char* command, const live_options& options);

}  // namespace tool
