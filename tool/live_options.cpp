// SPDX-License-Identifier: MIT
#include "live_options.hpp"

#include <fmt/format.h>

#include <limits>
#include <tuple>

#include "command_line.hpp"

namespace tool {

parsed<std::pair<std::uint16_t, std::uint16_t>> parse_queues(std::string_view text) {
  const std::size_t dash = text.find('-');
  const auto first = parse_number(text.substr(0, dash), 0, 65535);
  if (!first) return std::unexpected(first.error());
  if (dash == std::string_view::npos)
    return std::pair(static_cast<std::uint16_t>(*first), static_cast<std::uint16_t>(*first));
  const auto last = parse_number(text.substr(dash + 1), 0, 65535);
  if (!last) return std::unexpected(last.error());
  if (*last < *first) return std::unexpected(fmt::format("{}: the first queue is above the last", text));
  if (*last - *first >= 256) return std::unexpected(fmt::format("{}: at most 256 queues", text));
  return std::pair(static_cast<std::uint16_t>(*first), static_cast<std::uint16_t>(*last));
}

outcome<void> check_workers(unsigned workers, unsigned queues) {
  if (workers <= queues) return {};
  return fail(wrong_usage,
              fmt::format("--workers {}: more threads than queues, of which there {} {}; -q N-M serves several",
                          workers, queues == 1 ? "is" : "are", queues));
}

ipq::queue_options live_options::queue(std::uint16_t number) const {
  ipq::queue_options made;
  made.number = number;
  made.copy_range = copy_range;
  if (max_length) made.max_length = *max_length;
  made.fail_open = fail_open || fails_open();
  made.gso = gso;
  if (fails_open()) {
    made.unanswered = ipq::verdict::accept();
    made.at_close = ipq::queue_options::closing::accept_waiting;
  }
  return made;
}

void add_queue_option(command_line& to, std::uint16_t& first, std::uint16_t& last, const char* what) {
  to.add_option(
      "-q,--queue", "N[-M]",
      [&first, &last](std::string_view text) -> parsed<void> {
        const auto range = parse_queues(text);
        if (!range) return std::unexpected(range.error());
        std::tie(first, last) = *range;
        return {};
      },
      what);
}

void add_live_options(command_line& to, live_options& options) {
  add_queue_option(to, options.first_queue, options.last_queue, "serve this queue, or these: N or N-M; without it 0");
  to.add_option("--max-length", "N", options.max_length, number_between(1, std::numeric_limits<std::uint32_t>::max()),
                "packets that may wait in each queue, before it is full; without it 1024");
  to.add_option("--copy-range", "BYTES", options.copy_range, number_between(1, 65531),
                "bytes of each packet to look at; without it all");
  to.add_flag("--fail-open", options.fail_open, "accept what finds the queue full, instead of dropping it");
  to.add_flag("--gso", options.gso, "take segments unsplit: faster for TCP");
  to.add_option("--count", "N", options.count, number_between(1, std::numeric_limits<std::uint64_t>::max()),
                "end after so many packets");
  to.add_option("--for", "TIME", options.duration, parse_duration, "end after this time, as 10s or 5min");
  to.add_option("--workers", "N", options.workers, number_between(1, 256),
                "threads that share the queues, at most one a queue; without it 1");
  options.selection.add_to(to);
  to.exclude("--fail-open", "--fail");
}

outcome<void> check(const live_options& options) {
  if (auto fit = check_workers(options.workers, options.queues()); !fit) return fit;
  const auto selectors = options.selection.selectors();
  if (!selectors) return std::unexpected(selectors.error());
  if (options.selection.is_dry_run() && selectors->empty()) {
    return fail(wrong_usage, "--dry-run: there is no --select to print");
  }
  return {};
}

int print_dry_run(const char* command, const live_options& options) {
  if (auto checked = check(options); !checked) return report(command, checked.error());
  const auto text = options.selection.dry_run(options.range());
  if (!text) return report(command, text.error());
  fmt::print("{}", *text);
  return done;
}

}  // namespace tool
