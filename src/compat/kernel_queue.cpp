// SPDX-License-Identifier: MIT
#include "compat/kernel_queue.hpp"

#include <time.h>

#include <algorithm>
#include <cerrno>

#include "compat/kernel_handle.hpp"
#include "netlink/owner.hpp"
#include "netlink/signals_off.hpp"
#include "wire/packet.hpp"
#include "wire/verdict.hpp"

namespace ipq::compat {
namespace {

std::size_t index_of(bool ipv6) noexcept {
  return ipv6 ? 1 : 0;
}

/// The kernel passes over an unknown mode; what it refuses in any case is this command, and with another error where
/// the queue is somebody else's.
wire::config refused_config(std::uint16_t queue) noexcept {
  return {.queue = queue, .command = wire::config_command::none};
}

iovec part_of(std::span<const std::byte> bytes) noexcept {
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};
}

}  // namespace

/// Verdicts may be given in signal handlers: none runs in this thread while it holds the mutex.
class kernel_queue::lock {
 public:
  explicit lock(kernel_queue& locked) : locked_(locked.mutex_) {}

 private:
  const netlink::signals_off no_handlers_;
  const std::lock_guard<std::mutex> locked_;
};

result<std::shared_ptr<kernel_queue>> kernel_queue::open(const netlink::socket_source& source, std::uint16_t number) {
  auto opened = source.open(NETLINK_NETFILTER);
  if (!opened) return std::unexpected(opened.error());
  return std::shared_ptr<kernel_queue>(new kernel_queue(source, number, *std::move(opened)));
}

bool kernel_queue::is_here() const {
  const auto here = source_.open(NETLINK_NETFILTER);
  return !here || here->network_namespace() == connection().network_namespace();
}

void kernel_queue::set_receive_buffer() noexcept {
  // What a packet of 64 KiB costs, with attributes and the kernel's own structures, each rounded up to a power of two.
  constexpr std::size_t per_packet = 128 << 10;
  wanted_buffer_ = per_packet * std::max(members_[0].max_length, members_[1].max_length);
  granted_buffer_ = connection().set_receive_buffer(wanted_buffer_);
}

void kernel_queue::max_length_changed(const kernel_handle& who) {
  const lock locked(*this);
  members_[index_of(who.ipv6())].max_length = who.options().max_length;
  set_receive_buffer();
}

result<void> kernel_queue::join(kernel_handle& who, netlink::socket& readable) {
  const std::size_t index = index_of(who.ipv6());
  kernel_handle* const other = members_[1 - index].who;
  auto reader = shared_            ? relay_->open_reader(index)
                : other != nullptr ? share_with_relay(*other)
                                   : result<netlink::socket>(std::move(opened_));
  if (!reader) return std::unexpected(reader.error());
  if (!readable) {
    readable = *std::move(reader);
  } else if (const auto replaced = readable.replace(*std::move(reader)); !replaced) {
    leave(who);
    return replaced;
  }
  if (!shared_) members_own_ = netlink::socket(readable.fd());
  const lock locked(*this);
  members_[index] = {.who = &who, .max_length = who.options().max_length};
  forget_mode(index);
  if (members_[1 - index].max_length < members_[index].max_length) set_receive_buffer();
  return {};
}

