// SPDX-License-Identifier: MIT
// ipq compare: what two recordings, or two rule files, say differently about the same packets.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "command_line.hpp"
#include "commands.hpp"
#include "ipq/owned_packet.hpp"
#include "print.hpp"
#include "printer.hpp"
#include "progress.hpp"
#include "replay_options.hpp"
#include "rule_options.hpp"
#include "worker_engines.hpp"

namespace tool {
namespace {

namespace rules = ipq::tool::rules;

constexpr int differs = 1, trouble = 2;

/// A packet, and what its file says of it; null at the end.
struct seen {
  const ipq::packet* packet = nullptr;
  const ipq::capture_frame* frame = nullptr;
};

/// The packets of a capture, one after the other, and what comes behind them.
class cursor {
 public:
  explicit cursor(ipq::capture_reader& from) noexcept : from_(from) {}

  /// What comes after `behind` others; copied, if there are some. An error is told when all before it was passed.
  ipq::result<seen> look(std::size_t behind = 0) {
    while (ahead_.size() < behind + 1) {
      const seen next = read();
      if (next.packet == nullptr) {
        if (fault_ && ahead_.empty()) return std::unexpected(*fault_);
        return seen{};
      }
      if (behind == 0) return next;
      ahead_.emplace_back(next);
      ++at_;
    }
    return seen{&ahead_[behind].packet.get(), &ahead_[behind].frame};
  }
  void pass() {
    if (ahead_.empty()) {
      ++at_;
    } else {
      ahead_.pop_front();
    }
  }

 private:
  struct kept {
    explicit kept(const seen& one) : packet(*one.packet), frame(*one.frame) {
      if (!frame.recorded) return;
      const auto payload = frame.recorded->given.payload();
      replacement.assign(payload.begin(), payload.end());
      if (!payload.empty()) frame.recorded->given = frame.recorded->given.with_payload(std::span(replacement));
    }
    kept(const kept&) = delete;
    kept& operator=(const kept&) = delete;
    ~kept() = default;

    ipq::owned_packet packet;
    ipq::capture_frame frame;
    std::vector<std::byte> replacement = {};
  };

  /// The next of the file.
  seen read() {
    while (at_ == batch_.size()) {
      if (fault_ || ended_) return {};
      const auto received = from_.receive();
      if (!received && received.error().is(EINTR)) continue;
      at_ = 0;
      batch_ = {};
      if (received) {
        batch_ = {received->begin(), received->end()};
      } else if (received.error().is(ENODATA)) {
        ended_ = true;
      } else {
        fault_ = received.error();
      }
    }
    return {&batch_[at_], from_.frame_of(batch_[at_])};
  }

  ipq::capture_reader& from_;
  std::span<const ipq::packet> batch_;
  std::size_t at_ = 0;
  std::deque<kept> ahead_;
  std::optional<ipq::error> fault_;
  bool ended_ = false;
};

/// A verdict that there may be none of.
using said = std::optional<ipq::verdict>;

std::string describe(const said& one) {
  if (!one) return "no verdict";
  std::string text = to_string(*one);
  if (one->mark()) text += fmt::format(", mark {:#x}", *one->mark());
  if (one->priority()) text += fmt::format(", priority {:#x}", *one->priority());
  if (one->connmark()) text += fmt::format(", connmark {:#x}", *one->connmark());
  if (one->connmark() && ~one->connmark_mask() != 0) text += fmt::format("/{:#x}", one->connmark_mask());
  if (!one->payload().empty()) text += fmt::format(", changed to {} bytes", one->payload().size());
  return text;
}

bool is_same(const said& a, const said& b) {
  if (!a || !b) return !a && !b;
  return a->value() == b->value() && a->mark() == b->mark() && a->priority() == b->priority() &&
         a->connmark() == b->connmark() && a->connmark_mask() == b->connmark_mask() &&
         std::ranges::equal(a->payload(), b->payload());
}

int fail_with(failure what) {
  if (what.code != no_rights) what.code = static_cast<exit_code>(trouble);
  return report("compare", what);
}

/// Shows and counts.
class comparison {
 public:
  comparison(std::string first, std::string second, bool json)
      : names_{std::move(first), std::move(second)}, json_(json), shown_(false), to_(stdout) {}

