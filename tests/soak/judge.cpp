// SPDX-License-Identifier: MIT
#include "judge.hpp"

#include <sched.h>

#include <stdexcept>

#include "ipq/decode.hpp"
#include "ipq/edit.hpp"
#include "kernel/command.hpp"
#include "streams.hpp"

namespace soak {
namespace {

using namespace std::chrono_literals;
using ipq::queue;
using ipq::verdict;
using clock = queue::clock;

queue must_open(const ipq::queue_options& options) {
  auto opened = queue::open(options);
  if (!opened) throw std::runtime_error(opened.error().message());
  return *std::move(opened);
}

}  // namespace

std::string judge::kinds::missing() const {
  std::string names;
  const auto look = [&](const std::atomic<std::uint64_t>& count, const char* name) {
    if (count == 0) names += std::string(" ") + name;
  };
  look(fragments, "fragments");
  look(segments, "unsplit-segments");
  look(accepted, "accepted");
  look(dropped, "dropped");
  look(held, "delayed");
  look(repeated, "repeated");
  look(edited, "edited");
  look(given_back, "given-back");
  look(marked, "marked");
  look(passed_over, "passed-over");
  look(lengthened, "lengthened");
  look(moved, "other-address-and-port");
  look(sent_on, "sent-on");
  return names;
}

judge::judge(std::uint16_t number, int network_namespace, std::uint64_t seed)
    : number_(number),
      namespace_(network_namespace),
      random_(seed),
      queue_([&] {
        auto first = options();
        first.network_namespace_fd = network_namespace;
        return must_open(first);
      }()),
      beside_(must_open({.number = static_cast<std::uint16_t>(number + 1),
                         .network_namespace_fd = network_namespace,
                         .max_length = 20'000,
                         .gso = true})) {
  server_beside_ = std::thread([this] { serve_beside(); });
  server_ = std::thread([this] {
    try {
      serve();
    } catch (const std::exception& wrong) {
      error_ = wrong.what();
    }
    ended_ = true;
  });
  releaser_ = std::thread([this] { release_delayed(); });
}

judge::~judge() {
  stop();
}

void judge::stop() {
  stopping_ = true;
  if (server_.joinable()) server_.join();
  if (releaser_.joinable()) releaser_.join();
  if (server_beside_.joinable()) end_beside();
}

void judge::serve_beside() {
  if (const auto ended = ipq::serve(beside_, [](const ipq::packet&) { return verdict::accept(); }); !ended) {
    error_beside_ = ended.error().message();
  }
}

// What was sent on is there, all of it, now or in a moment.
void judge::end_beside() {
  const auto sent_on = sum(&kinds::sent_on);
  const auto end = clock::now() + kernel_tests::patience;
  auto s = beside_.stats();
  while ((s.accepted < sent_on || (s.in_kernel && s.in_kernel->waiting != 0)) && clock::now() < end) {
    std::this_thread::sleep_for(1ms);
    s = beside_.stats();
  }
  beside_.stop();
  server_beside_.join();
  s = beside_.stats();
  if (s.accepted != sent_on || !s.in_kernel) ++unaccounted;
  if (s.in_kernel) lost += std::uint64_t{s.in_kernel->lost_queue_full} + s.in_kernel->lost_no_buffer;
  if (error_.empty()) error_ = error_beside_;
}

ipq::queue_options judge::options() {
  using waiting = ipq::queue_options::waiting;
  constexpr waiting ways[] = {waiting::adaptive, waiting::latency, waiting::throughput};
  return {.number = number_,
          .max_length = 20'000,
          .fail_open = random_() % 2 == 0,
          .gso = true,
          .timestamps = random_() % 2 == 0,
          .when_idle = ways[random_() % 3],
          .unanswered = verdict::accept(),
          .verdict_delay = std::chrono::milliseconds(random_() % 6)};
}

void judge::must(const ipq::result<void>& outcome) {
  if (!outcome) throw std::runtime_error(outcome.error().message());
}

void judge::serve() {
  // A queue that is adopted looks for the kernel's counters in the namespace of its thread.
  if (::setns(namespace_, 0) != 0) throw std::runtime_error("enter the far namespace");
  auto next_reload = clock::now() + 1s;
  int silences = 0;
  while (!stopping_ || silences < 20) {
    const auto got = queue_.receive(clock::now() + 10ms);
    if (got) {
      silences = 0;
      for (const auto& each : got->events()) {
        if (each.what == ipq::event::kind::refused) throw std::runtime_error("a verdict was refused");
      }
      for (const ipq::packet& each : *got) decide(each);
    } else if (got.error().is(ETIMEDOUT)) {
      const std::lock_guard locked(lock_);
      silences += waiting_.empty();
    } else if (!got.error().is(EINTR)) {
      throw std::runtime_error(got.error().message());
    }
    if (clock::now() >= next_reload) {
      reload();
      next_reload = clock::now() + random_() % 2000 * 1ms;
    }
  }
  look_at_counters();
}

void judge::decide(const ipq::packet& which) {
  ++packets;
  const auto seen = ipq::decode(which.payload);
  if (!seen) throw std::runtime_error("a packet that can't be read");
  const bool is_ipv4 = (std::to_integer<unsigned>(which.payload[0]) >> 4) == 4;
  kinds& all = families[is_ipv4 ? 0 : 1];
  all.segments += which.gso;
  const bool fragment = seen->fragment != ipq::fragment_state::none;
  all.fragments += fragment;
  const bool is_datagram =
      !fragment && seen->transport == ipq::ip_protocol::udp && seen->payload_offset < seen->end && !which.gso;
  if (is_datagram && std::to_integer<char>(which.payload[seen->payload_offset]) == by_library) {
    ++all.dropped;
    return must(queue_.set_verdict(which, verdict::drop()));
  }
  switch (random_() % 12) {
    case 0: {
      auto kept = queue_.hold(which);
      if (!kept) throw std::runtime_error(kept.error().message());
      ++all.held;
      const std::lock_guard locked(lock_);
      waiting_.push_back({clock::now() + random_() % 8000 * 1us, *std::move(kept)});
      return;
    }
    case 1:
      ++all.repeated;
      return must(queue_.set_verdict(which, verdict::repeat().with_mark(seen_mark)));
    case 2: {
      auto edit = ipq::packet_editor::edit(which, buffer_);
      if (!edit) break;
      edit->set_ttl(static_cast<std::uint8_t>(32 + random_() % 64));
      must(edit->set_dscp(static_cast<unsigned>(random_() % 64)));
      ++all.edited;
      return must(queue_.set_verdict(which, verdict::accept().with_payload(edit->finish())));
    }
    case 3:
      if (which.checksum_not_ready) break;  // bytes that are given back have to be right
      ++all.given_back;
      return must(queue_.set_verdict(which, verdict::accept().with_payload(which.payload)));
    case 4:
      ++all.marked;
      return must(queue_.set_verdict(which, verdict::accept().with_mark(static_cast<std::uint32_t>(random_()))));
    case 5:
      ++all.passed_over;
      return;  // gets the queue's own
    case 6:
      if (!is_datagram || !lengthen(which)) break;
      ++all.lengthened;
      return;
    case 7:
      if (!is_datagram || !move(which, is_ipv4)) break;
      ++all.moved;
      return;
    case 8:
      ++all.sent_on;
      return must(queue_.set_verdict(which, verdict::queue(static_cast<std::uint16_t>(number_ + 1))));
    default:
      break;
  }
  ++all.accepted;
  must(queue_.set_verdict(which, verdict::accept()));
}

bool judge::lengthen(const ipq::packet& which) {
  auto edit = ipq::packet_editor::edit(which, buffer_);
  if (!edit) return false;
  longer_.assign(edit->payload().begin(), edit->payload().end());
  longer_.insert(longer_.end(), 1 + random_() % 8, std::byte{added_byte});
  must(edit->replace_payload(longer_));
  must(queue_.set_verdict(which, verdict::accept().with_payload(edit->finish())));
  return true;
}

bool judge::move(const ipq::packet& which, bool is_ipv4) {
  auto edit = ipq::packet_editor::edit(which, buffer_);
  if (!edit) return false;
  must(is_ipv4 ? edit->set_source(*ipq::ipv4_address::parse(moved_address4))
               : edit->set_source(*ipq::ipv6_address::parse(moved_address6)));
  must(edit->set_source_port(moved_port));
  must(queue_.set_verdict(which, verdict::accept().with_payload(edit->finish())));
  return true;
}

// Decides what has come to its time, from another thread.
void judge::release_delayed() {
  while (!ended_) {
    {
      const std::lock_guard locked(lock_);
      while (!waiting_.empty() && waiting_.front().due <= clock::now()) {
        if (!std::move(waiting_.front().packet).set_verdict(verdict::accept())) ++unaccounted;
        waiting_.pop_front();
      }
    }
    std::this_thread::sleep_for(1ms);
  }
}

// The socket goes on in a new queue with other options, as if to another process.
void judge::reload() {
  {
    const std::lock_guard locked(lock_);
    for (auto& each : waiting_) must(std::move(each.packet).set_verdict(verdict::accept()));
    waiting_.clear();
  }
  look_at_counters();
  const auto given = std::move(queue_).release();
  if (!given) {
    if (given.error().is(EBUSY)) return;  // what came with the one before is not received yet
    throw std::runtime_error(given.error().message());
  }
  auto next = queue::adopt(*given, options());
  if (!next) throw std::runtime_error(next.error().message());
  queue_ = *std::move(next);
  ++reloads;
}

void judge::look_at_counters() {
  must(queue_.flush());
  const auto s = queue_.stats();
  const auto decided = s.accepted + s.dropped + s.repeated + s.stopped + s.requeued + s.gone + s.refused + s.undecided;
  if (s.received != decided || s.malformed != 0) ++unaccounted;
  if (!s.in_kernel) throw std::runtime_error("the kernel's counters can't be read");
  lost = std::uint64_t{s.in_kernel->lost_queue_full} + s.in_kernel->lost_no_buffer;
}

}  // namespace soak
