// SPDX-License-Identifier: MIT
#include "compat/read_ahead.hpp"

#include <chrono>
#include <utility>

#include "wire/constants.hpp"
#include "wire/message.hpp"

namespace ipq::compat {

bool answers_wake(std::span<const std::byte> datagram) noexcept {
  wire::bytes rest = datagram;
  const auto message = wire::next_message(rest);
  const auto reply = message ? wire::parse_error(*message) : std::nullopt;
  return reply && reply->request_type == wire::message_noop;
}

read_ahead::read_ahead() : datagrams_(most, wire::max_datagram) {}

void read_ahead::forget() noexcept {
  left_ = 0;
  kept_ = 0;
  woken_ = false;
  reading_.clear();
  sending_.clear();
}

bool read_ahead::receive(const netlink::socket& from) {
  // ENOBUFS is counted by the kernel, and with it there is nothing to be read here.
  const auto received = datagrams_.receive(from);
  if (!received) {
    woken_ = false;
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
  if (woken_ && answers_wake(taken)) woken_ = false;
  return taken;
}

void read_ahead::settle(const netlink::socket& from, const netlink::socket& to, bool refill) {
  // What answers a wake is not for the program: with nothing else left here, nothing is.
  while (has_messages() && woken_ && answers_wake(datagrams_[next_])) static_cast<void>(take());
  if (!has_messages()) {
    // No verdict waits while the program thinks about the last packet, or waits for the next.
    static_cast<void>(flush(to));
    // The socket may be readable for the acknowledgement alone.
    if (woken_ && refill && receive(from)) settle(from, to, refill);
    return;
  }
  const bool taken = wake_taken_.exchange(false, std::memory_order_relaxed);
  if ((!std::exchange(fresh_, false) && !taken) || !refill) return;
  if (full_ && from.wait_readable(std::chrono::steady_clock::time_point::min())) return;
  from.wake();
  woken_ = true;
}

result<void> read_ahead::send(const netlink::socket& to, const wire::plain_verdict& answer) {
  if (sending_.test_and_set()) {
    std::byte message[wire::plain_verdict_size];
    wire::encode_plain_verdict(answer, message);
    return to.send(std::span<const std::byte>(message));
  }
  result<void> sent;
  {
    const unlock_at_the_end<std::memory_order_seq_cst> unlock{sending_};
    if (kept_ == verdicts_.size()) sent = flush_locked(to);
    if (!sent) return sent;
    wire::encode_plain_verdict(answer, verdicts_.data() + kept_);
    kept_ += wire::plain_verdict_size;
    if (kept_ == verdicts_.size()) sent = flush_locked(to);
  }
  // Looked at behind the lock: the reader that has just taken the last message may have found it taken.
  if (!has_messages()) return flush(to);
  return sent;
}

result<void> read_ahead::flush(const netlink::socket& to) {
  if (sending_.test_and_set()) return {};  // who has it looks again
  const unlock_at_the_end<std::memory_order_seq_cst> unlock{sending_};
  return flush_locked(to);
}

result<void> read_ahead::flush_locked(const netlink::socket& to) {
  if (kept_ == 0) return {};
  const auto sent = to.send(std::span<const std::byte>(verdicts_).first(kept_));
  if (sent) kept_ = 0;
  return sent;
}

}  // namespace ipq::compat
