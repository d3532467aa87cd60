// SPDX-License-Identifier: MIT
#include "compat/kernel_handle.hpp"

#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "compat/translate.hpp"
#include "netlink/cancellation.hpp"
#include "netlink/counters.hpp"
#include "netlink/owner.hpp"
#include "wire/packet.hpp"

namespace ipq::compat {
namespace {

/// So many of the other family are read by a read that does not wait.
constexpr int most_foreign = 64;

constexpr std::array verdict_names{"drop", "accept", "stolen", "queue", "repeat", "stop"};

/// Room that parse_packet fills as a whole: zeroing it before would cost as much again.
union packet_room {
  packet_room() noexcept {}
  ipq::packet packet;
};

}  // namespace

result<void> kernel_handle::open(std::uint16_t number, handle* other) {
  auto joined = other != nullptr ? other->through_kernel() : nullptr;
  if (!joined || joined->number() != number || !joined->is_here()) {
    auto opened = kernel_queue::open(source_, number);
    if (!opened) return std::unexpected(opened.error());
    joined = *std::move(opened);
  }
  if (const auto done = joined->join(*this, readable_); !done) return done;
  leave();
  last_read_directly_ = 0;
  relayed_ = joined->shared();
  queue_ = std::move(joined);
  interfaces_.open(queue_->beside());
  set_number(number);
  fd = readable_.fd();
  local.nl_pid = queue_->connection().port_id();
  return {};
}

result<void> kernel_handle::read_from_relay(netlink::socket&& reader) {
  if (const auto replaced = readable_.replace(std::move(reader)); !replaced) return replaced;
  relayed_ = true;
  return {};
}

void kernel_handle::stop_reading_ahead() {
  if (!ahead_) return;
  static_cast<void>(ahead_->flush(queue_->connection()));
  give_up_reading_ahead();
}

void kernel_handle::give_up_reading_ahead() {
  ahead_->give_up([&](std::span<std::byte> datagram) { queue_->pass_on(datagram); });
}

/// Counts a read that is about to wait on the netlink socket itself, as it may still do when a relay takes that over.
class kernel_handle::waiting_read {
 public:
  explicit waiting_read(kernel_handle& by) noexcept : count_(by.relayed_ ? nullptr : &by.direct_reads_) {
    if (count_ != nullptr) ++*count_;
  }
  ~waiting_read() {
    if (count_ != nullptr) --*count_;
  }
  waiting_read(const waiting_read&) = delete;
  waiting_read& operator=(const waiting_read&) = delete;

