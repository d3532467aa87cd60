// SPDX-License-Identifier: MIT
// ipq run: judges packets by rules, as ipq-rules(5) describes them.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <deque>
#include <optional>
#include <random>

#include "command_line.hpp"
#include "commands.hpp"
#include "demands.hpp"
#include "filter_handler.hpp"
#include "metrics.hpp"
#include "printable.hpp"
#include "recordings.hpp"
#include "rule_handler.hpp"
#include "rule_options.hpp"
#include "rules/file.hpp"
#include "say.hpp"
#include "values.hpp"

namespace tool {
namespace {

struct run_options {
  live_options live;
  rule_options rules;
  ipq::verdict otherwise = ipq::verdict::accept();
  std::optional<std::uint64_t> seed;
  std::string metrics;
  rules::delayed_limits limits;
  std::uint32_t duplicate_mark = 0x69707164;
  bool time = true;
};

parsed<std::uint32_t> parse_mark(std::string_view text) {
  const bool hex = text.starts_with("0x");
  std::uint32_t value = 0;
  const auto [end, error] =
      std::from_chars(text.data() + (hex ? 2 : 0), text.data() + text.size(), value, hex ? 16 : 10);
  if (error != std::errc() || end != text.data() + text.size() || value == 0) {
    return std::unexpected(fmt::format("'{}': expected a number from 1 to 0xffffffff", text));
  }
  return value;
}

void add_options(command_line& line, run_options& options) {
  add_live_options(line, options.live);
  add_rule_options(line, options.rules);
  line.add_option("--else", "accept|drop", options.otherwise, parse_verdict,
                  "what becomes of packets that no rule matches; without it accept");
  line.add_option("--seed", "N", options.seed, number_between(0, ~0ull),
                  "make loss, jitter and the like the same every time");
  add_delay_options(line, options.limits);
  line.add_option("--duplicate-mark", "N", options.duplicate_mark, parse_mark,
                  "mark of the copies that duplicate sends; without it 0x69707164");
  line.add_option("--metrics", "ADDRESS:PORT", options.metrics, "answer Prometheus on this address");
  line.add_off_flag("-t,--no-time", options.time, "do not print the time of day in lines of log");
}

// A packet that is delayed waits in the kernel's queue, too.
std::uint32_t room_for_delayed(const run_options& options) {
  return static_cast<std::uint32_t>(options.limits.packets + 1024);
}

outcome<void> check_metrics(const run_options& options) {
  return options.metrics.empty() ? outcome<void>() : check_metrics_address(options.metrics);
}

// Prints nothing that would not be served, but for rights.
int dry_run(const run_options& options) {
  const auto rules = compile_rules(options.rules);
  if (!rules) return report("run", rules.error());
  if (auto checked = check_metrics(options); !checked) return report("run", checked.error());
  if (auto checked = check_demands(*rules, options.live, true); !checked) return report("run", checked.error());
  return print_dry_run("run", options.live);
}

class run {
 public:
  explicit run(const run_options& options) : options_(options), to_(STDOUT_FILENO) {}

  outcome<void> start() {
    auto rules = compile_rules(options_.rules);
    if (!rules) return std::unexpected(rules.error());
    if (auto checked = check_metrics(options_); !checked) return checked;
    auto copies = duplicator::open(options_.duplicate_mark);
    if (copies) {
      copies_.emplace(*std::move(copies));
    } else if (const auto where = rules->first_duplicate()) {
      return fail_at(*rules, *where, copies.error().code, copies.error().message);
    }
    if (auto checked = check_demands(*rules, options_.live, copies_.has_value()); !checked) return checked;
    note_missing_interfaces("run", rules->interfaces());

    if (auto created = recordings_.create(*rules); !created) return created;

    live_session::wish wanted{.uid_gid = true};
    if (rules->delays()) wanted.max_length = room_for_delayed(options_);
    auto session = live_session::open("run", options_.live, wanted);
    if (!session) return std::unexpected(session.error());
    session_.emplace(*std::move(session));
    rules_ = *std::move(rules);

    job_.engine = {.seed = options_.seed ? *options_.seed : std::random_device{}(), .otherwise = options_.otherwise};
    job_.limits = options_.limits;
    job_.copies = copies_ ? &*copies_ : nullptr;
    job_.style = {.time = options_.time, .colours = has_colours(stdout)};
    job_.to = &to_;
    const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
    job_.epoch = std::chrono::duration_cast<std::chrono::nanoseconds>(since_1970) - steady::now().time_since_epoch();
    for (unsigned i = 0; i < options_.live.workers; ++i) {
      pointers_.push_back(&handlers_.emplace_back(job_, rules_in_use{rules_, {}}, i));
    }
    // A server that could not be started would leave rules that take packets for nobody, for as long as it takes to
    // remove them. It starts later still: threads and the fork() of select() do not go together.
    if (!options_.metrics.empty()) {
      if (auto tried = try_metrics_address(options_.metrics); !tried) return tried;
    }
    return session_->select();
  }