result<netlink::socket> kernel_queue::share_with_relay(kernel_handle& first) {
  auto behind = members_own_.duplicate();
  if (!behind) return behind;
  // Behind the relay that reads it, whatever is refused or has no memory.
  const auto close = [](kernel_queue* of) {
    if (!of->shared_) of->behind_relay_ = netlink::socket();
  };
  const std::unique_ptr<kernel_queue, decltype(close)> unless_shared(this, close);
  behind_relay_ = *std::move(behind);
  auto created =
      netlink::relay::create(behind_relay_, [this](std::span<std::byte>& datagram) { return route(datagram); });
  if (!created) return std::unexpected(created.error());
  // Everything that may be refused comes before the first member's descriptor is another one.
  undecided_.reserve(first.options().max_length);
  auto firsts = (*created)->open_reader(index_of(first.ipv6()));
  if (!firsts) return firsts;
  auto seconds = (*created)->open_reader(index_of(!first.ipv6()));
  if (!seconds) return seconds;
  relay_ = *std::move(created);
  {
    const lock locked(*this);
    alone_ = index_of(first.ipv6());
  }
  // What a signal announces is to be found behind the descriptor.
  auto nothing_is_forwarded = std::optional(relay_->pause());
  // Before the first member reads from it: without its thread nothing would come there.
  auto done = relay_->start();
  if (done) {
    // From here on verdicts are noted; packets that were read before are the first's and not known by id.
    shared_ = true;
    const netlink::signals_off no_handlers;
    done = first.read_from_relay(*std::move(firsts));
    nothing_is_forwarded.reset();
  }
  nothing_is_forwarded.reset();
  if (!done) {
    shared_ = false;
    relay_.reset();
    return std::unexpected(done.error());
  }
  first.stop_reading_ahead();
  wake_direct_reads(first);
  const lock locked(*this);
  last_unshared_ = first.last_read_directly();
  reader_unshared_ = index_of(first.ipv6());
  return seconds;
}

void kernel_queue::wake_direct_reads(const kernel_handle& first) {
  // Who waits on the netlink socket would go on to, while the relay takes what arrives there. A refusal of our own
  // wakes one reader a time; it finds nothing for the program and waits again, where the descriptor leads now. The
  // number of tries is bounded since a read that was left by longjmp counts for ever.
  for (int tries = 0; tries < 100; ++tries) {
    provoke_refusal();
    if (!first.direct_reads()) return;
    constexpr timespec a_moment{0, 1'000'000};
    ::nanosleep(&a_moment, nullptr);
  }
}

void kernel_queue::provoke_refusal() {
  static_cast<void>(ask(refused_config(number_), {.internal = true, .mode = mode_note{}}));
}

void kernel_queue::leave(const kernel_handle& who) {
  const std::size_t index = index_of(who.ipv6());
  if (relay_) relay_->close_reader(index);
  std::optional<std::uint32_t> left_unshared;
  {
    const lock locked(*this);
    members_[index] = {};
    if (alone_ == index) alone_.reset();
    // A child of fork() that lets go of its copy must not judge the packets of its parent.
    if (members_[1 - index].who == nullptr || !relay_ || (inherited_ && !relay_->serves())) return;
    if (reader_unshared_ == index) left_unshared = std::exchange(last_unshared_, std::nullopt);
    const bool may_go_on_elsewhere = told_->processes != 1;
    if (!may_go_on_elsewhere) forget_mode(index);
    wire::config wanted = needed_config();
    // Another process may go on with this member, as a child that has become a daemon: it needs the data and the
    // length.
    if (may_go_on_elsewhere) {
      wanted.copy.reset();
      wanted.max_length.reset();
    }
    // What can fail is memory; the kernel then goes on with more than is needed.
    if (told_->modes[1 - index].set && bound()) {
      static_cast<void>(ask(wanted, {.internal = true, .mode = mode_note{}}));
    }
  }
  if (left_unshared) drop(*left_unshared, true);
  for (std::size_t at = 0;;) {
    std::array<std::uint32_t, 64> left;
    std::size_t count = 0;
    {
      const lock locked(*this);
      count = undecided_.take(index, left, at);
    }
    if (count == 0) return;
    for (const std::uint32_t id : std::span(left).first(count)) drop(id);
  }
}

result<void> kernel_queue::ask(wire::config wanted, const request_note& note) const {
  const note_fields fields = write_note(note);
  wanted.sequence = fields.sequence;
  wanted.port_id = fields.port_id;
  alignas(4) std::byte request[wire::max_config_size];
  const std::size_t length = wire::encode_config(wanted, request);
  return connection().send(std::span<const std::byte>(request, length));
}

