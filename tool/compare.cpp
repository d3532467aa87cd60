// SPDX-License-Identifier: MIT
// ipq compare: what two recordings, or two rule files, say differently about the same packets.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "commands.hpp"
#include "print.hpp"
#include "progress.hpp"
#include "replay_options.hpp"
#include "rule_options.hpp"

namespace tool {
namespace {

namespace rules = ipq::tool::rules;

constexpr int differs = 1, trouble = 2;

/// The packets of a capture, one after the other.
class cursor {
 public:
  explicit cursor(ipq::capture_reader& from) noexcept : from_(from) {}

  /// Null at the end.
  ipq::result<const ipq::packet*> next() {
    while (at_ == batch_.size()) {
      at_ = 0;
      const auto received = from_.receive();
      if (!received && received.error().is(EINTR)) continue;
      if (!received && received.error().is(ENODATA)) {
        batch_ = {};
        return nullptr;
      }
      if (!received) return std::unexpected(received.error());
      batch_ = {received->begin(), received->end()};
    }
    return &batch_[at_++];
  }

 private:
  ipq::capture_reader& from_;
  std::span<const ipq::packet> batch_;
  std::size_t at_ = 0;
};

/// A verdict that there may be none of.
using said = std::optional<ipq::verdict>;

std::string describe(const said& one) {
  if (!one) return "no verdict";
  std::string text = to_string(*one);
  if (one->mark()) text += fmt::format(", mark {:#x}", *one->mark());
  if (one->priority()) text += fmt::format(", priority {:#x}", *one->priority());
  if (one->connmark()) text += fmt::format(", connmark {:#x}", *one->connmark());
  if (!one->payload().empty()) text += fmt::format(", changed to {} bytes", one->payload().size());
  return text;
}

bool is_same(const said& a, const said& b) {
  if (!a || !b) return !a && !b;
  return a->value() == b->value() && a->mark() == b->mark() && a->priority() == b->priority() &&
         a->connmark() == b->connmark() && std::ranges::equal(a->payload(), b->payload());
}

/// Shows and counts.
class comparison {
 public:
  comparison(std::string first, std::string second, bool json) : names_{first, second}, json_(json) {}

  void compare(const ipq::packet& packet, const ipq::capture_reader& from, const said& a, const said& b) {
    ++packets_;
    if (!is_same(a, b)) show(packet, from, describe(a), describe(b));
  }
  void only_in(int which, const ipq::packet& packet, const ipq::capture_reader& from) {
    ++packets_;
    show(packet, from, which == 0 ? "there" : "not there", which == 1 ? "there" : "not there");
  }
  /// The last word, and the exit status.
  int end() {
    if (json_) {
      fmt::print("{}\n", nlohmann::json{{"packets", packets_}, {"different", different_}}.dump());
    } else {
      fmt::print("{} packets, {} judged differently\n", packets_, different_);
    }
    return different_ == 0 ? static_cast<int>(done) : differs;
  }

 private:
  void show(const ipq::packet& packet, const ipq::capture_reader& from, const std::string& a, const std::string& b) {
    ++different_;
    const auto& frame = *from.frame_of(packet);
    const interface_names names = [&](std::uint32_t index) { return from.interface_name(index); };
    const wall_clock::time_point time(std::chrono::duration_cast<wall_clock::duration>(frame.time));
    line_.clear();
    if (json_) {
      print_json(line_, packet, names, {}, time);
      auto made = nlohmann::json::parse(fmt::to_string(line_));
      made["frame"] = frame.number;
      made["first"] = a;
      made["second"] = b;
      fmt::print("{}\n", made.dump());
      return;
    }
    print_line(line_, packet, names, {}, time);
    fmt::print("frame {}: {}\n  {}: {}\n  {}: {}\n", frame.number, fmt::to_string(line_), names_[0], a, names_[1], b);
  }

