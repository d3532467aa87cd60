// SPDX-License-Identifier: MIT
#include "rule_handler.hpp"

#include <algorithm>
#include <cerrno>

#include "filter_handler.hpp"
#include "log_lines.hpp"

namespace tool {
namespace {

rules::time time_of(steady::time_point moment) noexcept {
  return moment.time_since_epoch();
}

// Errors after which the packet alone is lost to its rule: it gets the queue's `unanswered`.
bool concerns_packet_alone(const ipq::error& wrong, const ipq::verdict& given) noexcept {
  return wrong.is(EMSGSIZE) || wrong.is(EINVAL) || (wrong.lacks_memory() && !given.payload().empty());
}

}  // namespace

void latency_histogram::add(std::chrono::nanoseconds each, std::uint64_t packets) noexcept {
  const auto passed = static_cast<std::uint64_t>(std::max<std::int64_t>(0, each.count() / 1000));
  const auto at = std::ranges::lower_bound(bounds, passed) - bounds.begin();
  counts[static_cast<std::size_t>(at)] += packets;
  microseconds += passed * packets;
}

rule_handler::rule_handler(const rule_job& job, const rules_in_use& what, unsigned worker)
    : job_(job),
      worker_(worker),
      fresh_names_(make_interface_names()),
      names_(fresh_names_),
      engine_(make_engine(what.rules)),
      recorders_(what.recorders),
      knows_copies_(what.rules.duplicates()),
      delayed_(job.limits) {}

rules::engine rule_handler::make_engine(rules::ruleset what) const {
  rules::engine_options options = job_.engine;
  // Each worker sees its own packets, so each has its own dice.
  options.seed += worker_;
  options.names = fresh_names_;
  return rules::engine(std::move(what), std::move(options));
}

ipq::result<void> rule_handler::take(ipq::source& from, std::span<const ipq::packet> packets) {
  const std::lock_guard guard(lock_);
  arrival_ = steady::now();
  at_once_ = 0;
  // Before packets that came later and may go at once.
  if (auto released = release_due(arrival_); !released) return released;
  counters_.received += packets.size();
  rules::decision instead;
  for (const ipq::packet& each : packets) {
    if (knows_copies_ && job_.copies != nullptr && each.mark == job_.copies->mark()) {
      // A copy of ours: judging it would copy it for ever.
      count(ipq::verdict::accept());
      if (auto given = from.set_verdict(each, ipq::verdict::accept()); !given) return given;
      continue;
    }
    const rules::decision& judged = engine_.judge(each, time_of(arrival_));
    const bool fits = judged.delay <= rules::time::zero() || delayed_.admit(delayed_size(each, judged));
    if (!fits) instead = beyond_limits(judged);
    const rules::decision& decision = fits ? judged : instead;
    if (!decision.logs.empty()) print_logs(lines_, each, decision, names_, job_.style, wall_clock::now());
    if (!decision.records.empty()) record(each, decision);
    if (auto carried = carry_out(from, each, decision); !carried) return carried;
  }
  return {};
}

ipq::result<void> rule_handler::carry_out(ipq::source& from, const ipq::packet& packet,
                                          const rules::decision& decision) {
  if (decision.delay > rules::time::zero()) return delay(from, packet, decision);
  const auto given = from.set_verdict(packet, decision.verdict);
  if (!given && concerns_packet_alone(given.error(), decision.verdict)) return {};
  if (!given && !given.error().lacks_memory()) return given;
  count(decision.verdict);
  ++at_once_;
  send_copies(decision.duplicate, link_of(packet), decision.duplicates);
  return {};
}

std::size_t rule_handler::delayed_size(const ipq::packet& packet, const rules::decision& decision) noexcept {
  return packet.original_length + decision.verdict.payload().size() + decision.duplicate.size();
}

// For one more than may wait: what becomes of it, at once.
rules::decision rule_handler::beyond_limits(const rules::decision& decision) const {
  rules::decision instead = decision;
  instead.verdict =
      delayed_.limits().beyond == ipq::verdict::action::accept ? ipq::verdict::accept() : ipq::verdict::drop();
  instead.delay = {};
  instead.duplicates = 0;
  instead.duplicate = {};
  return instead;
}

ipq::result<void> rule_handler::delay(ipq::source& from, const ipq::packet& packet, const rules::decision& decision) {
  auto held = from.hold(packet);
  if (!held) return std::unexpected(held.error());
  const auto payload = decision.verdict.payload();
  waiting one{.packet = *std::move(held),
              .verdict = decision.verdict.with_payload(std::span<const std::byte>()),
              .payload = {payload.begin(), payload.end()},
              .duplicate = {decision.duplicate.begin(), decision.duplicate.end()},
              .duplicates = decision.duplicates,
              .link = link_of(packet),
              .arrival = arrival_};
  // It was admitted.
  static_cast<void>(delayed_.push(std::move(one), time_of(arrival_) + decision.delay, delayed_size(packet, decision)));
  return {};
}

ipq::result<void> rule_handler::release(waiting&& one, steady::time_point now) {
  const ipq::verdict verdict = one.payload.empty() ? one.verdict : one.verdict.with_payload(std::span(one.payload));
  const auto given = std::move(one.packet).set_verdict(verdict);
  if (!given && concerns_packet_alone(given.error(), verdict)) return {};
  if (!given && !given.error().lacks_memory()) return given;
  count(verdict);
  counters_.latency.add(now - one.arrival, 1);
  send_copies(one.duplicate, one.link, one.duplicates);
  return {};
}

steady::time_point rule_handler::next_due() const {
  const auto due = delayed_.next_due();
  return due ? steady::time_point(*due) : steady::time_point::max();
}

ipq::result<void> rule_handler::tick() {
  const auto due = delayed_.next_due();
  if (!due) return {};
  const auto now = steady::now();
  if (*due > time_of(now)) return {};
  const std::lock_guard guard(lock_);
  return release_due(now);
}

ipq::result<void> rule_handler::release_due(steady::time_point now) {
  while (auto one = delayed_.pop(time_of(now))) {
    if (auto released = release(*std::move(one), now); !released) return released;
  }
  return {};
}

void rule_handler::finish() {
  const std::lock_guard guard(lock_);
  const auto now = steady::now();
  while (auto one = delayed_.pop(rules::time::max())) {
    if (!release(*std::move(one), now)) return;
  }
}

void rule_handler::after(std::span<const ipq::packet>) {
  {
    const std::lock_guard guard(lock_);
    counters_.latency.add(steady::now() - arrival_, at_once_);
  }
  job_.to->write(lines_);
}

// In the order of judging, also what is delayed, so that a replay meets the packets as they came.
void rule_handler::record(const ipq::packet& packet, const rules::decision& decision) {
  const ipq::record_times times{.came = time_of(arrival_) + job_.epoch,
                                .took = decision.delay + (steady::now() - arrival_)};
  for (const std::size_t each : decision.records) recorders_[each]->record(packet, decision.verdict, times);
}

void rule_handler::send_copies(std::span<const std::byte> copy, std::uint32_t link, std::uint32_t times) {
  for (; times > 0; --times) {
    ++(job_.copies != nullptr && job_.copies->send(copy, link) ? counters_.duplicates : counters_.duplicates_failed);
  }
}

void rule_handler::replace(std::span<rule_handler* const> handlers, const rules_in_use& what) {
  std::vector<rules::engine> made;
  made.reserve(handlers.size());
  for (const rule_handler* each : handlers) made.push_back(each->make_engine(what.rules));
  // All at once: no packet meets new rules before another meets old ones.
  std::vector<std::unique_lock<std::mutex>> locks;
  locks.reserve(handlers.size());
  for (const rule_handler* each : handlers) locks.emplace_back(each->lock_);
  for (std::size_t i = 0; i < handlers.size(); ++i) {
    made[i].continue_from(handlers[i]->engine_);
    handlers[i]->engine_ = std::move(made[i]);
    handlers[i]->recorders_ = what.recorders;
    handlers[i]->knows_copies_ |= what.rules.duplicates();
  }
}

rule_counters rule_handler::counters() const {
  const std::lock_guard guard(lock_);
  rule_counters now = counters_;
  now.delayed = delayed_.size();
  now.delayed_bytes = delayed_.bytes();
  now.delay_refused = delayed_.refused();
  return now;
}

void rule_handler::add_totals(rules::totals& to) const {
  const std::lock_guard guard(lock_);
  to.add(engine_);
}

}  // namespace tool