result<bool> kernel_queue::ask_for_access() {
  if (accessible_) return true;
  const auto access = netlink::probe_queue_access(beside_);
  // ip_queue's socket refused the connection when the module was missing. Other errors, as a missing right, come with
  // the request itself.
  if (!access && access.error().is(ENOSYS)) return failed("set mode", ECONNREFUSED);
  if (access) accessible_ = true;
  return access || !access.error().is(EPERM);
}

bool kernel_queue::may_be_used() const {
  const auto access = netlink::probe_queue_access(beside_);
  return access || (!access.error().is(EPERM) && accessible_);
}

bool kernel_queue::was_denied(const mode_note& note) const noexcept {
  const std::uint32_t denied = denied_attempt_;
  // Numbers of attempts are compared by their distance, and wrap. The right was missing each time up to that one.
  return denied != 0 && !is_invalid_mode(note.mode) && ((denied - note.attempt) & bind_attempt_mask) < 1U << 19;
}

void kernel_queue::look_for_refused_bind() {
  // The kernel has answered when send returns, so a refused bind is the first thing that the socket holds: before it
  // there were no packets.
  std::byte beginning[64];
  const auto first = connection().peek(beginning);
  if (!first) return;
  wire::bytes datagram(beginning, std::min(first->length, sizeof beginning));
  const auto message = wire::next_message(datagram);
  const auto reply = message ? wire::parse_error(*message) : std::nullopt;
  const auto note = reply ? read_note(*reply) : std::nullopt;
  if (note && note->mode) note_refused_mode(*note->mode, reply->code);
}

void kernel_queue::forget_mode(std::size_t index) noexcept {
  told_->modes[index].set = false;
  told_->modes[index].copies = copy_parameters{};
}

copy_parameters kernel_queue::needed_copies() const noexcept {
  copy_parameters needed;
  for (const auto& each : told_->modes) {
    const copy_parameters copies = each.copies;
    needed.mode = std::max(needed.mode, copies.mode);
    needed.range = std::max(needed.range, copies.range);
  }
  return needed;
}

bool kernel_queue::has_mode(std::size_t index) const noexcept {
  return members_[index].who != nullptr && told_->modes[index].set;
}

queue_limits kernel_queue::needed_limits() const noexcept {
  queue_limits needed;
  for (std::size_t index = 0; index < members_.size(); ++index) {
    if (!has_mode(index)) continue;
    const settings& options = members_[index].who->options();
    needed.max_length = std::max(needed.max_length, options.max_length);
    needed.fail_open = needed.fail_open || options.fail_open;
  }
  return needed;
}

wire::config kernel_queue::needed_config() const noexcept {
  const copy_parameters copies = needed_copies();
  const queue_limits limits = needed_limits();
  wire::config needed{.queue = number_};
  needed.copy = {static_cast<wire::copy_mode>(copies.mode), copies.range};
  needed.max_length = limits.max_length;
  // Where there was another handle, the kernel may have what that one wanted.
  if (limits.fail_open || shared_)
    needed.flags = {limits.fail_open ? wire::queue_fail_open : 0U, wire::queue_fail_open};
  return needed;
}

queue_limits kernel_queue::limits(const kernel_handle& who) {
  const lock locked(*this);
  if (!has_mode(0) && !has_mode(1)) {
    return {.max_length = who.options().max_length, .fail_open = who.options().fail_open};
  }
  return needed_limits();
}

result<void> kernel_queue::set_mode(const kernel_handle& who, const copy_parameters& copies, std::size_t given_range) {
  const auto access = ask_for_access();
  if (!access) return std::unexpected(access.error());
  const auto noted_range = static_cast<std::uint32_t>(std::min<std::size_t>(given_range, UINT32_MAX));
  const mode_note note{.mode = copies.mode, .range = noted_range};
  if (is_invalid_mode(copies.mode)) return ask(refused_config(number_), {.ipv6 = who.ipv6(), .mode = note});
  if (!shared_) look_for_refused_bind();
  const lock locked(*this);
  const std::size_t index = index_of(who.ipv6());
  told_->modes[index].copies = copies;
  told_->modes[index].set = true;
  if (!*access) denied_attempt_ = told_->bind_attempt + (bound() ? 0 : 1);
  return send_mode(index, note);
}