  /// To be called now and then.
  void show_progress(const ipq::capture_reader& from) { shown_.update(from); }

  void compare(const seen& one, const ipq::capture_reader& from, const said& a, const said& b) {
    ++packets_;
    verdicts_ += a || b ? 1 : 0;
    if (!is_same(a, b)) show(one, from, describe(a), describe(b));
  }
  void only_in(int which, const seen& one, const ipq::capture_reader& from) {
    ++packets_;
    verdicts_ += one.frame->recorded ? 1 : 0;
    show(one, from, which == 0 ? "there" : "not there", which == 1 ? "there" : "not there");
  }
  /// Whether what differs can't be told any more: end() says why.
  [[nodiscard]] bool has_failed() const noexcept { return to_.has_failed(); }
  /// The last word, and the exit status.
  int end() {
    shown_.clear();
    if (packets_ != 0 && verdicts_ == 0) {
      return fail_with(
          {failed,
           fmt::format("{} and {}: no packet has a verdict in either: recordings of ipq have, other captures are "
                       "judged by rule files with --on",
                       names_[0], names_[1])});
    }
    if (json_) {
      to_.print(nlohmann::json{{"packets", packets_}, {"different", different_}}.dump() + '\n');
    } else {
      to_.print(fmt::format("{} packets, {} judged differently\n", packets_, different_));
    }
    if (const auto told = to_.finish(); !told) return fail_with(told.error());
    return different_ == 0 ? static_cast<int>(done) : differs;
  }

 private:
  void show(const seen& one, const ipq::capture_reader& from, const std::string& a, const std::string& b) {
    ++different_;
    shown_.clear();
    const auto& [packet, frame] = one;
    const interface_names names = [&](std::uint32_t index) { return from.interface_name(index); };
    const wall_clock::time_point time(std::chrono::duration_cast<wall_clock::duration>(frame->time));
    line_.clear();
    if (json_) {
      print_json(line_, *packet, names, {}, time);
      auto made = nlohmann::json::parse(fmt::to_string(line_));
      made["frame"] = frame->number;
      made["first"] = a;
      made["second"] = b;
      to_.print(made.dump() + '\n');
      return;
    }
    print_line(line_, *packet, names, {}, time);
    to_.print(fmt::format("frame {}: {}\n  {}: {}\n  {}: {}\n", frame->number, fmt::to_string(line_), names_[0], a,
                          names_[1], b));
  }

