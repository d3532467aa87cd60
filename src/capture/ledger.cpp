// SPDX-License-Identifier: MIT
#include "capture/ledger.hpp"

#include <cerrno>
#include <new>

namespace ipq::capture {

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

void ledger::add_to_head(const std::shared_ptr<const section>& to, bytes record) {
  const std::lock_guard lock(mutex_);
  passed_->add_to_head(to, record);
}

void ledger::add(const std::shared_ptr<const section>& to, bytes record) {
  const std::lock_guard lock(mutex_);
  passed_->add(to, record);
}

void ledger::hold(std::uint32_t id, const std::shared_ptr<const section>& from, const original& frame) {
  const std::lock_guard lock(mutex_);
  held& kept = held_[id];
  if (!passed_) return;
  kept.from = from;
  kept.record.assign(frame.record.begin(), frame.record.end());
  kept.frame = frame;
  kept.frame.record = kept.record;
  kept.frame.options = {};
  if (!frame.options.empty()) {
    kept.frame.options =
        bytes(kept.record)
            .subspan(static_cast<std::size_t>(frame.options.data() - frame.record.data()), frame.options.size());
  }
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
}

result<void> ledger::set_held_verdict(std::uint32_t id, const verdict& given) {
  const std::lock_guard lock(mutex_);
  if (closed_) return failed("set verdict", ENODEV);
  const auto found = held_.find(id);
  if (found == held_.end()) return failed("set verdict", EALREADY);
  const auto written = write_held(found->second, given);
  if (!written && !given.payload().empty()) return written;
  tally_.count(given);
  held_.erase(found);
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
  held_.erase(found);
}

}  // namespace ipq::capture
