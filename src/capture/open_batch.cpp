// SPDX-License-Identifier: MIT
#include "capture/open_batch.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <new>

namespace ipq::capture {

open_batch::open_batch(const verdict& unanswered)
    : unanswered_(unanswered), ledger_(std::make_shared<ledger>(unanswered)) {
  packets_.reserve(most);
  frames_.reserve(most);
  answers_.reserve(most);
  originals_.reserve(most);
}

open_batch::~open_batch() {
  static_cast<void>(finish());
  ledger_->close();
}

result<void> open_batch::finish() {
  if (undecided_ != 0) {
    for (std::size_t i = 0; i < answers_.size(); ++i) {
      if (answers_[i] != answer::undecided) continue;
      answers_[i] = answer::decided;
      --undecided_;
      tally_.count(unanswered_);
      ++tally_.unanswered;
      // What can't be written stays in the ledger; make_room says so.
      if (writes()) static_cast<void>(ledger_->write(section_, originals_[i], unanswered_));
    }
  }
  if (const auto made = ledger_->make_room(); !made) return made;
  packets_.clear();
  frames_.clear();
  answers_.clear();
  originals_.clear();
  return {};
}

std::optional<std::size_t> open_batch::find(const packet& which) const noexcept {
  const std::less<const packet*> before;
  if (!packets_.empty() && !before(&which, packets_.data()) && before(&which, packets_.data() + packets_.size())) {
    return static_cast<std::size_t>(&which - packets_.data());
  }
  // A copy of the packet. Every capture counts its ids from 1: only the bytes tell.
  const auto same = std::ranges::find(packets_, which.id, &packet::id);
  if (same == packets_.end()) return std::nullopt;
  const auto a = same->payload, b = which.payload;
  if (a.empty() || a.size() != b.size() || (a.data() != b.data() && std::memcmp(a.data(), b.data(), a.size()) != 0)) {
    return std::nullopt;
  }
  return static_cast<std::size_t>(same - packets_.begin());
}

result<std::size_t> open_batch::find_undecided(const packet& which, const char* operation) const noexcept {
  const auto found = find(which);
  if (!found) return failed(operation, EINVAL);
  if (answers_[*found] != answer::undecided) return failed(operation, EALREADY);
  return *found;
}

result<void> open_batch::set_verdict(const packet& which, const verdict& given) {
  const auto found = find_undecided(which, "set verdict");
  if (!found) return std::unexpected(found.error());
  if (given.payload().size() > verdict::max_payload) return failed("set verdict", EINVAL);
  if (!given.payload().empty() && packets_[*found].truncated) return failed("set verdict", EMSGSIZE);
  result<void> written;
  if (writes()) {
    written = ledger_->write(section_, originals_[*found], given);
    if (!written && !given.payload().empty()) return written;
  }
  answers_[*found] = answer::decided;
  --undecided_;
  tally_.count(given);
  return written;
}

result<held_packet> open_batch::hold(const packet& which) {
  const auto found = find_undecided(which, "hold packet");
  if (!found) return std::unexpected(found.error());
  try {
    const bool has_room = ledger_->hold(packets_[*found].id, section_, writes() ? originals_[*found] : original{});
    if (!has_room) return failed("hold packet", ENOMEM);
  } catch (const std::bad_alloc&) {
    return failed("hold packet", ENOMEM);
  }
  answers_[*found] = answer::held;
  --undecided_;
  return held_packet(ledger_, packets_[*found].id, packets_[*found].truncated);
}

result<void> open_batch::duplicate(const packet& which, bytes copy) {
  const auto found = find(which);
  if (!found || answers_[*found] == answer::undecided || copy.size() > verdict::max_payload) {
    return failed("duplicate packet", EINVAL);
  }
  if (answers_[*found] == answer::held) return ledger_->add_copy(packets_[*found].id, copy);
  if (!writes()) return {};
  return ledger_->write(section_, originals_[*found], verdict::accept().with_payload(copy));
}

const capture_frame* open_batch::frame_of(const packet& which) const noexcept {
  const auto found = find(which);
  return found ? &frames_[*found] : nullptr;
}

tally open_batch::verdicts() const {
  tally all = ledger_->of_held();
  all += tally_;
  return all;
}

}  // namespace ipq::capture