  std::array<std::string, 2> names_;
  bool json_;
  progress shown_;
  printer to_;
  fmt::memory_buffer line_;
  std::uint64_t packets_ = 0, different_ = 0;
  std::uint64_t verdicts_ = 0;  ///< packets that have one on at least one side
};

said recorded_in(const seen& one) {
  return one.frame->recorded ? said(one.frame->recorded->given) : std::nullopt;
}

bool are_one_packet(const seen& a, const seen& b) {
  return a.packet != nullptr && b.packet != nullptr && a.frame->time == b.frame->time &&
         std::ranges::equal(a.packet->payload, b.packet->payload);
}

/// Which of two packets that are not the same has no counterpart, as the other recording has lost it: the one that does
/// not come up there a little later. Times alone don't say, as those of several interfaces are not in order. Looking
/// further ends what `at` points to, and meets no error: that is told in its turn.
int find_alone(cursor (&cursors)[2], const seen (&at)[2]) {
  constexpr std::size_t farthest = 256;
  if (at[0].packet == nullptr || at[1].packet == nullptr) return at[0].packet == nullptr ? 1 : 0;
  bool more[2]{true, true};
  for (std::size_t behind = 1; behind < farthest && (more[0] || more[1]); ++behind) {
    for (int i = 0; i < 2; ++i) {
      if (!more[i]) continue;
      const seen later = *cursors[i].look(behind);
      more[i] = later.packet != nullptr;
      if (are_one_packet(later, *cursors[1 - i].look())) return i;
    }
  }
  return cursors[1].look()->frame->time < cursors[0].look()->frame->time ? 1 : 0;
}

int compare_recordings(const std::string (&paths)[2], const replay_options& options, comparison& result) {
  std::vector<ipq::capture_reader> readers;
  for (const std::string& path : paths) {
    auto opened = ipq::capture_reader::open(path, capture_options_of(options));
    if (!opened) {
      failure what = about_file(path, opened.error());
      if (opened.error().is(EBADMSG)) what.message += "; rule files are compared on a capture, with --on";
      return fail_with(what);
    }
    readers.push_back(*std::move(opened));
  }
  cursor cursors[2]{cursor(readers[0]), cursor(readers[1])};
  for (std::uint64_t count = 0;; ++count) {
    seen at[2];
    for (int i = 0; i < 2; ++i) {
      const auto next = cursors[i].look();
      if (!next) return fail_with(about_file(paths[i], next.error()));
      at[i] = *next;
    }
    if (count % 1024 == 0) result.show_progress(readers[0]);
    if ((at[0].packet == nullptr && at[1].packet == nullptr) || result.has_failed()) return result.end();
    if (are_one_packet(at[0], at[1])) {
      result.compare(at[0], readers[0], recorded_in(at[0]), recorded_in(at[1]));
      for (cursor& each : cursors) each.pass();
      continue;
    }
    const int alone = find_alone(cursors, at);
    // Looking further moves what was seen.
    result.only_in(alone, *cursors[alone].look(), readers[static_cast<std::size_t>(alone)]);
    cursors[alone].pass();
  }
}

int compare_rules(const std::string (&paths)[2], const std::string& capture, const replay_options& options,
                  comparison& result) {
  std::vector<rules::ruleset> compiled;
  for (const std::string& path : paths) {
    auto made = compile_rules({.files = {path}, .arguments = {}});
    if (!made) return fail_with(made.error());
    compiled.push_back(*std::move(made));
  }
  auto reader = ipq::capture_reader::open(capture, capture_options_of(options));
  if (!reader) return fail_with(about_file(capture, reader.error()));
  worker_engines first(compiled[0], options, *reader), second(compiled[1], options, *reader);
  cursor packets(*reader);
  ipq::packet view;  // of one that is longer than live
  for (std::uint64_t count = 0;; ++count) {
    const auto next = packets.look();
    if (!next) return fail_with(about_file(capture, next.error()));
    const auto& [packet, frame] = *next;
    if (packet == nullptr || result.has_failed()) return result.end();
    if (count % 1024 == 0) result.show_progress(*reader);
    const ipq::packet& seen = *as_live(*packet, view);
    result.compare(*next, *reader, first.judge(seen, frame->time).verdict, second.judge(seen, frame->time).verdict);
    packets.pass();
  }
}

}  // namespace

int compare_main(int argc, char** argv) {
  std::string paths[2], capture;
  bool json = false;
  replay_options options;
  command_line line("compare",
                    "Shows the packets whose verdicts differ: between two recordings, or, with --on, between two rule\n"
                    "files on one capture. Exit status: 0 none differ, 1 some do, 2 it could not be done.");
  line.add_argument("A", paths[0], "a recording, or a rule file");
  line.add_argument("B", paths[1], "the other");
  line.add_option("--on", "CAPTURE", capture, "judge this capture by the rule files A and B");
  add_replay_options(line, options);
  line.need("--else", "--on");
  line.need("--seed", "--on");
  line.need("--workers", "--on");
  line.need("--queue", "--on");
  line.add_flag("--json", json, "for programs: an object a line");
  if (const auto end = line.parse(argc, argv)) return *end == done ? static_cast<int>(done) : trouble;

  if (const auto fit = check(options); !fit) return fail_with(fit.error());
  if (capture.empty() && paths[0] == "-" && paths[1] == "-") {
    return fail_with({wrong_usage, "- and -: both can't be standard input"});
  }
  comparison result(paths[0], paths[1], json);
  const int status =
      capture.empty() ? compare_recordings(paths, options, result) : compare_rules(paths, capture, options, result);
  return status;
}

}  // namespace tool
