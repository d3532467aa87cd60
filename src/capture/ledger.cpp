// SPDX-License-Identifier: MIT
#include "capture/ledger.hpp"

#include <cerrno>
#include <new>

namespace ipq::capture {
namespace {

// A file may say 16 MiB of a section, and 1 MiB of a packet; those who hold packets count the packets.
constexpr std::size_t most_brought = 64 << 20;

}  // namespace

void tally::count(const verdict& given) noexcept {
  switch (given.what()) {
    case verdict::action::accept:
      ++accepted;
      break;
    case verdict::action::drop:
      ++dropped;
      break;
    case verdict::action::repeat:
      ++repeated;
      break;
    case verdict::action::stop:
      ++stopped;
      break;
    case verdict::action::queue:
      ++requeued;
      break;
  }
}

void tally::operator+=(const tally& other) noexcept {
  accepted += other.accepted;
  dropped += other.dropped;
  repeated += other.repeated;
  stopped += other.stopped;
  requeued += other.requeued;
  unanswered += other.unanswered;
}

result<void> ledger::write_locked(const std::shared_ptr<const section>& from, const original& frame,
                                  const verdict& given) {
  if (!passed_ || !passes(given)) return {};
  // Before the packet and not after it: a replacement that is refused has not been written.
  if (passed_->is_full()) {
    const auto flushed = passed_->flush();
    if (!flushed && !given.payload().empty()) return flushed;
    passed_->write(from, frame, given.payload());
    return flushed;
  }
  passed_->write(from, frame, given.payload());
  return {};
}

result<void> ledger::write(const std::shared_ptr<const section>& from, const original& frame, const verdict& given) {
  const std::lock_guard lock(mutex_);
  return write_locked(from, frame, given);
}

void ledger::begin(const std::shared_ptr<const section>& from) {
  const std::lock_guard lock(mutex_);
  if (passed_) passed_->add_to_head(from, {});
}

// In one: a holder who begins to write the section writes all of its head.
void ledger::grow_head(const std::shared_ptr<section>& of, bytes record) {
  const std::lock_guard lock(mutex_);
  const bytes taken = of->add(record);
  if (passed_) passed_->add_to_head(of, taken);
}

void ledger::add(const std::shared_ptr<const section>& to, bytes record) {
  const std::lock_guard lock(mutex_);
  passed_->add(to, record);
}

void ledger::look_again_at(const section& grown) {
  const auto found = heads_.find(&grown);
  if (found == heads_.end()) return;
  brought_ += grown.head.size() - found->second.bytes;
  found->second.bytes = grown.head.size();
}

bool ledger::hold(std::uint32_t id, const std::shared_ptr<const section>& from, const original& frame) {
  const std::lock_guard lock(mutex_);
  if (!passed_) {
    held_[id] = {};
    return true;
  }
  if (last_ && last_ != from) look_again_at(*last_);
  last_ = from;
  look_again_at(*from);
  const std::size_t more = frame.options.size() + (heads_.contains(from.get()) ? 0 : from->head.size());
  if (brought_ + more > most_brought) return false;

  held& kept = held_[id];
  kept.record.assign(frame.record.begin(), frame.record.end());
  kept.frame = frame;
  kept.frame.record = kept.record;
  kept.frame.options = {};
  if (!frame.options.empty()) {
    kept.frame.options =
        bytes(kept.record)
            .subspan(static_cast<std::size_t>(frame.options.data() - frame.record.data()), frame.options.size());
  }
  kept_head& head = heads_[from.get()];
  if (head.packets++ == 0) head.bytes = from->head.size();
  kept.from = from;
  brought_ += more;
  return true;
}

void ledger::forget(std::unordered_map<std::uint32_t, held>::iterator which) {
  if (which->second.from) {
    brought_ -= which->second.frame.options.size();
    const auto head = heads_.find(which->second.from.get());
    if (--head->second.packets == 0) {
      brought_ -= head->second.bytes;
      heads_.erase(head);
    }
  }
  held_.erase(which);
}

result<void> ledger::add_copy(std::uint32_t id, bytes copy) {
  const std::lock_guard lock(mutex_);
  const auto found = held_.find(id);
  if (found == held_.end()) return failed("duplicate packet", ENODEV);
  if (passed_) found->second.copies.emplace_back(copy.begin(), copy.end());
  return {};
}

result<void> ledger::write_held(const held& kept, const verdict& given) {
  const auto written = write_locked(kept.from, kept.frame, given);
  if ((!written && !given.payload().empty()) || !passed_ || !passes(given)) return written;
  for (const auto& copy : kept.copies) passed_->write(kept.from, kept.frame, copy);
  return written;
}

result<void> ledger::flush() {
  const std::lock_guard lock(mutex_);
  return passed_ ? passed_->flush() : result<void>{};
}

bool ledger::is_full() const {
  const std::lock_guard lock(mutex_);
  return passed_ && passed_->is_full();
}

result<void> ledger::make_room() {
  const std::lock_guard lock(mutex_);
  return passed_ && passed_->is_full() ? passed_->flush() : result<void>{};
}

tally ledger::of_held() const {
  const std::lock_guard lock(mutex_);
  return tally_;
}

void ledger::close() noexcept {
  const std::lock_guard lock(mutex_);
  if (passed_) static_cast<void>(passed_->flush());
  passed_.reset();
  closed_ = true;
  held_.clear();
  heads_.clear();
  last_.reset();
}

result<void> ledger::set_held_verdict(std::uint32_t id, const verdict& given) {
  const std::lock_guard lock(mutex_);
  if (closed_) return failed("set verdict", ENODEV);
  const auto found = held_.find(id);
  if (found == held_.end()) return failed("set verdict", EALREADY);
  const auto written = write_held(found->second, given);
  if (!written && !given.payload().empty()) return written;
  tally_.count(given);
  forget(found);
  return written;
}

void ledger::give_up_held(std::uint32_t id) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = held_.find(id);
  if (found == held_.end()) return;
  try {
    // What can't be written now is for the next flush to write, or to report.
    static_cast<void>(write_held(found->second, unanswered_));
  } catch (const std::bad_alloc&) {
  }
  tally_.count(unanswered_);
  ++tally_.unanswered;
  forget(found);
}

}  // namespace ipq::capture
