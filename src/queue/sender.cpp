// SPDX-License-Identifier: MIT
#include "queue/sender.hpp"

#include <algorithm>
#include <cerrno>
#include <numeric>
#include <thread>

#include "netlink/cancellation.hpp"

namespace ipq::queues {
namespace {

/// A batch verdict carries nothing else (nfnetlink_queue.c, nfqnl_recv_verdict_batch).
bool fits_batch(const verdict& given) noexcept {
  return given.payload().empty() && !given.connmark();
}

bool alike(const verdict& a, const verdict& b) noexcept {
  return a.value() == b.value() && a.mark() == b.mark() && a.priority() == b.priority() && fits_batch(b);
}

}  // namespace

sender::sender(const netlink::socket& to, const netlink::net_admin_right& right, const queue_options& options)
    : to_(&to),
      right_(right),
      unanswered_(options.unanswered),
      merges_(options.verdict_delay.count() != 0),
      // A socket of a scripted kernel has no port id, and its thread needs no right.
      must_know_refused_((merges_ || options.at_close == queue_options::closing::accept_waiting) && to.port_id() != 0),
      late_(options.verdict_delay),
      out_(options.number, to.send_room()),
      now_(options.number, to.send_room()) {
  decided_by_holders_.reserve(outgoing::max_verdicts);
  held_of_batch_.reserve(outgoing::max_verdicts);
}

std::uint64_t& sender::counter_of(verdict::action what) noexcept {
  switch (what) {
    case verdict::action::accept:
      return counted_.accepted;
    case verdict::action::queue:
      return counted_.requeued;
    case verdict::action::repeat:
      return counted_.repeated;
    case verdict::action::stop:
      return counted_.stopped;
    case verdict::action::drop:
      break;
  }
  return counted_.dropped;
}

std::unique_lock<std::mutex> sender::lock() const noexcept {
  if (is_ours()) return std::unique_lock(mutex_);
  // A thread of the parent may have had it: then it is never free again, and nobody here is behind it.
  std::unique_lock locked(mutex_, std::try_to_lock);
  for (int tries = 0; !locked && tries < 1000; ++tries) {
    std::this_thread::yield();
    static_cast<void>(locked.try_lock());
  }
  return locked;
}

void sender::look_for_right(bool only_accepts) noexcept {
  if (must_know_refused_ && !right_.is_there()) see_refused(only_accepts);
}

void sender::see_refused(bool only_accepts) noexcept {
  any_refused_ = true;
  any_refused_but_accept_ = any_refused_but_accept_ || !only_accepts;
}

result<void> sender::send_out() {
  const netlink::cancellation_off whole;  // or what was sent would be sent and counted once more
  const datagram_load load = out_.load();
  if (load.messages != 0) look_for_right(load.only_accepts);
  if (const auto sent = out_.send(*to_); !sent) return sent;
  for (std::size_t i = 0; i < load.verdicts.size(); ++i) {
    if (load.verdicts[i] != 0) counter_of(static_cast<verdict::action>(i)) += load.verdicts[i];
  }
  if (load.messages > 1) sent_[next_sent_++ % sent_.size()] = load;
  return {};
}

result<void> sender::add(std::uint32_t id, const verdict& given, std::uint32_t count) {
  if (!out_.has_room_for(given)) {
    if (const auto sent = send_out(); !sent) return sent;
  }
  out_.add(id, given, count);
  return {};
}

result<void> sender::add_held() {
  std::size_t added = 0;
  result<void> outcome;
  for (; added < decided_by_holders_.size() && outcome; ++added) {
    const auto& [id, given] = decided_by_holders_[added];
    outcome = add(id, given, 1);
    if (!outcome) break;
    release(id);
  }
  decided_by_holders_.erase(decided_by_holders_.begin(),
                            decided_by_holders_.begin() + static_cast<std::ptrdiff_t>(added));
  if (decided_by_holders_.empty()) late_.restart();
  return outcome;
}

bool sender::must_send_held() const noexcept {
  return reader_waits_ || holds_none() || decided_by_holders_.size() >= outgoing::max_verdicts || late_.is_over();
}

void sender::answer_all_before(std::uint32_t id) noexcept {
  const std::lock_guard locked(mutex_);
  all_before_ = id;
}

result<void> sender::flush(std::span<answer> batch, bool alone) {
  const std::lock_guard locked(mutex_);
  if (!alone) all_before_.reset();
  if (all_before_) {
    if (!out_.has_room_for(unanswered_)) {
      if (const auto sent = send_out(); !sent) return sent;
    }
    out_.add(*all_before_ - 1, unanswered_, verdict_cookie::all_waiting);
    all_before_.reset();
  }
  if (const auto added = add_held(); !added) return added;
  // A batch verdict hits every waiting packet up to its id, so it takes that all of these are decided: earlier batches'
  // packets, which only holders can have, and this one's up to there. Packets of no batch count as earlier. Unread
  // packets have higher ids: the kernel hands out ids and messages in one order, under the queue's lock
  // (__nfqnl_enqueue_packet). A packet whose verdict was refused waits on. What other processes have read from the
  // socket, after a fork, nobody here knows.
  if (!batch.empty()) begin_batch(batch.front().id);
  bool all_decided = merges_ && alone && held_ == held_of_batch_.size();
  for (std::size_t i = 0; i < batch.size();) {
    const answer& first = batch[i];
    if (first.how != answer::state::decided) {
      all_decided = all_decided && first.how != answer::state::undecided &&
                    std::ranges::find(held_of_batch_, first.id) == held_of_batch_.end();
      ++i;
      continue;
    }
    std::size_t end = i + 1;
    if (all_decided && !any_refused_ && fits_batch(first.given)) {
      while (end < batch.size() && batch[end].how == answer::state::decided && alike(first.given, batch[end].given)) {
        ++end;
      }
    }
    if (const auto added = add(batch[end - 1].id, first.given, static_cast<std::uint32_t>(end - i)); !added) {
      return added;
    }
    for (; i < end; ++i) batch[i].how = answer::state::sent;
  }
  return send_out();
}

result<void> sender::send_now(std::uint32_t id, const verdict& given) {
  const auto locked = lock();
  return send_alone(id, given);
}

result<void> sender::send_alone(std::uint32_t id, const verdict& given) {
  const netlink::cancellation_off whole;
  now_.clear();  // of the one before; a child's copy may have one that a thread of its parent was sending
  look_for_right(given.what() == verdict::action::accept);
  now_.add(id, given, 1);
  const auto sent = now_.send(*to_);
  if (sent) ++counter_of(given.what());
  return sent;
}

void sender::hold(std::uint32_t id, std::optional<std::uint32_t> first) {
  const auto locked = lock();
  // Room is made here, so that giving a packet up can't fail.
  if (decided_by_holders_.capacity() < held_ + 1) decided_by_holders_.reserve(2 * (held_ + 1));
  if (first) {
    begin_batch(*first);
    held_of_batch_.push_back(id);
  }
  ++held_;
}

void sender::begin_batch(std::uint32_t first) noexcept {
  if (std::exchange(first_of_batch_, first) != first) held_of_batch_.clear();
}

void sender::release(std::uint32_t id) noexcept {
  --held_;
  std::erase(held_of_batch_, id);
}

result<void> sender::set_held_verdict(std::uint32_t id, const verdict& given) {
  const auto locked = lock();
  if (to_ == nullptr) return failed("set verdict", ENODEV);
  if (!is_ours()) return send_alone(id, given);  // what is collected here its parent sends
  if (!given.payload().empty()) {
    // The bytes are the caller's only until we return; what was decided before goes before.
    if (const auto added = add_held(); !added) return added;
    if (const auto sent = send_out(); !sent) return sent;
    if (const auto sent = send_alone(id, given); !sent) return sent;
    release(id);
    return {};
  }
  decided_by_holders_.emplace_back(id, given);
  if (!must_send_held()) return {};
  if (const auto added = add_held(); !added) return added;
  return send_out();
}

void sender::give_up_held(std::uint32_t id) noexcept {
  if (!is_ours()) return;  // a child's copy; the packet is still its parent's
  const std::lock_guard locked(mutex_);
  if (to_ == nullptr) return;
  ++counted_.unanswered;
  decided_by_holders_.emplace_back(id, unanswered_);
  if (!must_send_held()) return;
  // What can't be sent now stays for the reader's next flush, which reports the error.
  if (add_held()) static_cast<void>(send_out());
}

result<void> sender::set_reader_waits(bool waits) {
  const std::lock_guard locked(mutex_);
  reader_waits_ = waits;
  if (!waits) {
    late_.restart();
    return {};
  }
  if (const auto added = add_held(); !added) return added;
  return send_out();
}

void sender::take_back(verdict::action what, std::uint64_t count, std::uint64_t& to) noexcept {
  auto& counted = counter_of(what);
  const auto taken = std::min(count, counted);  // more were not sent
  counted -= taken;
  to += taken;
}

std::uint32_t sender::count_refused(std::uint32_t id, const verdict_cookie& cookie, int code) noexcept {
  const std::lock_guard locked(mutex_);
  if (code != ENOENT) see_refused(cookie.what == verdict::action::accept);
  if (code == EPERM) {
    // An answer to a later message, as where the queue is somebody else's, is about what the first one's has counted.
    if (!cookie.first && refused_whole_) return 0;
    const auto whole = std::ranges::find_if(
        sent_, [&](const datagram_load& each) { return each.messages != 0 && each.first_id == id; });
    refused_whole_ = whole != sent_.end();
    if (refused_whole_) {
      const datagram_load load = std::exchange(*whole, {});
      see_refused(load.only_accepts);
      for (std::size_t i = 0; i < load.verdicts.size(); ++i) {
        if (load.verdicts[i] != 0) take_back(static_cast<verdict::action>(i), load.verdicts[i], counted_.refused);
      }
      return std::accumulate(load.verdicts.begin(), load.verdicts.end(), 0U);
    }
  }
  take_back(cookie.what, cookie.count, code == ENOENT ? counted_.gone : counted_.refused);
  return cookie.count;
}

bool sender::any_refused_but_accept() const noexcept {
  const std::lock_guard locked(mutex_);
  return any_refused_but_accept_;
}

void sender::count_unanswered() noexcept {
  const std::lock_guard locked(mutex_);
  ++counted_.unanswered;
}

statistics sender::stats(const std::atomic<std::uint64_t>& received,
                         const std::function<void(statistics&)>& look) const {
  const auto locked = lock();
  statistics now = counted_;
  // Read after what is decided: that was received before.
  now.received = received;
  now.undecided =
      now.received - (now.accepted + now.dropped + now.repeated + now.stopped + now.requeued + now.gone + now.refused);
  look(now);
  return now;
}

bool sender::holds_any() const noexcept {
  const std::lock_guard locked(mutex_);
  return !holds_none();
}

bool sender::close_unless_held() noexcept {
  const std::lock_guard locked(mutex_);
  if (held_ != 0) return false;
  to_ = nullptr;
  return true;
}

void sender::forget() noexcept {
  const auto locked = lock();
  to_ = nullptr;
}

result<void> sender::close() noexcept {
  const std::lock_guard locked(mutex_);
  const auto sent = insist([this] {
    const auto added = add_held();
    return added ? send_out() : added;
  });
  to_ = nullptr;
  return sent;
}

}  // namespace ipq::queues
