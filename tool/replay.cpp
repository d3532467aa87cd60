// SPDX-License-Identifier: MIT
// ipq replay: rules at work on a capture, without a kernel and without rights.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "command_line.hpp"
#include "commands.hpp"
#include "ipq/recorder.hpp"
#include "log_lines.hpp"
#include "print.hpp"
#include "printable.hpp"
#include "printer.hpp"
#include "progress.hpp"
#include "replay_options.hpp"
#include "rule_options.hpp"
#include "rules/delayed.hpp"
#include "second_signal.hpp"
#include "separate_files.hpp"
#include "worker_engines.hpp"

namespace tool {
namespace {

namespace rules = ipq::tool::rules;
using namespace std::chrono_literals;

struct sum {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;

  void add(const ipq::packet& packet) {
    ++packets;
    bytes += packet.original_length;
  }
};

constexpr std::array<std::string_view, 6> actions{"drop", "accept", "", "queue", "repeat", "stop"};

ipq::capture_reader* running = nullptr;  // for the handler of signals
extern "C" void stop_running(int signal) {
  running->stop();
  end_at_second_signal(signal);
}

bool is_about_output(const ipq::error& what) {
  return std::string_view(what.operation) == "write output";
}

/// Ctrl-C ends the reading, and what was done is written and told; also behind the life of this, if that takes for
/// ever, another one ends the command.
class stopped_by_signals {
 public:
  explicit stopped_by_signals(ipq::capture_reader& reader) {
    running = &reader;
    for (const int each : {SIGINT, SIGTERM}) std::signal(each, stop_running);
  }
  stopped_by_signals(const stopped_by_signals&) = delete;
  stopped_by_signals& operator=(const stopped_by_signals&) = delete;
  ~stopped_by_signals() {
    for (const int each : {SIGINT, SIGTERM}) std::signal(each, is_end_asked_for() ? end_at_second_signal : SIG_DFL);
  }
};

class replay {
 public:
  replay(ipq::capture_reader& from, worker_engines judges, const rules::delayed_limits& limits)
      : from_(from), judges_(std::move(judges)), limits_(limits) {
    for (std::size_t i = 0; i < judges_.size(); ++i) workers_.emplace_back(rules::delayed<waiting>(limits));
    names_ = [&reader = from_](std::uint32_t index) { return reader.interface_name(index); };
  }

  /// All packets with their verdicts, in `path`.
  outcome<void> record_to(const std::string& path) { return open(path, all_); }
  outcome<void> open_record_files() {
    for (const auto& path : judges_.rules().record_files()) {
      if (const auto opened = open(path.string(), files_.emplace_back()); !opened) return opened;
    }
    return {};
  }

  /// Lines of log go to `logs`. Where they can't, it goes on if it writes files, and ends else.
  ipq::result<void> run(progress& shown, printer& logs, bool writes_files);
  outcome<void> close();
  [[nodiscard]] std::string to_text() const;
  [[nodiscard]] std::string to_json() const;

 private:
  struct recording {
    std::string path;
    std::unique_ptr<ipq::recorder> to;
  };
  struct waiting {
    ipq::held_packet packet;
    ipq::verdict verdict;
    std::vector<std::byte> payload;
  };
  /// What each worker had live.
  struct worker {
    rules::delayed<waiting> delayed;
    rules::time latest = rules::time::min();  ///< of its packets so far: time does not go back where a capture's does
  };

  outcome<void> open(const std::string& path, recording& into);
  ipq::result<void> take(const ipq::packet& packet);
  ipq::result<void> carry_out(worker& by, const ipq::packet& packet, rules::decision& decided);
  void refuse_to_delay(rules::decision& decided);
  ipq::result<void> release(waiting&& one);
  ipq::result<void> release_due(rules::time now);
  ipq::result<void> release_all();
  void record(recording& to, const ipq::packet& packet, const ipq::capture_frame& frame, const ipq::verdict& given);

