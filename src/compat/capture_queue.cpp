// SPDX-License-Identifier: MIT
#include "compat/capture_queue.hpp"

#include <algorithm>
#include <cerrno>
#include <new>

#include "compat/capture_handle.hpp"
#include "compat/translate.hpp"
#include "netlink/interfaces.hpp"
#include "wire/constants.hpp"

namespace ipq::compat {
namespace {

constexpr std::uint16_t type_ethernet = 1;  // ARPHRD_ETHER
constexpr std::uint16_t ethertype_ipv4 = 0x0800, ethertype_ipv6 = 0x86dd;

std::size_t index_of(bool ipv6) noexcept {
  return ipv6 ? 1 : 0;
}

/// What a bridge's queue had, and ip_queue never: it may be in a recording.
bool is_ip(const packet& which) noexcept {
  if (which.payload.empty()) return false;
  const auto version = static_cast<unsigned>(which.payload[0]) >> 4;
  const bool whole = which.truncated || which.payload.size() >= (version == 6 ? 40u : 20u);
  return whole && ((version == 4 && which.hw_protocol == ethertype_ipv4) ||
                   (version == 6 && which.hw_protocol == ethertype_ipv6));
}

}  // namespace

result<std::shared_ptr<capture_queue>> capture_queue::open(const capture_settings& wanted) {
  auto opened = capture_reader::open(wanted.in, {.hook = wanted.hook, .passed = wanted.out});
  if (!opened) return std::unexpected(opened.error());
  // The head of what passes goes out now: a child of fork(2) would write it once more.
  if (const auto begun = opened->flush(); !begun) return std::unexpected(begun.error());
  return std::shared_ptr<capture_queue>(new capture_queue(*std::move(opened), wanted.wait_at_end));
}

capture_queue::capture_queue(capture_reader&& from, bool wait_at_end)
    : from_(std::move(from)), wait_at_end_(wait_at_end), message_(wire::max_datagram) {}

capture_queue::member& capture_queue::member_of(const capture_handle& who) noexcept {
  return members_[index_of(who.ipv6())];
}

const capture_queue::member& capture_queue::member_of(const capture_handle& who) const noexcept {
  return members_[index_of(who.ipv6())];
}

result<netlink::socket> capture_queue::join(capture_handle& who) {
  auto opened = netlink::outbox::open();
  if (!opened) return std::unexpected(opened.error());
  const std::lock_guard locked(mutex_);
  member& joining = member_of(who);
  joining = {};
  joining.out.emplace(std::move(opened->first));
  joining.who = &who;
  return std::move(opened->second);
}

void capture_queue::leave(const capture_handle& who) {
  const std::lock_guard locked(mutex_);
  member_of(who) = {};
  const std::uint8_t family = who.ipv6() ? family_ipv6 : family_ipv4;
  std::erase_if(waiting_, [&](const auto& each) {
    if (each.second.facts.family != family) return false;
    // Another process may decide it yet.
    if (reads_ && !has_children_) static_cast<void>(places_.give_up(each.second.place, each.first));
    return true;
  });
  go_on();
}

void capture_queue::set_mode(const capture_handle& who, const copy_parameters& copies) {
  const std::lock_guard locked(mutex_);
  member& changed = member_of(who);
  changed.copies = copies;
  changed.listens = reads_ = true;
  if (copies.mode != IPQ_COPY_NONE) refill(changed);
  go_on();
}

void capture_queue::refuse_mode(const capture_handle& who, const mode_note& asked) {
  const std::lock_guard locked(mutex_);
  refuse(member_of(who), EINVAL, {.ipv6 = who.ipv6(), .mode = asked});
}

void capture_queue::taken(const capture_handle& who) {
  const std::lock_guard locked(mutex_);
  member& reader = member_of(who);
  if (reader.unread > 0) --reader.unread;
  reads_ = true;
  refill(reader);
  go_on();
}

std::optional<int> capture_queue::mark_taken(const capture_handle& who) {
  const std::lock_guard locked(mutex_);
  member& reader = member_of(who);
  reader.marked = false;
  if (held_back_) refill(reader);  // a child has made room
  return ended_ ? std::nullopt : std::optional(from_.fd());
}

void capture_queue::advance(const capture_handle& who, bool loses) {
  const std::lock_guard locked(mutex_);
  reads_ = true;
  refill(member_of(who), loses);
  go_on();
}

void capture_queue::refill(member& who, bool loses) {
  if (!who.out->is_there()) return;
  who.out->flush();
  while (who.listens && who.unread == 0 && !ended_ && arrive(loses)) {
  }
  if (who.unread != 0 || who.marked) return;
  if (ended_ ? wait_at_end_ && (!error_ || who.told) : held_back_ || !who.listens) return;
  who.out->post({});
  who.marked = true;
}

/// There may be a place for what was held back, and the end is for both to hear of.
void capture_queue::go_on() noexcept try {
  if (!reads_ || !(held_back_ || ended_)) return;
  for (member& each : members_) {
    if (each.who != nullptr && (ended_ || each.copies.mode != IPQ_COPY_NONE)) refill(each);
  }
} catch (const std::bad_alloc&) {
  // The next read tries again.
}

/// What comes next it alone can tell.
void capture_queue::wake_parent() noexcept try {
  for (member& each : members_) {
    if (each.who != nullptr && each.out->is_there()) each.out->post({});
  }
} catch (const std::bad_alloc&) {
  // It looks again after a while.
}

/// False: the next packet is not there yet, or is held back.
bool capture_queue::arrive(bool loses) {
  if (!arriving_ || next_arriving_ == arriving_->size()) {
    arriving_.reset();
    next_arriving_ = 0;
    const auto received = from_.try_receive();
    if (!received) {
      if (received.error().is(ETIMEDOUT)) return false;
      if (received.error().is(ENOMEM)) throw std::bad_alloc();  // and may be tried again
      if (received.error().is(EINTR)) return true;
      if (!received.error().is(ENODATA)) error_ = received.error();
      ended_ = true;
      return true;
    }
    arriving_ = *received;
    return true;
  }
  held_back_ = !take_in((*arriving_)[next_arriving_], loses);
  if (!held_back_) ++next_arriving_;  // not where memory was short: then it comes once more
  return !held_back_;
}

/// False: the queue is full.
bool capture_queue::take_in(const packet& next, bool loses) {
  if (!is_ip(next)) return true;  // unanswered, which drops it
  // Not by its family, which is a bridge's where a bridge was recorded: ip_queue knew none.
  const bool is_ipv6 = next.hw_protocol == ethertype_ipv6;
  const std::size_t index = index_of(is_ipv6);
  const member& whose = members_[index];
  if (whose.who == nullptr || whose.copies.mode == IPQ_COPY_NONE) {
    if (capture_handle* const other = members_[1 - index].who; whose.who == nullptr && other != nullptr) {
      other->count_wrong_family();
    }
    return true;  // unanswered, too
  }
  if (is_full()) {
    if (!loses) return false;
    ++lost_;
    if (fail_open()) static_cast<void>(from_.set_verdict(next, verdict::accept()));
    return true;
  }
  // All that takes memory comes before it is held.
  waiting_packets one;
  waiting_packet& made = one[0];
  made.payload.assign(next.payload.begin(), next.payload.end());
  auto held = from_.hold(next);
  if (!held && held.error().is(ENOMEM)) throw std::bad_alloc();
  if (!held) return true;
  made.held = *std::move(held);
  made.facts = next;
  made.facts.payload = made.facts.l2_header = made.facts.conntrack = {};
  made.facts.security_context = {};
  made.facts.family = is_ipv6 ? family_ipv6 : family_ipv4;
  enqueue(index, one.extract(one.begin()));
  return true;
}

bool capture_queue::is_full() {
  if (waiting_.size() < limit()) return false;
  if (!has_children_) return true;
  places_.want();  // and then looks
  std::erase_if(waiting_, [&](const auto& each) { return !places_.has(each.second.place, each.first); });
  return waiting_.size() >= limit();
}

void capture_queue::enqueue(std::size_t index, waiting_packets::node_type&& made) {
  member& whose = members_[index];
  waiting_packet& queued = made.mapped();
  ipq::packet& facts = queued.facts;
  facts.id = made.key() = ++last_id_;
  queued.place = places_.take(facts.id, limit());
  queued.received = std::min<std::size_t>(queued.payload.size(), whose.copies.range);
  facts.payload = std::span(queued.payload).first(queued.received);
  const auto find = [&](std::uint32_t device, netlink::name_room into) -> std::uint16_t {
    const std::string_view name = from_.interface_name(device);
    name.copy(into.data(), into.size() - 1);
    return facts.hw_addr_length == 6 ? type_ethernet : 0;
  };
  const std::size_t length = write_packet(facts, find, std::span(message_));
  facts.payload = {};
  waiting_.insert(std::move(made));
  post(whose, std::span(message_).first(length));
}

void capture_queue::post(member& who, std::span<const unsigned char> message) {
  if (!who.out->is_there()) return;
  who.out->post(std::as_bytes(message));
  ++who.unread;
}

void capture_queue::refuse(member& who, int code, const request_note& note) {
  std::array<unsigned char, 128> message;
  const std::size_t length = write_refusal(code, note, who.who->local.nl_pid, message);
  post(who, std::span(message).first(length));
}

result<int> capture_queue::decide(const capture_handle& who, const verdict_note& asked,
                                  std::optional<std::uint32_t> mark, std::span<const std::byte> replacement) {
  const std::lock_guard locked(mutex_);
  const auto refused = [&](int code) {
    refuse(member_of(who), code, {.ipv6 = who.ipv6(), .verdict = asked});
    return code;
  };
  if (is_invalid_verdict(asked.value)) return refused(EINVAL);
  const auto found = waiting_.find(asked.id);
  const std::uint8_t family = who.ipv6() ? family_ipv6 : family_ipv4;
  if (found == waiting_.end() || found->second.facts.family != family) return refused(ENOENT);

  waiting_packet& decided = found->second;
  bool drops = asked.value == verdict_drop || asked.value == verdict_stolen || replacement.size() > wire::max_payload;
  if (!drops && replacement.size() >= least_replacement(who.ipv6())) {
    const bool as_it_was = replacement.size() == decided.received &&
                           std::ranges::equal(replacement, std::span(decided.payload).first(decided.received));
    if (decided.facts.truncated) {
      // The capture does not have its end, so a change can't be applied to the whole of it.
      drops = !as_it_was;
    } else if (!as_it_was || decided.received != decided.payload.size()) {
      decided.payload.assign(replacement.begin(), replacement.end());
      decided.replaced = true;
    }
  }
  if (mark) decided.facts.mark = *mark;
  auto packet = waiting_.extract(found);
  if (!places_.give_up(packet.mapped().place, asked.id)) return refused(ENOENT);
  if (!drops && (asked.value == verdict_queue || asked.value == verdict_repeat)) {
    // Through the same rule once more: it arrives again, or is dropped as what arrives in this mode.
    if (member_of(who).copies.mode != IPQ_COPY_NONE) {
      enqueue(index_of(who.ipv6()), std::move(packet));
      return 0;
    }
    drops = true;
  }
  const auto gone = let_go(std::move(packet.mapped()), !drops);
  go_on();
  if (!reads_ && places_.take_want()) wake_parent();
  if (!gone) return std::unexpected(gone.error());
  return 0;
}

result<void> capture_queue::let_go(waiting_packet&& packet, bool accepted) {
  const verdict plain = accepted ? verdict::accept() : verdict::drop();
  const verdict given = accepted && packet.replaced ? plain.with_payload(packet.payload) : plain;
  if (const auto set = std::move(packet.held).set_verdict(given); !set) return set;
  return from_.flush();
}

std::optional<error> capture_queue::take_error(const capture_handle& who) {
  const std::lock_guard locked(mutex_);
  return std::exchange(member_of(who).told, true) ? std::nullopt : error_;
}

bool capture_queue::is_cut_off(const capture_handle& who) const {
  const std::lock_guard locked(mutex_);
  return !member_of(who).out->is_there();
}

bool capture_queue::has_children() const {
  const std::lock_guard locked(mutex_);
  return has_children_;
}

bool capture_queue::holds_back() const {
  const std::lock_guard locked(mutex_);
  return held_back_;
}

std::size_t capture_queue::waiting() const {
  const std::lock_guard locked(mutex_);
  return static_cast<std::size_t>(
      std::ranges::count_if(waiting_, [&](const auto& each) { return places_.has(each.second.place, each.first); }));
}

std::uint32_t capture_queue::lost_queue_full() const {
  const std::lock_guard locked(mutex_);
  return lost_;
}

std::uint32_t capture_queue::limit() const noexcept {
  std::uint32_t most = 0;
  for (const auto& each : members_) {
    if (each.who != nullptr) most = std::max(most, each.who->options().max_length);
  }
  return most;
}

bool capture_queue::fail_open() const noexcept {
  return std::ranges::any_of(members_,
                             [](const member& each) { return each.who != nullptr && each.who->options().fail_open; });
}

}  // namespace ipq::compat