void kernel_queue::make_room_for_undecided(std::uint32_t max_length) noexcept {
  try {
    undecided_.reserve(max_length);
  } catch (const std::bad_alloc&) {
    // then the oldest of more are forgotten, and wait until the queue is closed
  }
}

result<void> kernel_queue::send_mode(std::size_t index, mode_note note) {
  member& setting = members_[index];
  const copy_parameters copies = told_->modes[index].copies;
  wire::config wanted = needed_config();
  if (shared_) make_room_for_undecided(*wanted.max_length);
  // Between members the relay tells packets of the old mode from those of the new by the kernel's answer between them,
  // which reaches the process whose relay serves.
  wanted.acknowledge = shared_;
  if (!shared_ || (inherited_ && !relay_->serves())) setting.arriving = copies;
  note.binds = !told_->bound.exchange(true);
  note.attempt = note.binds ? ++told_->bind_attempt : told_->bind_attempt.load();
  if (note.binds) {
    wanted.command = wire::config_command::bind;
    // The right to more may have come since; what the program has set is let alone.
    if (granted_buffer_ < wanted_buffer_ && connection().receive_buffer() == granted_buffer_) set_receive_buffer();
    // Refused only where the socket is no socket of the kernel's, as in tests.
    static_cast<void>(connection().set_timestamps(true));
  }
  const std::uint32_t drops = shared_ ? connection().drops() : 0;
  const auto sent = ask(wanted, {.ipv6 = index == index_of(true), .mode = note});
  // While messages are lost the kernel's answer may be one of them, and the old mode must not stay.
  if (shared_ && connection().drops() != drops) setting.arriving = copies;
  if (!sent && note.binds) told_->bound = false;
  return sent;
}

result<void> kernel_queue::send_verdict(const verdict_request& request) {
  const bool invalid = is_invalid_verdict(request.asked.value);
  if (!invalid && shared_.load(std::memory_order_relaxed)) [[unlikely]] {
    const lock locked(*this);
    undecided_.erase(request.asked.id);
  }
  const std::uint32_t value =
      request.value == verdict_queue ? request.value | std::uint32_t{number_} << 16 : request.value;
  alignas(8) std::byte head[wire::max_verdict_size];
  const note_fields fields = write_note({.ipv6 = request.ipv6, .verdict = request.asked});
  wire::verdict answer{.queue = number_,
                       .id = request.asked.id,
                       .value = value,
                       .batch = invalid,  // tells read_note how the note was written; refused it does nothing
                       .acknowledge = fields.acknowledge,
                       .sequence = fields.sequence,
                       .port_id = fields.port_id,
                       .mark = request.mark};
  if (!request.replacement.empty()) answer.payload_length = request.replacement.size();
  const std::size_t length = wire::encode_verdict(answer, head);
  const std::span<const std::byte> message(head, length);
  if (request.replacement.empty()) return connection().send(message);
  const iovec parts[] = {part_of(message), part_of(request.replacement)};
  return connection().send(std::span(parts));
}

void kernel_queue::drop(std::uint32_t id, bool all) {
  const note_fields fields =
      write_note({.internal = true, .verdict = verdict_note{.id = id, .value = verdict_drop, .data_len = 0}});
  alignas(4) std::byte message[wire::max_verdict_size];
  const std::size_t length = wire::encode_verdict({.queue = number_,
                                                   .id = id,
                                                   .value = verdict_drop,
                                                   .batch = all,
                                                   .sequence = fields.sequence,
                                                   .port_id = all ? verdict_drop : fields.port_id},  // see read_note
                                                  message);
  // What can fail is memory; the packet then waits until the queue is closed, which drops it.
  static_cast<void>(connection().send(std::span<const std::byte>(message, length)));
}

bool kernel_queue::pass_on(std::span<std::byte> datagram) {
  if (!shared_) return false;
  relay_->deliver(datagram);
  return true;
}

