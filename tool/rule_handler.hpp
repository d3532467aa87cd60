// SPDX-License-Identifier: MIT
// What ipq run does with packets: the rule engine's decisions carried out, now or when their time has come.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "duplicator.hpp"
#include "ipq/recorder.hpp"
#include "live.hpp"
#include "output.hpp"
#include "print.hpp"
#include "rules/delayed.hpp"
#include "rules/engine.hpp"

namespace tool {

namespace rules = ipq::tool::rules;

/// How long packets waited for their verdicts: the upper bounds of the counts, in microseconds; the last count is of
/// those above.
struct latency_histogram {
  static constexpr std::array<std::uint32_t, 16> bounds{
      10, 20, 50, 100, 200, 500, 1'000, 2'000, 5'000, 10'000, 20'000, 50'000, 100'000, 200'000, 500'000, 1'000'000};
  std::array<std::uint64_t, bounds.size() + 1> counts{};
  std::uint64_t microseconds = 0;  ///< in all

  void add(std::chrono::nanoseconds each, std::uint64_t packets) noexcept;
};

/// What a handler has done so far.
struct rule_counters {
  std::uint64_t received = 0;
  std::array<std::uint64_t, 6> verdicts{};       ///< by the number of verdict::action
  std::uint64_t delayed = 0, delayed_bytes = 0;  ///< that wait now
  std::uint64_t delay_refused = 0;               ///< beyond the bounds
  std::uint64_t duplicates = 0, duplicates_failed = 0;
  latency_histogram latency;
};

/// Rules, and where their `record` writes to: recorders are for rules.record_files(), each at the same index.
struct rules_in_use {
  rules::ruleset rules;
  std::vector<ipq::recorder*> recorders;
};

/// What the workers of ipq run share.
struct rule_job {
  rules::engine_options engine;  ///< without names
  rules::delayed_limits limits;
  const duplicator* copies = nullptr;  ///< null: rules have no duplicate
  print_style style;                   ///< of `log`
  output* to = nullptr;                ///< of `log`
  std::chrono::nanoseconds epoch{};    ///< what the steady clock lacks to the time since 1970, for `record`
};

class rule_handler final : public handler {
 public:
  rule_handler(const rule_job& job, const rules_in_use& what, unsigned worker);

  ipq::result<void> take(ipq::source& from, std::span<const ipq::packet> packets) override;
  void after(std::span<const ipq::packet> packets) override;
  [[nodiscard]] steady::time_point next_due() const override;
  ipq::result<void> tick() override;
  void finish() override;

  /// From any thread, beside the worker:
  /// Other rules from the next packet on. Packets that are delayed keep their verdict. All handlers change together.
  static void replace(std::span<rule_handler* const> handlers, const rules_in_use& what);
  [[nodiscard]] rule_counters counters() const;
  /// Adds this handler's counts to those of others, which have the same rules.
  void add_totals(rules::totals& to) const;

 private:
  struct waiting {
    ipq::held_packet packet;
    ipq::verdict verdict;
    std::vector<std::byte> payload;
    std::vector<std::byte> duplicate;
    std::uint32_t duplicates;
    std::uint32_t link;  ///< that the packet is on
    steady::time_point arrival;
  };

  [[nodiscard]] rules::engine make_engine(rules::ruleset what) const;
  ipq::result<void> carry_out(ipq::source& from, const ipq::packet& packet, const rules::decision& decision);
  [[nodiscard]] static std::size_t delayed_size(const ipq::packet& packet, const rules::decision& decision) noexcept;
  [[nodiscard]] rules::decision beyond_limits(const rules::decision& decision) const;
  ipq::result<void> delay(ipq::source& from, const ipq::packet& packet, const rules::decision& decision);
  ipq::result<void> release(waiting&& one, steady::time_point now);
  ipq::result<void> release_due(steady::time_point now);
  void record(const ipq::packet& packet, const rules::decision& decision);
  void send_copies(std::span<const std::byte> copy, std::uint32_t link, std::uint32_t times);
  [[nodiscard]] static std::uint32_t link_of(const ipq::packet& packet) noexcept {
    return packet.outdev != 0 ? packet.outdev : packet.indev;
  }
  void count(const ipq::verdict& given) noexcept { ++counters_.verdicts[static_cast<std::size_t>(given.what())]; }

  const rule_job& job_;
  const unsigned worker_;
  const interface_names fresh_names_;  ///< never called, so that they are copied beside the worker
  interface_names names_;
  mutable std::mutex lock_;  ///< taken once a batch: engine and counters are looked at from outside
  rules::engine engine_;
  std::vector<ipq::recorder*> recorders_;
  bool knows_copies_;  ///< rules have, or once had, `duplicate`: copies may be on their way
  rules::delayed<waiting> delayed_;
  rule_counters counters_;
  fmt::memory_buffer lines_;
  steady::time_point arrival_;  ///< of the batch
  std::uint64_t at_once_ = 0;   ///< packets of the batch that were decided
};

}  // namespace tool