  ipq::capture_reader& from_;
  worker_engines judges_;
  const rules::delayed_limits limits_;
  std::vector<worker> workers_;
  rules::interface_names names_;
  recording all_;
  std::vector<recording> files_;
  ipq::packet view_;  ///< of one that is longer than live; made once
  std::array<sum, actions.size()> verdicts_;
  std::array<sum, protocol_kinds> protocols_;
  std::uint64_t truncated_ = 0, changed_ = 0, duplicates_ = 0, delayed_packets_ = 0, delay_refused_ = 0;
  fmt::memory_buffer lines_;
};

outcome<void> replay::open(const std::string& path, recording& into) {
  auto opened = ipq::recorder::open(path, {.interface_name = names_, .wait_when_full = true});
  if (!opened) return std::unexpected(about_file(path, opened.error()));
  into.path = path;
  into.to = std::make_unique<ipq::recorder>(*std::move(opened));
  return {};
}

void replay::record(recording& to, const ipq::packet& packet, const ipq::capture_frame& frame,
                    const ipq::verdict& given) {
  ipq::packet as_recorded = packet;
  ipq::record_times times{.came = frame.time};
  // A recording that is replayed with the same rules gives itself again.
  if (frame.recorded) {
    as_recorded.id = frame.recorded->id;
    times.took = frame.recorded->took;
  }
  to.to->record(as_recorded, given, times);
}

ipq::result<void> replay::release(waiting&& one) {
  const auto verdict = one.payload.empty() ? one.verdict : one.verdict.with_payload(std::span(one.payload));
  return std::move(one.packet).set_verdict(verdict);
}

ipq::result<void> replay::release_due(rules::time now) {
  const auto due_of = [](const worker& each) { return each.delayed.next_due().value_or(rules::time::max()); };
  while (auto due = std::ranges::min_element(workers_, {}, due_of)->delayed.pop(now)) {
    if (const auto given = release(std::move(*due)); !given) return given;
  }
  return {};
}

ipq::result<void> replay::release_all() {
  if (const auto released = release_due(rules::time::max()); !released) return released;
  return from_.flush();
}

/// As live, what exceeds the limits of what is delayed is not, and nothing but that is counted and recorded of it.
void replay::refuse_to_delay(rules::decision& decided) {
  ++delay_refused_;
  decided.verdict = limits_.beyond == ipq::verdict::action::accept ? ipq::verdict::accept() : ipq::verdict::drop();
  decided.delay = {};
  decided.duplicates = 0;
}

ipq::result<void> replay::take(const ipq::packet& packet) {
  const ipq::capture_frame& frame = *from_.frame_of(packet);
  worker& by = workers_[judges_.of(packet)];
  by.latest = std::max(by.latest, frame.time);
  if (const auto released = release_due(by.latest); !released) return released;
  rules::decision decided = judges_.judge(*as_live(packet, view_), by.latest);
  if (const auto given = carry_out(by, packet, decided); !given) return given;

  verdicts_[static_cast<std::size_t>(decided.verdict.what())].add(packet);
  protocols_[protocol_of(packet)].add(packet);
  truncated_ += packet.truncated ? 1 : 0;
  changed_ += decided.verdict.payload().empty() ? 0 : 1;
  duplicates_ += decided.duplicates;
  delayed_packets_ += decided.delay.count() > 0 ? 1 : 0;
  if (all_.to) record(all_, packet, frame, decided.verdict);
  for (const std::size_t each : decided.records) record(files_[each], packet, frame, decided.verdict);
  if (!decided.logs.empty()) {
    const wall_clock::time_point when(std::chrono::duration_cast<wall_clock::duration>(frame.time));
    print_logs(lines_, packet, decided, names_, {}, when);
  }
  for (std::uint32_t i = 0; i < decided.duplicates; ++i) {
    if (const auto given = from_.duplicate(packet, decided.duplicate); !given) return given;
  }
  return {};
}

/// At once, or by having the packet wait; if it can't, `decided` becomes what is done instead.
ipq::result<void> replay::carry_out(worker& by, const ipq::packet& packet, rules::decision& decided) {
  if (decided.delay.count() == 0) return from_.set_verdict(packet, decided.verdict);
  auto held = from_.hold(packet);
  if (!held && held.error().is(ENOMEM)) {
    refuse_to_delay(decided);
    return from_.set_verdict(packet, decided.verdict);
  }
  if (!held) return std::unexpected(held.error());
  const auto payload = decided.verdict.payload();
  waiting one{*std::move(held), decided.verdict, {payload.begin(), payload.end()}};
  const std::size_t bytes = packet.original_length + payload.size() + decided.duplicate.size();
  if (by.delayed.push(std::move(one), by.latest + decided.delay, bytes)) return {};
  refuse_to_delay(decided);
  // NOLINTNEXTLINE(bugprone-use-after-move): what is refused is untouched
  return std::move(one.packet).set_verdict(decided.verdict);
}

ipq::result<void> replay::run(progress& shown, printer& logs, bool writes_files) {
  while (writes_files || !logs.has_failed()) {
    // While it waits for what is not due, too.
    const auto received = from_.receive(ipq::source::clock::now() + 100ms);
    if (!received) {
      if (received.error().is(ETIMEDOUT)) shown.update(from_);
      if (received.error().is(EINTR) || received.error().is(ETIMEDOUT)) continue;
      const ipq::error why = received.error();
      if (is_about_output(why)) return std::unexpected(why);
      // What was accepted passes, also where the capture is cut or the reading was stopped.
      const auto released = release_all();
      return why.is(ENODATA) ? released : std::unexpected(why);
    }
    for (const ipq::packet& each : *received) {
      if (const auto taken = take(each); !taken) return taken;
    }
    if (lines_.size() != 0) {
      shown.clear();
      logs.print({lines_.data(), lines_.size()});
      lines_.clear();
    }
    shown.update(from_);
  }
  return release_all();
}

outcome<void> replay::close() {
  const auto close_one = [](recording& each) -> outcome<void> {
    if (!each.to) return {};
    const auto closed = each.to->close();
    if (closed) return {};
    failure what = about_file(each.path, closed.error());
    what.message += fmt::format("; {} packets are missing there", each.to->counts().lost);
    return std::unexpected(what);
  };
  outcome<void> all = close_one(all_);
  for (recording& each : files_) {
    const auto closed = close_one(each);
    if (all && !closed) all = closed;
  }
  return all;
}

std::string replay::to_text() const {
  const auto counts = from_.counts();
  const auto stats = from_.stats();
  const rules::totals judged = judges_.counts();
  std::string text = fmt::format("{} frames, {} packets", counts.frames, stats.received);
  const auto also = [&](std::uint64_t count, std::string_view what) {
    if (count != 0) text += fmt::format(", {} {}", count, what);
  };
  also(counts.not_ip, "without IP");
  also(counts.malformed, "malformed");
  also(counts.unknown_link, "of an unknown link type");
  also(counts.left_out, "blocks too large to pass");
  also(truncated_, "truncated");
  also(changed_, "changed");
  also(delayed_packets_, "delayed");
  also(duplicates_, "duplicates");
  also(delay_refused_, limits_.beyond == ipq::verdict::action::accept ? "accepted as too many were delayed"
                                                                      : "dropped as too many were delayed");

  text += fmt::format("\n\n{:>12} {:>15}  rule\n", "packets", "bytes");
  for (std::size_t i = 0; i < judged.each.size(); ++i) {
    const auto& count = judged.each[i];
    const auto& origin = judged.rules[i];
    text += fmt::format("{:>12} {:>15}  {}:{}: {}", count.packets, count.bytes, printable(origin.file), origin.line,
                        printable(origin.text));
    also(count.lost, "lost");
    also(count.not_applied, "could not be changed");
    text += '\n';
  }
  text += fmt::format("{:>12} {:>15}  none matched\n", judged.unmatched.packets, judged.unmatched.bytes);
  for (std::size_t i = 0; i < judged.names.size(); ++i) {
    const auto& count = judged.names[i];
    text += fmt::format("{:>12} {:>15}  count {}\n", count.packets, count.bytes, judged.rules.count_names()[i]);
  }

  text += fmt::format("\n{:>12} {:>15}  verdict\n", "packets", "bytes");
  for (std::size_t i = 0; i < actions.size(); ++i) {
    if (verdicts_[i].packets != 0) {
      text += fmt::format("{:>12} {:>15}  {}\n", verdicts_[i].packets, verdicts_[i].bytes, actions[i]);
    }
  }
  text += fmt::format("\n{:>12} {:>15}  protocol\n", "packets", "bytes");
  for (std::size_t i = 0; i < protocols_.size(); ++i) {
    if (protocols_[i].packets != 0) {
      text += fmt::format("{:>12} {:>15}  {}\n", protocols_[i].packets, protocols_[i].bytes, protocol_name(i));
    }
  }
  return text;
}

std::string replay::to_json() const {
  using nlohmann::json;
  const auto counts = from_.counts();
  const rules::totals judged = judges_.counts();
  const auto of = [](const sum& each) { return json{{"packets", each.packets}, {"bytes", each.bytes}}; };
  json made{{"frames", counts.frames},
            {"packets", from_.stats().received},
            {"not_ip", counts.not_ip},
            {"malformed", counts.malformed},
            {"unknown_link", counts.unknown_link},
            {"left_out", counts.left_out},
            {"truncated", truncated_},
            {"changed", changed_},
            {"delayed", delayed_packets_},
            {"duplicates", duplicates_},
            {"delay_refused", delay_refused_},
            {"rules", json::array()},
            {"verdicts", json::object()},
            {"protocols", json::object()},
            {"counts", json::object()}};
  for (std::size_t i = 0; i < judged.each.size(); ++i) {
    const auto& count = judged.each[i];
    const auto& origin = judged.rules[i];
    made["rules"].push_back({{"file", origin.file},
                             {"line", origin.line},
                             {"rule", origin.text},
                             {"packets", count.packets},
                             {"bytes", count.bytes},
                             {"lost", count.lost},
                             {"not_applied", count.not_applied}});
  }
  made["unmatched"] = {{"packets", judged.unmatched.packets}, {"bytes", judged.unmatched.bytes}};
  for (std::size_t i = 0; i < judged.names.size(); ++i) {
    const auto& count = judged.names[i];
    made["counts"][judged.rules.count_names()[i]] = {{"packets", count.packets}, {"bytes", count.bytes}};
  }
  for (std::size_t i = 0; i < actions.size(); ++i) {
    if (!actions[i].empty()) made["verdicts"][std::string(actions[i])] = of(verdicts_[i]);
  }
  for (std::size_t i = 0; i < protocols_.size(); ++i) {
    if (protocols_[i].packets != 0) made["protocols"][protocol_name(i)] = of(protocols_[i]);
  }
  // Rules and names of files may have bytes that are no text.
  return made.dump(2, ' ', false, json::error_handler_t::replace) + '\n';
}

std::vector<named_output> outputs_of(const rules::ruleset& judged_by, const std::string& recording,
                                     const std::string& passed) {
  std::vector<named_output> all;
  if (!recording.empty()) all.push_back({"-w " + recording, recording});
  if (!passed.empty()) all.push_back({"--passed " + passed, passed});
  for (const auto& path : judged_by.record_files()) all.push_back({"record " + path.string(), path.string()});
  return all;
}

failure reason_of(const ipq::error& what, const std::string& capture, const std::string& passed) {
  if (what.is(ECANCELED)) return {failed, "interrupted"};
  if (is_about_output(what)) return about_file(passed, what);
  if (std::string_view(what.operation) == "read capture") return about_file(capture, what);
  return {failed, what.message()};
}

}  // namespace

int replay_main(int argc, char** argv) {
  std::string capture, recording, passed;
  double pace = 0;
  bool json = false, quiet = false;
  rule_options rules_from;
  rules::delayed_limits limits;
  replay_options options;
  command_line line("replay",
                    "Judges the packets of a capture with rules, as ipq run judges live ones: pcap or pcapng, also\n"
                    "packed with gzip or zstd, or a recording of ipq. Needs no rights.");
  line.add_argument("IN", capture, "the capture; - is standard input");
  add_rule_options(line, rules_from);
  line.add_option("-w,--write", "OUT", recording, "record every packet with its verdict, as pcapng");
  line.add_option("--passed", "OUT", passed, "write what passes, as changed, in the capture's own format");
  line.add_option("--pace", "FACTOR", pace, decimal_between(0, 1e9),
                  "times faster than the capture's own time, 1 as it was, 0 as fast as possible; without it 0");
  add_replay_options(line, options);
  add_delay_options(line, limits);
  line.add_flag("--json", json, "the summary for programs");
  line.add_flag("--no-progress", quiet, "no progress bar, even on a terminal");
  if (const auto end = line.parse(argc, argv)) return *end;
  if (const auto fit = check(options); !fit) return report("replay", fit.error());
  const auto compiled = compile_rules(rules_from);
  if (!compiled) return report("replay", compiled.error());
  const auto outputs = outputs_of(*compiled, recording, passed);
  if (const auto apart = need_separate_files(capture, outputs); !apart) return report("replay", apart.error());

  ipq::capture_options reading = capture_options_of(options);
  reading.pace = pace;
  reading.passed = passed;
  auto reader = ipq::capture_reader::open(capture, reading);
  if (!reader) {
    const bool of_output = std::string_view(reader.error().operation) == "open output";
    return report("replay", about_file(of_output ? passed : capture, reader.error()));
  }
  replay job(*reader, worker_engines(*compiled, options, *reader), limits);
  if (const auto opened = job.open_record_files(); !opened) return report("replay", opened.error());
  if (!recording.empty()) {
    if (const auto opened = job.record_to(recording); !opened) return report("replay", opened.error());
  }

  // All that is printed gives way to packets, and what is no JSON to what is.
  const bool packets_printed = std::ranges::find(outputs, "-", &named_output::path) != outputs.end();
  printer summary(packets_printed ? stderr : stdout), aside(stderr);
  ipq::result<void> ended;
  {
    const stopped_by_signals interruptible(*reader);
    progress shown(quiet);
    ended = job.run(shown, json ? aside : summary, !outputs.empty());
  }
  const auto closed = job.close();
  summary.print(json ? job.to_json() : job.to_text());
  const auto printed = summary.finish();
  int status = done;
  if (!ended) {
    status = report("replay", reason_of(ended.error(), capture, passed));
  } else if (!closed) {
    status = report("replay", closed.error());
  }
  return printed ? status : std::max<int>(status, report("replay", printed.error()));
}

}  // namespace tool
