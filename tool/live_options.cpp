// SPDX-License-Identifier: MIT
#include "live_options.hpp"

#include <fmt/format.h>

#include <limits>
#include <tuple>

#include "command_line.hpp"
#include "option.hpp"
#include "units.hpp"

namespace tool {
namespace {

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

auto number_between(std::uint64_t least, std::uint64_t most) {
  return [=](std::string_view text) { return parse_number(text, least, most); };
}

}  // namespace

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

void add_live_options(command_line& to, live_options& options) {
  CLI::App& app = to.app();
  app.add_option_function<std::string>(
         "-q,--queue",
         [&options](const std::string& text) {
           const auto range = parse_queues(text);
           if (!range) throw CLI::ValidationError("--queue", range.error());
           std::tie(options.first_queue, options.last_queue) = *range;
         },
         "serve this queue, or these: N or N-M; without it 0")
      ->type_name("N[-M]");
  add_option(app, "--max-length", options.max_length, number_between(1, std::numeric_limits<std::uint32_t>::max()),
             "packets that may wait in each queue, before it is full; without it 1024")
      ->type_name("N");
  add_option(app, "--copy-range", options.copy_range, number_between(1, 65531),
             "bytes of each packet to look at; without it all")
      ->type_name("BYTES");
  app.add_flag("--fail-open", options.fail_open, "accept what finds the queue full, instead of dropping it");
  app.add_flag("--gso", options.gso, "take segments unsplit: faster for TCP");
  add_option(app, "--count", options.count, number_between(1, std::numeric_limits<std::uint64_t>::max()),
             "end after so many packets")
      ->type_name("N");
  add_option(
      app, "--for", options.duration, [](std::string_view text) { return parse_duration(text); },
      "end after this time, as 10s or 5min")
      ->type_name("TIME");
  add_option(app, "--workers", options.workers, number_between(1, 256),
             "threads that share the queues, at most one a queue; without it 1")
      ->type_name("N");
  options.selection.add_to(app);
}

outcome<void> check(const live_options& options) {
  if (options.workers > options.queues()) {
    return fail(wrong_usage,
                fmt::format("--workers {}: more threads than queues, of which there {} {}; -q N-M serves several",
                            options.workers, options.queues() == 1 ? "is" : "are", options.queues()));
  }
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
