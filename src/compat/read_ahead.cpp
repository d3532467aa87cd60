// SPDX-License-Identifier: MIT
#include "compat/read_ahead.hpp"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "wire/bytes.hpp"
#include "wire/constants.hpp"
#include "wire/message.hpp"

namespace ipq::compat {
namespace {

constexpr std::size_t sequence_at = 8;  // of nlmsg_seq, which has the packet's id: write_verdict_note

bool begins_with(std::span<const std::byte> verdicts, std::uint32_t id) noexcept {
  return wire::load<std::uint32_t>(verdicts.data() + sequence_at) == id;
}

bool is_readable(const netlink::socket& looked_at) {
  return looked_at.wait_readable(std::chrono::steady_clock::time_point::min()).has_value();
}

}  // namespace

bool answers_wake(std::span<const std::byte> datagram) noexcept {
  wire::bytes rest = datagram;
  const auto message = wire::next_message(rest);
  const auto reply = message ? wire::parse_error(*message) : std::nullopt;
  return reply && reply->request_type == wire::message_noop;
}

read_ahead::read_ahead() : datagrams_(most, wire::max_datagram) {}

void read_ahead::forget() noexcept {
  left_ = 0;
  kept_.size = 0;
  for (verdicts& each : sent_) each.size = 0;
  wakes_ = 0;
  taken_elsewhere_ = false;
  reading_.clear();
  sending_.clear();
}

bool read_ahead::receive(const netlink::socket& from) {
  // ENOBUFS is counted by the kernel, and with it there is nothing to be read here.
  const auto received = datagrams_.receive(from);
  if (!received) {
    wakes_ = 0;
    return false;
  }
  next_ = 0;
  left_ = *received;
  fresh_ = true;
  full_ = *received == most;
  return true;
}

std::span<std::byte> read_ahead::take() noexcept {
  const auto taken = datagrams_[next_++];
  const std::size_t left = left_.load(std::memory_order_relaxed) - 1;
  left_.store(left, left == 0 ? std::memory_order_seq_cst : std::memory_order_relaxed);
  if (wakes_ != 0 && answers_wake(taken)) --wakes_;
  return taken;
}

void read_ahead::settle(const netlink::socket& from, const netlink::socket& to, bool refill) {
  for (;;) {
    // What answers a wake is not for the program: with nothing else left here, nothing is.
    while (has_messages() && wakes_ != 0 && answers_wake(datagrams_[next_])) static_cast<void>(take());
    if (has_messages()) break;
    // No verdict waits while the program thinks about the last packet, or waits for the next.
    static_cast<void>(flush(to));
    // The socket may be readable for acknowledgements alone.
    if (wakes_ == 0 || !refill || !receive(from)) return;
  }
  if (!std::exchange(fresh_, false) || !refill) return;
  if (full_ && is_readable(from)) return;
  wake(from);
}

void read_ahead::wake(const netlink::socket& from) noexcept {
  if (from.wake()) {
    ++wakes_;
  } else {
    fresh_ = true;  // the next read tries again
  }
}

void read_ahead::stay_readable(const netlink::socket& from) {
  // Who finds it locked leaves the rest to the one who has it, and looks behind the lock.
  while (taken_elsewhere_ && !reading_.test_and_set()) {
    const unlock_at_the_end unlock{reading_};
    taken_elsewhere_ = false;
    if (has_messages() && !is_readable(from)) wake(from);
  }
}

result<void> read_ahead::send(const netlink::socket& to, const wire::plain_verdict& answer) {
  if (sending_.test_and_set()) {
    std::byte message[wire::plain_verdict_size];
    wire::encode_plain_verdict(answer, message);
    return to.send(std::span<const std::byte>(message));
  }
  result<void> sent;
  {
    const unlock_at_the_end unlock{sending_};
    if (kept_.size == kept_.bytes.size()) sent = flush_locked(to);
    if (!sent) return sent;
    wire::encode_plain_verdict(answer, kept_.bytes.data() + kept_.size);
    kept_.size += wire::plain_verdict_size;
    if (kept_.size == kept_.bytes.size()) sent = flush_locked(to);
  }
  // Looked at behind the lock: the reader that has just taken the last message may have found it taken.
  if (!has_messages()) return flush(to);
  return sent;
}

result<void> read_ahead::flush(const netlink::socket& to) {
  if (sending_.test_and_set()) return {};  // who has it looks again
  const unlock_at_the_end unlock{sending_};
  return flush_locked(to);
}

result<void> read_ahead::flush_locked(const netlink::socket& to) {
  if (kept_.size == 0) return {};
  const auto sent = to.send(std::span<const std::byte>(kept_.bytes).first(kept_.size));
  if (!sent) return sent;
  // A second verdict on a packet is refused by itself.
  const auto id = wire::load<std::uint32_t>(kept_.bytes.data() + sequence_at);
  for (verdicts& each : sent_) {
    if (begins_with(each.bytes, id)) each.size = 0;
  }
  if (kept_.size > wire::plain_verdict_size) {
    verdicts& copy = sent_[next_sent_++ % sent_.size()];
    copy.size = kept_.size;
    std::copy_n(kept_.bytes.begin(), kept_.size, copy.bytes.begin());
  }
  kept_.size = 0;
  return {};
}

void read_ahead::send_others_alone(const netlink::socket& to, std::uint32_t id) {
  // Whoever has it is about to send; a signal handler above it must not wait for ever.
  for (int tries = 0; sending_.test_and_set(); ++tries) {
    if (tries == 1000) return;
    ::sched_yield();
  }
  const unlock_at_the_end unlock{sending_};
  const auto found =
      std::ranges::find_if(sent_, [&](const verdicts& each) { return each.size != 0 && begins_with(each.bytes, id); });
  if (found == sent_.end()) return;
  const std::span<const std::byte> all = std::span(found->bytes).first(std::exchange(found->size, 0));
  for (auto rest = all.subspan(wire::plain_verdict_size); !rest.empty();
       rest = rest.subspan(wire::plain_verdict_size)) {
    static_cast<void>(to.send(rest.first(wire::plain_verdict_size)));
  }
}

}  // namespace ipq::compat