  outcome<void> serve() {
    std::vector<handler*> handlers(pointers_.begin(), pointers_.end());
    live_session::hooks calls{.prepare = [this] { return prepare(); }, .announced = [this] { say_seed(rules_); }};
    if (!options_.rules.files.empty()) calls.reload = [this] { reload(); };
    // Only files of the start are ever recorded to.
    if (!rules_.record_files().empty()) calls.look = [this] { recordings_.tell_failures(); };
    auto served = session_->serve(handlers, calls);
    const auto written = recordings_.close();
    to_.finish();
    if (served && !written) return written;
    if (served && to_.error() != 0 && to_.error() != EPIPE) {
      return fail(failed, fmt::format("{}; lines of log are missing there", log_failure()));
    }
    return served;
  }

  void print_summary() const {
    if (!session_->has_begun()) return;
    session_->print_summary();
    tell_left_out("run", to_);
    const rule_counters counters = sum_of_counters();
    if (counters.delay_refused != 0) {
      say("ipq run: {} packets to be delayed exceeded --delay-packets or --delay-bytes: {}\n", counters.delay_refused,
          options_.limits.beyond == ipq::verdict::action::accept ? "accepted" : "dropped");
    }
    if (counters.duplicates + counters.duplicates_failed != 0) {
      say("ipq run: {} copies sent, {} could not be\n", counters.duplicates, counters.duplicates_failed);
    }
    for (const auto& [file, counts] : recordings_.counts()) {
      say("ipq run: {}: {} packets recorded, {} lost\n", file, counts.recorded, counts.lost);
    }
    const auto totals = sum_of_totals();
    say("{:>12} {:>14}  rule\n", "packets", "bytes");
    const auto line = [](const rules::rule_counts& counts, std::string_view text) {
      say("{:>12} {:>14}  {}{}{}\n", counts.packets, counts.bytes, printable(text, 100),
          counts.lost != 0 ? fmt::format(" ({} lost)", counts.lost) : "",
          counts.not_applied != 0 ? fmt::format(" ({} could not be changed)", counts.not_applied) : "");
    };
    constexpr std::size_t most = 50;
    std::size_t printed = 0;
    for (std::size_t i = 0; i < totals.each.size() && printed < most; ++i) {
      // Of many rules only those that matched.
      if (totals.each.size() > most && totals.each[i].packets == 0) continue;
      line(totals.each[i], totals.rules[i].text);
      ++printed;
    }
    line(totals.unmatched, "(no rule)");
    for (std::size_t i = 0; i < totals.names.size(); ++i) {
      say("{:>12} {:>14}  count {}\n", totals.names[i].packets, totals.names[i].bytes, totals.rules.count_names()[i]);
    }
  }

 private:
  [[nodiscard]] rule_counters sum_of_counters() const {
    rule_counters sum;
    for (const rule_handler* each : pointers_) {
      const rule_counters one = each->counters();
      sum.received += one.received;
      for (std::size_t i = 0; i < sum.verdicts.size(); ++i) sum.verdicts[i] += one.verdicts[i];
      sum.delayed += one.delayed;
      sum.delayed_bytes += one.delayed_bytes;
      sum.delay_refused += one.delay_refused;
      sum.duplicates += one.duplicates;
      sum.duplicates_failed += one.duplicates_failed;
      for (std::size_t i = 0; i < sum.latency.counts.size(); ++i) sum.latency.counts[i] += one.latency.counts[i];
      sum.latency.microseconds += one.latency.microseconds;
    }
    return sum;
  }

  [[nodiscard]] rules::totals sum_of_totals() const {
    rules::totals sum;
    const std::lock_guard guard(reloading_);
    for (const rule_handler* each : pointers_) each->add_totals(sum);
    return sum;
  }

  // Without it nobody could judge a recording again.
  void say_seed(const rules::ruleset& now) {
    if (options_.seed || !now.uses_chance() || std::exchange(has_said_seed_, true)) return;
    say("ipq run: loss, jitter and the like are those of --seed {}\n", job_.engine.seed);
  }