void kernel_queue::note_refused_mode(const mode_note& note, int code) noexcept {
  if (is_invalid_mode(note.mode)) return;  // which says nothing of the queue
  if (note.attempt != (told_->bind_attempt & bind_attempt_mask)) return;
  if (note.binds || code == ENODEV || code == EPERM) told_->bound = false;
}

bool kernel_queue::mend_refused_mode(bool ipv6, const mode_note& note, int code) {
  const bool not_bound = code == ENODEV && !note.binds;    // as the bind before it was refused, unread so far
  const bool bound_already = code == EBUSY && note.binds;  // by another process, or before the right was lost
  if (is_invalid_mode(note.mode) || (!not_bound && !bound_already)) return false;
  const std::size_t index = index_of(ipv6);
  const lock locked(*this);
  if (note.attempt != (told_->bind_attempt & bind_attempt_mask)) return true;  // all modes went with that one
  const copy_parameters refused = parameters_of(note.mode, note.range), wanted = told_->modes[index].copies;
  if (refused.mode != wanted.mode || refused.range != wanted.range) return true;  // the newer one comes here, too
  told_->bound = bound_already;
  return send_mode(index, note).has_value();
}

std::optional<std::size_t> kernel_queue::route(std::span<std::byte>& datagram) {
  wire::bytes rest = datagram;
  const auto message = wire::next_message(rest);
  if (!message) return std::nullopt;
  if (message->type == wire::message_packet) return route_packet(datagram);
  const auto reply = wire::parse_error(*message);
  const auto note = reply ? read_note(*reply) : std::nullopt;
  if (!note || note->internal) return std::nullopt;
  if (reply->code == 0) {
    if (note->mode) note_accepted_mode(note->ipv6, *note->mode);
    return std::nullopt;
  }
  if (note->mode) {
    if (mend_refused_mode(note->ipv6, *note->mode, reply->code)) return std::nullopt;
    note_refused_mode(*note->mode, reply->code);
  }
  return index_of(note->ipv6);
}

void kernel_queue::note_accepted_mode(bool ipv6, const mode_note& note) {
  const lock locked(*this);
  members_[index_of(ipv6)].arriving = parameters_of(note.mode, note.range);
  alone_.reset();
}

std::optional<std::size_t> kernel_queue::route_packet(std::span<std::byte>& datagram) {
  wire::bytes rest = datagram;
  const auto message = wire::next_message(rest);
  const auto queued = message ? wire::parse_packet(*message) : std::nullopt;
  if (!queued) return std::nullopt;
  const bool known = queued->family == family_ipv4 || queued->family == family_ipv6;
  const std::size_t index = index_of(queued->family == family_ipv6);
  {
    const lock locked(*this);
    // Ids are compared by their distance, and wrap.
    if (last_unshared_ && queued->id - *last_unshared_ > 1U << 30) last_unshared_.reset();
    const member& whose = members_[index];
    const bool as_copied = alone_ == index;
    if (known && whose.who != nullptr && (as_copied || whose.arriving.mode != IPQ_COPY_NONE)) {
      if (!as_copied) datagram = wire::trim_payload(datagram, *queued, whose.arriving.range);
      undecided_.insert(queued->id, index);
      return index;
    }
    kernel_handle* const other = members_[1 - index].who;
    if (kernel_handle* const counts = other != nullptr ? other : whose.who) counts->count_wrong_family();
  }
  drop(queued->id);
  return std::nullopt;
}

void kernel_queue::before_fork() {
  if (relay_) relay_->before_fork();
  mutex_.lock();
  ++told_->processes;
}

void kernel_queue::after_fork_in_parent() {
  mutex_.unlock();
  if (relay_) relay_->after_fork_in_parent();
}

void kernel_queue::after_fork_in_child() {
  inherited_ = true;
  // Where this process's relay comes to serve, it has not seen the answers that its parent's saw.
  alone_.reset();
  for (std::size_t index = 0; index < members_.size(); ++index) members_[index].arriving = told_->modes[index].copies;
  mutex_.unlock();
  if (relay_) relay_->after_fork_in_child();
}

}  // namespace ipq::compat