  std::string names_[2];
  bool json_;
  fmt::memory_buffer line_;
  std::uint64_t packets_ = 0, different_ = 0;
};

int fail_with(failure what) {
  what.code = static_cast<exit_code>(trouble);
  return report("compare", what);
}

said recorded_in(const ipq::capture_reader& from, const ipq::packet& packet) {
  const auto& recorded = from.frame_of(packet)->recorded;
  return recorded ? said(recorded->given) : std::nullopt;
}

int compare_recordings(const std::string (&paths)[2], const replay_options& options, comparison& result,
                       progress& shown) {
  std::vector<ipq::capture_reader> readers;
  for (const std::string& path : paths) {
    auto opened = ipq::capture_reader::open(path, capture_options_of(options));
    if (!opened) return fail_with(about_file(path, opened.error()));
    readers.push_back(*std::move(opened));
  }
  cursor cursors[2]{cursor(readers[0]), cursor(readers[1])};
  const ipq::packet* at[2]{};
  bool wanted[2]{true, true};
  for (std::uint64_t count = 0;; ++count) {
    for (int i = 0; i < 2; ++i) {
      if (!wanted[i]) continue;
      const auto next = cursors[i].next();
      if (!next) return fail_with(about_file(paths[i], next.error()));
      at[i] = *next;
    }
    if (count % 1024 == 0) shown.update(readers[0]);
    if (at[0] == nullptr && at[1] == nullptr) return result.end();
    // A packet that one of them lost has no counterpart: the earlier of the two goes alone.
    const bool both = at[0] != nullptr && at[1] != nullptr;
    const auto time_of = [&](int i) { return readers[static_cast<std::size_t>(i)].frame_of(*at[i])->time; };
    if (both && time_of(0) == time_of(1) && std::ranges::equal(at[0]->payload, at[1]->payload)) {
      result.compare(*at[0], readers[0], recorded_in(readers[0], *at[0]), recorded_in(readers[1], *at[1]));
      wanted[0] = wanted[1] = true;
      continue;
    }
    const int alone = at[0] == nullptr || (both && time_of(1) < time_of(0)) ? 1 : 0;
    result.only_in(alone, *at[alone], readers[static_cast<std::size_t>(alone)]);
    wanted[alone] = true;
    wanted[1 - alone] = false;
  }
}

int compare_rules(const std::string (&paths)[2], const std::string& capture, const replay_options& options,
                  comparison& result, progress& shown) {
  std::vector<rules::ruleset> compiled;
  for (const std::string& path : paths) {
    auto made = compile_rules({.files = {path}, .arguments = {}});
    if (!made) return fail_with(made.error());
    compiled.push_back(*std::move(made));
  }
  auto reader = ipq::capture_reader::open(capture, capture_options_of(options));
  if (!reader) return fail_with(about_file(capture, reader.error()));
  rules::engine first = make_engine(compiled[0], options, *reader), second = make_engine(compiled[1], options, *reader);
  cursor packets(*reader);
  for (std::uint64_t count = 0;; ++count) {
    const auto next = packets.next();
    if (!next) return fail_with(about_file(capture, next.error()));
    if (*next == nullptr) return result.end();
    if (count % 1024 == 0) shown.update(*reader);
    const auto time = reader->frame_of(**next)->time;
    result.compare(**next, *reader, first.judge(**next, time).verdict, second.judge(**next, time).verdict);
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
  line.app().add_option("A", paths[0], "a recording, or a rule file")->required();
  line.app().add_option("B", paths[1], "the other")->required();
  line.app().add_option("--on", capture, "judge this capture by the rule files A and B")->type_name("CAPTURE");
  add_replay_options(line.app(), options);
  line.app().add_flag("--json", json, "for programs: an object a line");
  if (const auto end = line.parse(argc, argv)) return *end == done ? static_cast<int>(done) : trouble;

  comparison result(paths[0], paths[1], json);
  progress shown(false);
  const int status = capture.empty() ? compare_recordings(paths, options, result, shown)
                                     : compare_rules(paths, capture, options, result, shown);
  return status;
}

}  // namespace tool