  outcome<void> prepare() {
    if (auto started = to_.start([this] { end_log(); }); !started) return started;
    if (auto opened = serve_metrics(); !opened) return opened;
    // Last, as it empties files that were there.
    if (auto opened = recordings_.open(make_interface_names); !opened) return opened;
    auto recorders = recordings_.of(rules_);
    if (!recorders) return std::unexpected(recorders.error());
    recordings_.keep();
    rule_handler::replace(pointers_, {rules_, *std::move(recorders)});
    return {};
  }

  [[nodiscard]] std::string log_failure() const {
    return fmt::format("write to standard output: {}", ipq::tool::rules::file_reason(to_.error()));
  }

  // A firewall does not end because a disk is full; by the end of its reader somebody tells it to. Called by the thread
  // that prints.
  void end_log() {
    if (to_.error() == EPIPE) {
      session_->stop();
      return;
    }
    // Whoever waits for a stopped terminal would not end.
    pollfd ready{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    if (::poll(&ready, 1, 0) == 1) say("ipq run: {}; traffic goes on, and nothing more is printed\n", log_failure());
  }

  outcome<void> serve_metrics() {
    if (options_.metrics.empty()) return {};
    auto opened = metrics_server::open(options_.metrics, [this] {
      return metrics_snapshot{.counters = sum_of_counters(),
                              .rules = sum_of_totals(),
                              .recorded = recordings_.counts(),
                              .reloads = reloads_,
                              .reloads_failed = reloads_failed_,
                              .queues = session_->in_kernel()};
    });
    if (!opened) return std::unexpected(opened.error());
    metrics_.emplace(*std::move(opened));
    return {};
  }

  void reload() {
    session_->manager().say_reloading();
    outcome<void> loaded;
    try {
      loaded = load_again();
    } catch (const std::exception& thrown) {  // as where memory ends
      loaded = fail(failed, thrown.what());
    }
    if (!loaded) {
      ++reloads_failed_;
      report("run", loaded.error());
      say("ipq run: the new rules are wrong: the old ones stay\n");
      session_->manager().say("READY=1\nSTATUS=the new rules are wrong: the old ones stay");
      return;
    }
    ++reloads_;
    session_->manager().say("READY=1\nSTATUS=rules loaded");
  }

  outcome<void> load_again() {
    auto rules = compile_rules(options_.rules);
    if (!rules) return std::unexpected(rules.error());
    if (auto fit = check_demands(*rules, options_.live, copies_.has_value()); !fit) return fit;
    auto recorders = recordings_.of(*rules);
    if (!recorders) return std::unexpected(recorders.error());
    if (rules->delays()) {
      if (auto fit = session_->make_room(room_for_delayed(options_)); !fit) return fit;
    }
    {
      const std::lock_guard guard(reloading_);
      rule_handler::replace(pointers_, {*rules, *std::move(recorders)});
    }
    say("ipq run: {} rule{} loaded\n", rules->size(), rules->size() == 1 ? "" : "s");
    say_seed(*rules);
    return {};
  }

  const run_options& options_;
  rule_job job_;
  rules::ruleset rules_;  ///< of the start
  recordings recordings_;
  std::optional<duplicator> copies_;
  std::optional<live_session> session_;
  output to_;  ///< behind the session, which its thread may stop
  std::deque<rule_handler> handlers_;
  std::vector<rule_handler*> pointers_;
  mutable std::mutex reloading_;  ///< so that a sum is of one set of rules
  bool has_said_seed_ = false;
  std::atomic<std::uint64_t> reloads_ = 0, reloads_failed_ = 0;
  std::optional<metrics_server> metrics_;  ///< last: its threads look at the others
};

}  // namespace

int run_main(int argc, char** argv) {
  command_line line(
      "run",
      "Judges the packets of a queue by rules: ipq-rules(5). SIGHUP reads those of files again, and keeps\n"
      "the old ones if the new ones are wrong.");
  run_options options;
  add_options(line, options);
  if (const auto end = line.parse(argc, argv)) return *end;
  block_signals();
  if (options.live.selection.is_dry_run()) return dry_run(options);
  run running(options);
  if (auto started = running.start(); !started) return report("run", started.error());
  const auto served = running.serve();
  running.print_summary();
  return served ? done : report("run", served.error());
}

}  // namespace tool
