// SPDX-License-Identifier: MIT
#include "judge.hpp"

#include <stdexcept>

#include "ipq/decode.hpp"
#include "ipq/edit.hpp"
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

judge::judge(std::uint16_t number, int network_namespace, std::uint64_t seed)
    : number_(number), namespace_(network_namespace), random_(seed), queue_([&] {
        auto first = options();
        first.network_namespace_fd = network_namespace;
        return must_open(first);
      }()) {
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
  segments += which.gso;
  const auto seen = ipq::decode(which.payload);
  const bool fragment = seen && seen->fragment != ipq::fragment_state::none;
  fragments += fragment;
  if (seen && !fragment && seen->transport == ipq::ip_protocol::udp && seen->payload_offset < seen->end &&
      std::to_integer<char>(which.payload[seen->payload_offset]) == by_library) {
    ++dropped;
    return must(queue_.set_verdict(which, verdict::drop()));
  }
  switch (random_() % 8) {
    case 0: {
      auto kept = queue_.hold(which);
      if (!kept) throw std::runtime_error(kept.error().message());
      ++held;
      const std::lock_guard locked(lock_);
      waiting_.push_back({clock::now() + random_() % 8000 * 1us, *std::move(kept)});
      return;
    }
    case 1:
      return must(queue_.set_verdict(which, verdict::repeat().with_mark(seen_mark)));
    case 2: {
      auto edit = ipq::packet_editor::edit(which, buffer_);
      if (!edit) break;
      edit->set_ttl(static_cast<std::uint8_t>(32 + random_() % 64));
      must(edit->set_dscp(static_cast<unsigned>(random_() % 64)));
      ++edited;
      return must(queue_.set_verdict(which, verdict::accept().with_payload(edit->finish())));
    }
    case 3:
      if (which.checksum_not_ready) break;  // bytes that are given back have to be right
      return must(queue_.set_verdict(which, verdict::accept().with_payload(which.payload)));
    case 4:
      return must(queue_.set_verdict(which, verdict::accept().with_mark(static_cast<std::uint32_t>(random_()))));
    case 5:
      return;  // gets the queue's own
    default:
      break;
  }
  must(queue_.set_verdict(which, verdict::accept()));
}

// Decides what has come to its time, from another thread.
void judge::release_delayed() {
  while (!ended_) {
    {
      const std::lock_guard locked(lock_);
      while (!waiting_.empty() && waiting_.front().due <= clock::now()) {
        static_cast<void>(std::move(waiting_.front().packet).set_verdict(verdict::accept()));
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
    for (auto& each : waiting_) static_cast<void>(std::move(each.packet).set_verdict(verdict::accept()));
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
  if (s.in_kernel) lost = std::uint64_t{s.in_kernel->lost_queue_full} + s.in_kernel->lost_no_buffer;
}

}  // namespace soak
