// SPDX-License-Identifier: MIT
// The counters of ipq run for Prometheus, over HTTP.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "failure.hpp"
#include "live.hpp"
#include "recordings.hpp"
#include "rule_handler.hpp"

namespace tool {

/// What there is to tell, at one moment.
struct metrics_snapshot {
  rule_counters counters;  ///< the sum over the workers
  ipq::tool::rules::totals rules;
  std::vector<recordings::count> recorded = {};
  std::uint64_t reloads = 0, reloads_failed = 0;
  std::vector<live_session::kernel_counts> queues = {};
};

/// Answers GET /metrics with threads of its own, until it goes.
class metrics_server {
 public:
  /// `address`: "127.0.0.1:9100", "[::1]:9100". `look` is called by any thread. Failures: wrong_usage, the address;
  /// failed, it can't be listened on.
  [[nodiscard]] static outcome<metrics_server> open(const std::string& address, std::function<metrics_snapshot()> look);
  metrics_server(metrics_server&&) noexcept;
  ~metrics_server();

 private:
  struct parts;
  explicit metrics_server(std::unique_ptr<parts> made) noexcept;
  std::unique_ptr<parts> parts_;
};

/// "127.0.0.1:9100", "[::1]:9100", with a port from 1 to 65535; nothing is resolved. Failure: wrong_usage, it is none,
/// or one of IPv6 where the HTTP server was built without.
[[nodiscard]] outcome<void> check_metrics_address(std::string_view text);

/// Whether such an address can be listened on, before anything else is begun: the server itself comes late, since it
/// starts threads and has few rights. Failure: failed.
[[nodiscard]] outcome<void> try_metrics_address(std::string_view text);

}  // namespace tool
