// SPDX-License-Identifier: MIT
// What ipq status says: queues, the rules that feed them, and the rules that nobody serves.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "failure.hpp"
#include "firewall/feeds.hpp"
#include "ipq/status.hpp"

namespace tool {

struct queue_report {
  std::vector<ipq::queue_status> queues;
  std::vector<firewall::feed> feeds;

  /// Rules that lead to numbers without an owner.
  struct unserved_feed {
    const firewall::feed* from;
    firewall::unserved_range numbers;
  };
  [[nodiscard]] std::vector<unserved_feed> unserved() const;
};

/// Of the calling thread's network namespace. Failures: no_rights, kernel_lacks.
[[nodiscard]] outcome<queue_report> make_queue_report();

/// For people: a table, and below each queue its rules.
[[nodiscard]] std::string to_text(const queue_report& report, bool colours);
/// One object: "queues" and "unserved".
[[nodiscard]] std::string to_json(const queue_report& report, bool in_one_line);
/// The text format of Prometheus, version 0.0.4.
[[nodiscard]] std::string to_prometheus(const queue_report& report);

[[nodiscard]] std::string_view to_string(ipq::queue_status::copy_mode mode) noexcept;

}  // namespace tool
