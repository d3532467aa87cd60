// SPDX-License-Identifier: MIT
// A command on live queues that runs while the test goes on; it says when it is ready, as to a service manager.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernel/command.hpp"
#include "kernel/traffic.hpp"

namespace tool_tests {

class live_command {
 public:
  /// Starts "ipq WORDS" in the network namespace of the calling thread, and waits until it is ready.
  /// `prefix`: a command that starts the one that follows.
  explicit live_command(std::vector<std::string> words, std::vector<std::string> prefix = {});

  /// The next that it says to the service manager. Throws when it says nothing in time.
  [[nodiscard]] std::string notice() const;
  /// SIGSTOP has taken effect when this returns.
  void signal(int number) const;
  /// Returns when none of its threads runs any more, until SIGCONT.
  void stop() const;
  /// Waits for its end.
  kernel_tests::outcome end() { return command_.wait(); }
  /// Ends it as Ctrl-C does.
  kernel_tests::outcome interrupt();

  [[nodiscard]] pid_t pid() const { return command_.pid(); }

 private:
  [[nodiscard]] bool is_stopped() const;

  std::string name_;  ///< of the manager's socket
  kernel_tests::descriptor manager_;
  kernel_tests::background_command command_;
};

/// All rules of both families' iptables-legacy and of nft that name a queue, one a line.
std::string queue_rules();

}  // namespace tool_tests
