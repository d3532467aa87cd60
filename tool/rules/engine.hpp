// SPDX-License-Identifier: MIT
// The judge: packets and the time in, decisions out. It knows no queue, no clock and no file, so that a live queue and
// a capture file are judged alike.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "ipq/packet.hpp"
#include "ipq/verdict.hpp"
#include "metadata.hpp"
#include "ruleset.hpp"

namespace ipq::tool::rules {

/// Time since any moment that stays the same: of a steady clock, or of a capture file.
using time = std::chrono::nanoseconds;

struct engine_options {
  /// Of the impairments. The same rules, seed, packets and times give the same decisions, on every machine.
  std::uint64_t seed = 0;
  /// For packets that no line decides: accept or drop.
  ipq::verdict otherwise = ipq::verdict::accept();
  interface_names names = {};  ///< none: no interface has a name
};

/// What is to become of a packet. The spans are valid until the engine's next judge(), as is the verdict's payload.
struct decision {
  static constexpr std::size_t no_rule = static_cast<std::size_t>(-1);

  ipq::verdict verdict = ipq::verdict::accept();
  std::size_t rule = no_rule;  ///< which decided, an index into the ruleset; no_rule: options.otherwise did
  time delay{};                ///< carry the verdict out when this has passed; never negative
  bool lost = false;           ///< dropped by `loss` or `rate`
  bool not_applied = false;    ///< something that was to be changed could not be: the packet is as it was in that point
  std::uint32_t duplicates = 0;            ///< send `duplicate` so many times, after the same delay; 0 but at output
                                           ///< and postrouting
  std::span<const std::byte> duplicate;    ///< the packet with its changes and all checksums; empty if duplicates is 0
  std::span<const std::size_t> records;    ///< indices into ruleset::record_files(): record the packet as it came
  std::span<const std::string_view> logs;  ///< prefixes of the lines to log, in order; "" is a line without one
};

/// Of one line. A packet that matches is counted also if an earlier line went on with `continue`.
struct rule_counts {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;        ///< of whole packets, from the network header on
  std::uint64_t lost = 0;         ///< packets dropped by `loss` and `rate`
  std::uint64_t not_applied = 0;  ///< packets that could not be changed as the line says
};

struct name_counts {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
};

/// Rules at work: the state of impairments and the counters. For one thread at a time; workers have one each.
class engine {
 public:
  explicit engine(ruleset rules, engine_options options = {});
  engine(engine&&) noexcept;
  engine& operator=(engine&&) noexcept;
  ~engine();

  /// Judges a packet at a moment. Times are expected not to decrease; an earlier one counts as the latest so far.
  [[nodiscard]] const decision& judge(const packet& which, time now);

  [[nodiscard]] const ruleset& rules() const noexcept;
  [[nodiscard]] std::span<const rule_counts> counts() const noexcept;        ///< of ruleset's rules
  [[nodiscard]] rule_counts unmatched() const noexcept;                      ///< decided by options.otherwise
  [[nodiscard]] std::span<const name_counts> named_counts() const noexcept;  ///< of ruleset::count_names()

  /// After a reload, instead of a fresh start: the counts of names that both rulesets have, and what impairments of
  /// lines with the same text remember, go on from where `before` is. The random numbers of other lines are none that
  /// were before. Both engines have the same seed.
  void continue_from(const engine& before);

 private:
  struct state;
  std::unique_ptr<state> state_;
};

/// What several engines with the same rules have counted.
struct totals {
  ruleset rules;
  std::vector<rule_counts> each;  ///< of its rules
  rule_counts unmatched;
  std::vector<name_counts> names;  ///< of its count_names()

  void add(const engine& one);
};

}  // namespace ipq::tool::rules