 private:
  std::atomic<int>* count_;
};

void kernel_handle::leave() {
  if (!queue_) return;
  if (ahead_) static_cast<void>(ahead_->flush(queue_->connection()));
  queue_->leave(*this);
  queue_.reset();
}

void kernel_handle::after_fork_in_child() noexcept {
  handle::after_fork_in_child();
  interfaces_.after_fork_in_child();
  if (ahead_) ahead_->forget();
}

ssize_t kernel_handle::read(std::span<unsigned char> into, int timeout) {
  using clock = std::chrono::steady_clock;
  if (into.size() < min_read_buffer) return fail(IPQ_ERR_RECVBUF, "read");
  const int errno_before = errno;
  const auto timed_out = [&] {
    errno = errno_before;
    set_thread_error(IPQ_ERR_TIMEOUT);  // no error of the handle's: what it said last stays to be read
    return 0;
  };
  std::optional<clock::time_point> deadline;
  int foreign = 0;
  // On the stack, so that threads, signal handlers and longjmp need no care, and untouched where nothing is received.
  alignas(8) std::byte buffer[wire::max_datagram];
  // Packets of the other family may come without end, each of which is nothing to the program.
  const auto is_over = [&] {
    if (timeout <= 0) return timeout < 0 && ++foreign == most_foreign;
    if (!deadline) deadline = clock::now() + std::chrono::microseconds(timeout);
    return clock::now() >= *deadline;
  };
  for (;;) {
    // Without waiting first: a reader that is behind finds something, and one that is not has the time to ask again.
    if (ahead_) {
      ::pthread_testcancel();
      const netlink::cancellation_off uninterrupted;  // what was received is not to be lost with the thread
      const auto length = ahead_->read(readable_, queue_->connection(), !relayed_,
                                       [&](auto datagram) { return translate(datagram, into); });
      if (relayed_) [[unlikely]]
        give_up_reading_ahead();  // by this thread, if the other family's handle came while it read
      if (length) {
        errno = errno_before;
        return *length;
      }
    }
    auto received = readable_.receive(buffer, netlink::waiting::not_at_all);
    if (!received && received.error().is(EAGAIN)) {
      if (timeout < 0) return timed_out();
      const waiting_read counted(*this);
      if (timeout > 0) {
        if (!deadline) deadline = clock::now() + std::chrono::microseconds(timeout);
        const auto ready = readable_.wait_readable(*deadline);
        if (ready) continue;
        if (ready.error().is(ETIMEDOUT)) return timed_out();
        if (ready.error().is(EINTR)) return 0;  // errno says so, the library's error does not: as ever
        return fail(IPQ_ERR_RECV, "read");
      }
      received = readable_.receive(buffer, netlink::waiting::until_something_comes);
    }
    if (received) {
      if (received->length == 0) return fail(IPQ_ERR_NLEOF, "read");
      if (ahead_ && !relayed_) {
        const netlink::cancellation_off uninterrupted;
        ahead_->taken_elsewhere(readable_);
      }
      const auto length = translate(std::span(buffer, received->length), into);
      if (!length && is_over()) return timed_out();
      if (!length) continue;
      errno = errno_before;
      return *length;
    }
    if (received.error().is(ENOBUFS)) continue;  // counted by the kernel; see stats
    return fail(IPQ_ERR_RECV, "read");
  }
}

std::optional<ssize_t> kernel_handle::translate(std::span<std::byte> datagram, std::span<unsigned char> into) {
  wire::bytes rest = datagram;
  const auto message = wire::next_message(rest);
  if (!message) return std::nullopt;
  packet_room room;
  packet& queued = room.packet;
  if (!wire::parse_packet(*message, queued)) [[unlikely]]
    return translate_refusal(*message, datagram, into);
  // Kernels of today name the input interface of forwarded packets in postrouting too; ip_queue's did not.
  if (queued.hook > hook_forward) queued.indev = 0;
  if (queued.hook < hook_forward) queued.outdev = 0;
  if (queued.family != (ipv6() ? family_ipv6 : family_ipv4)) [[unlikely]] {
    pass_to_other_family(queued, datagram);
    return std::nullopt;
  }
  counters_.received.add();
  if (!relayed_) [[likely]]
    last_read_directly_.store(queued.id | std::uint64_t{1} << 32, std::memory_order_relaxed);
  if (queued.truncated) [[unlikely]]
    note_cut(queued);
  if (debugging()) [[unlikely]]
    describe_packet(queued);
  const auto find = [&](std::uint32_t index, netlink::name_room name) { return interfaces_.find(index, name); };
  return deliver(write_packet(queued, find, into), into);
}

void kernel_handle::pass_to_other_family(const packet& queued, std::span<std::byte> datagram) {
  const netlink::cancellation_off uninterrupted;
  if (queue_->pass_on(datagram)) return;
  queue_->drop(queued.id);
  count_wrong_family();
  debug("packet %u dropped: of family %u, which nobody here listens to", queued.id, queued.family);
}

void kernel_handle::note_cut(const packet& queued) {
  const bool asked_for_all = copies_.load(std::memory_order_relaxed).range >= wire::max_payload;
  if (queued.payload.size() == wire::max_payload && asked_for_all) cut_.add(queued.id, queued.payload);
}

void kernel_handle::describe_packet(const packet& queued) {
  debug("packet %u hook %u in \"%s\" out \"%s\" mark 0x%x: %zu of %u bytes", queued.id, queued.hook,
        interfaces_.find(queued.indev).name.data(), interfaces_.find(queued.outdev).name.data(), queued.mark,
        queued.payload.size(), queued.original_length);
}

ssize_t kernel_handle::deliver(std::size_t length, std::span<unsigned char> into) noexcept {
  if (length > into.size()) return fail(IPQ_ERR_RTRUNC, "read");
  return static_cast<ssize_t>(length);
}

std::optional<ssize_t> kernel_handle::translate_refusal(const wire::message& message, std::span<std::byte> datagram,
                                                        std::span<unsigned char> into) {
  const auto parsed = wire::parse_error(message);
  if (!parsed) return std::nullopt;
  const wire::error_reply& reply = *parsed;
  const netlink::cancellation_off uninterrupted;
  const auto note = read_note(reply);
  if (!note && answers_wake(datagram)) return std::nullopt;
  if (!note) {
    set_refusal(write("message of type 0x%x, sent on the descriptor by the program itself: %s", reply.request_type,
                      describe(reply.code))
                    .data());
    return deliver(write_answer(datagram, into), into);
  }
  if (note->internal) return std::nullopt;
  // An acknowledged mode is the relay's business.
  if ((note->ipv6 != ipv6() || reply.code == 0) && queue_->pass_on(datagram)) return std::nullopt;
  if (reply.code == 0) return std::nullopt;
  if (note->mode && queue_->mend_refused_mode(ipv6(), *note->mode, reply.code)) return std::nullopt;
  int code = reply.code;
  if (code == EPERM) {
    // The kernel says so for a missing right and for somebody else's queue; ip_queue told them apart. A verdict on a
    // queue of ours, which has given us packets, lacked the right when it was given, which may be back by now.
    // Of a mode, too, it counts what was the case when it was sent.
    const bool denied = note->verdict ? counters_.received.value() != 0 : queue_->was_denied(*note->mode);
    if (!denied && queue_->may_be_used()) {
      code = EBUSY;
    } else if (ahead_ && note->verdict) {
      ahead_->send_others_alone(queue_->connection(), note->verdict->id);
    }
  } else if (note->verdict ? is_invalid_verdict(note->verdict->value) : is_invalid_mode(note->mode->mode)) {
    code = EINVAL;  // what was sent in its place the kernel refuses in its own ways
  } else if (note->verdict && code == ENODEV) {
    code = ENOENT;  // there is no queue, so there is no such packet
  }
  if (note->mode) queue_->note_refused_mode(*note->mode, reply.code);
  if (note->verdict) {
    if (!is_invalid_verdict(note->verdict->value)) {
      counter_of(note->verdict->value, note->verdict->data_len).take_back();
    }
    counters_.refused.add();
  }
  describe_refusal(*note, code, reply);
  return deliver(write_refusal(code, *note, local.nl_pid, into), into);
}

void kernel_handle::describe_refusal(const request_note& note, int code, const wire::error_reply& reply) {
  if (note.verdict && code != EPERM && code != EBUSY) {
    return describe_refused_verdict(note.verdict->id, note.verdict->value, code);
  }
  line said{};
  if (!note.verdict && code == EINVAL && note.mode && is_invalid_mode(note.mode->mode)) {
    said = describe_refused_mode(note.mode->mode);
  } else if (code == EPERM) {
    said = write("%s queue %u: Operation not permitted: needs CAP_NET_ADMIN in this network namespace, as root has",
                 note.mode ? "bind" : "use", queue_->number());
  } else if (code == EBUSY) {
    std::optional<netlink::queue_owner> owner;
    try {
      owner = queue_->look([&] { return netlink::find_queue_owner(queue_->number()); });
    } catch (const std::bad_alloc&) {
      // then without the name
    }
    const char* const operation = note.mode ? "bind" : "use";
    if (owner && owner->pid != 0) {
      said =
          write("%s queue %u: owned by %s (pid %d)", operation, queue_->number(), owner->command.c_str(), owner->pid);
    } else {
      said = write("%s queue %u: owned by another process", operation, queue_->number());
    }
  } else {
    const std::string_view more = reply.text.substr(0, 80);
    said = write("set mode: %s%s%.*s", describe(code), more.empty() ? "" : ": ", static_cast<int>(more.size()),
                 more.data());
  }
  set_refusal(said.data());
}

int kernel_handle::set_mode(std::uint8_t mode, std::size_t range) {
  const copy_parameters copies = parameters_of(mode, range);
  mode_set_ = true;
  debug("set mode %u range %zu", mode, range);
  const int errno_before = errno;
  if (const auto sent = queue_->set_mode(*this, copies, range); !sent) {
    errno = sent.error().code.value();
    return fail(IPQ_ERR_SEND, "set mode");
  }
  if (mode <= IPQ_COPY_PACKET) copies_ = copies;
  errno = errno_before;
  return mode_request_size;
}

int kernel_handle::set_verdict(ipq_id_t id, unsigned int value, std::optional<std::uint32_t> mark, std::size_t data_len,
                               const unsigned char* data) {
  // What nearly every packet gets, by the shortest way, in as little code as can be: what a system call has put out of
  // the processor's cache is to be fetched again.
  const bool plain = value <= verdict_accept && (data_len == 0 || data == nullptr) && !mark;
  if (!plain || ahead_ || queue_->shared() || debugging()) [[unlikely]]
    return set_any_verdict(id, value, mark, data_len, data);
  if (!queue_->send(queue_->plain_verdict(ipv6(), static_cast<std::uint32_t>(id), value))) [[unlikely]]
    return fail(IPQ_ERR_SEND, "set verdict");
  (value == verdict_accept ? counters_.accepted : counters_.dropped).add();
  return verdict_request_size;
}

int kernel_handle::set_any_verdict(ipq_id_t id, unsigned int value, std::optional<std::uint32_t> mark,
                                   std::size_t data_len, const unsigned char* data) {
  const std::size_t given = data != nullptr ? data_len : 0;
  if (ahead_ && value <= verdict_accept && given == 0 && !mark && !queue_->shared() && !debugging()) {
    const int errno_before = errno;
    const netlink::cancellation_off uninterrupted;  // or verdicts that were sent would be sent once more
    const auto answer = queue_->plain_verdict(ipv6(), static_cast<std::uint32_t>(id), value);
    if (!ahead_->send(queue_->connection(), answer)) return fail(IPQ_ERR_SEND, "set verdict");
    errno = errno_before;
    (value == verdict_accept ? counters_.accepted : counters_.dropped).add();
    return verdict_request_size;
  }
  // The low 32 bits: programs keep ids in an int, and a large one comes back sign-extended.
  verdict_request request{.ipv6 = ipv6(),
                          .asked = {static_cast<std::uint32_t>(id), value, given},
                          .value = value,
                          .mark = mark,
                          .replacement = {}};
  const bool invalid = is_invalid_verdict(value);
  if (invalid) {
    request.value = 0xff;
    request.mark.reset();
    request.replacement = std::as_bytes(std::span(data, std::min(given, wire::max_payload)));
  } else {
    if (value == verdict_stolen) request.value = verdict_drop;  // today's kernel refuses the value
    if (given > wire::max_payload) {
      request.value = verdict_drop;
    } else if (given >= least_replacement(ipv6())) {  // less is ignored
      request.replacement = std::as_bytes(std::span(data, given));
    }
    if (given == wire::max_payload) [[unlikely]] {
      const auto answer = cut_.look_up(request.asked.id, request.replacement);
      if (answer != cut_packets::answer::not_cut) request.replacement = {};
      // The end of the packet is not known, so a change can't be applied to the whole of it.
      if (answer == cut_packets::answer::changed) request.value = verdict_drop;
    }
  }
  if (debugging()) [[unlikely]] {
    debug("verdict %s on packet %u, %zu bytes of replacement", invalid ? "invalid" : verdict_names[value],
          request.asked.id, given);
  }
  const int errno_before = errno;
  // Those before it go before it.
  if (ahead_) static_cast<void>(ahead_->flush(queue_->connection()));
  if (const auto sent = queue_->send_verdict(request); !sent) return fail(IPQ_ERR_SEND, "set verdict");
  errno = errno_before;
  // What is dropped for a reason of ours is counted as that, too.
  if (!invalid) counter_of(request.value == verdict_drop ? verdict_drop : value, given).add();
  return static_cast<int>(verdict_request_size + given);
}

namespace {

/// What the kernel says of the queue if it is ours; it may be somebody else's.
std::optional<netlink::queue_counters> counters_of(const kernel_queue& wanted) {
  return wanted.look([&]() -> std::optional<netlink::queue_counters> {
    const auto queues = netlink::read_queue_counters();
    if (!queues) return std::nullopt;
    const auto found = std::ranges::find(*queues, wanted.number(), &netlink::queue_counters::queue);
    return found == queues->end() ? std::nullopt : std::optional(*found);
  });
}

}  // namespace

ipq_status kernel_handle::status() const {
  const auto kernel = counters_of(*queue_);
  const std::uint32_t own_port_id = queue_->connection().port_id();
  const copy_parameters copies = copies_;
  const queue_limits limits = queue_->limits(*this);
  ipq_status now{};
  now.queue = queue_->number();
  now.peer_portid = kernel ? kernel->port_id : queue_->bound() ? own_port_id : 0;
  now.copy_mode = copies.mode;
  now.copy_range = copies.range;
  now.max_length = limits.max_length;
  now.fail_open = limits.fail_open;
  now.length = kernel && kernel->port_id == own_port_id ? kernel->waiting : IPQ_UNKNOWN;
  now.receive_buffer = queue_->connection().receive_buffer();
  return now;
}

ipq_stats kernel_handle::stats() const {
  const auto kernel = counters_of(*queue_);
  const bool known = kernel && kernel->port_id == queue_->connection().port_id();
  ipq_stats now = counted();
  now.lost_queue_full = known ? kernel->dropped : IPQ_UNKNOWN;
  // The socket's own count knows also what fail-open let pass, and lost error messages.
  now.lost_no_buffer = known                             ? kernel->user_dropped
                       : queue_->limits(*this).fail_open ? IPQ_UNKNOWN
                                                         : queue_->connection().drops();
  return now;
}

}  // namespace ipq::compat
