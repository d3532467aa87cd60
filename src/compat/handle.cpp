// SPDX-License-Identifier: MIT
#include "compat/handle.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "compat/translate.hpp"
#include "netlink/cancellation.hpp"
#include "netlink/counters.hpp"
#include "netlink/owner.hpp"
#include "wire/packet.hpp"

namespace ipq::compat {
namespace {

// NF_*: linux/netfilter.h of today no longer goes with the C library's own headers in one unit.
constexpr std::uint32_t verdict_drop = 0;
constexpr std::uint32_t verdict_accept = 1;
constexpr std::uint32_t verdict_stolen = 2;
constexpr std::uint8_t hook_forward = 2;  // NF_INET_FORWARD
constexpr std::array verdict_names{"drop", "accept", "stolen", "queue", "repeat", "stop"};

constexpr std::uint8_t family_ipv4 = 2;
constexpr std::uint8_t family_ipv6 = 10;

constexpr std::size_t verdict_request_size = 40;  // nlmsghdr and ipq_verdict_msg_t
constexpr std::size_t mode_request_size = 56;     // what libipq sent, see write_refusal

/// Room that parse_packet fills as a whole: zeroing it before would cost as much again.
union packet_room {
  packet_room() noexcept {}
  ipq::packet packet;
};

using text = std::array<char, 200>;

template <class... Values>
text write(const char* format, Values... values) noexcept {
  text written{};
  std::snprintf(written.data(), written.size(), format, values...);
  return written;
}

const char* describe(int system_error) noexcept {
  const char* const known = ::strerrordesc_np(system_error);
  return known != nullptr ? known : "unknown error";
}

}  // namespace

handle::handle(const netlink::socket_source& source, bool ipv6, const settings& initial) noexcept
    : ipq_handle{}, source_(source), ipv6_(ipv6), options_(initial), debug_(initial.debug), interfaces_(source) {
  fd = -1;
  blocking = 1;
  local.nl_family = peer.nl_family = AF_NETLINK;
}

result<void> handle::join(std::shared_ptr<queue> joined) {
  auto opened = joined->join(*this);
  if (!opened) return std::unexpected(opened.error());
  if (readable_) {
    if (const auto replaced = readable_.replace(*std::move(opened)); !replaced) return replaced;
  } else {
    readable_ = *std::move(opened);
  }
  leave();
  queue_ = std::move(joined);
  fd = readable_.fd();
  local.nl_pid = queue_->socket().port_id();
  return {};
}

result<void> handle::read_from_relay(netlink::socket&& reader) {
  if (const auto replaced = readable_.replace(std::move(reader)); !replaced) return replaced;
  relayed_ = true;
  return {};
}

/// Counts a read that is about to wait on the netlink socket itself, as it may still do when a relay takes that over.
class handle::waiting_read {
 public:
  explicit waiting_read(handle& by) noexcept : count_(by.relayed_ ? nullptr : &by.direct_reads_) {
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

void handle::leave() {
  if (!queue_) return;
  queue_->leave(*this);
  queue_.reset();
}

int handle::fail(int number, const char* operation) noexcept {
  const int system_error = errno;
  set_thread_error(number);
  const bool has_cause = number == IPQ_ERR_RECV || number == IPQ_ERR_SEND;
  last_.set(number, has_cause ? write("%s: %s: %s", operation, error_text(number), describe(system_error)).data()
                              : write("%s: %s", operation, error_text(number)).data());
  debug("%s", last_.text());
  errno = system_error;
  return -1;
}

void handle::debug(const char* format, ...) const noexcept {
  if (!debugging()) return;
  const int kept = errno;
  const netlink::cancellation_off uninterrupted;
  text line{};
  std::va_list values;
  va_start(values, format);
  std::vsnprintf(line.data(), line.size(), format, values);
  va_end(values);
  // One write a line, so that the lines of several threads do not mix.
  ::dprintf(STDERR_FILENO, "libipq: queue %u %s: %s\n", queue_ ? queue_->number() : options_.queue,
            ipv6_ ? "IPv6" : "IPv4", line.data());
  errno = kept;
}

ssize_t handle::read(std::span<unsigned char> into, int timeout) {
  using clock = std::chrono::steady_clock;
  if (into.size() < min_read_buffer) return fail(IPQ_ERR_RECVBUF, "read");
  const int errno_before = errno;
  const auto timed_out = [&] {
    errno = errno_before;
    set_thread_error(IPQ_ERR_TIMEOUT);  // no error of the handle's: what it said last stays to be read
    return 0;
  };
  std::optional<clock::time_point> deadline;
  // On the stack, so that threads, signal handlers and longjmp need no care, and untouched where nothing is received.
  alignas(8) std::byte buffer[wire::max_datagram];
  for (;;) {
    // Without waiting first: a reader that is behind finds something, and one that is not has the time to ask again.
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
      const auto length = translate(std::span(buffer, received->length), into);
      if (!length) continue;
      errno = errno_before;
      return *length;
    }
    if (received.error().is(ENOBUFS)) continue;  // counted by the kernel; see stats
    return fail(IPQ_ERR_RECV, "read");
  }
}

std::optional<ssize_t> handle::translate(std::span<std::byte> datagram, std::span<unsigned char> into) {
  wire::bytes rest = datagram;
  const auto message = wire::next_message(rest);
  if (!message) return std::nullopt;
  packet_room room;
  packet& queued = room.packet;
  if (wire::parse_packet(*message, queued)) {
    // Kernels of today name the input interface of forwarded packets in postrouting too; ip_queue's did not.
    if (queued.hook > hook_forward) queued.indev = 0;
    if (queued.hook < hook_forward) queued.outdev = 0;
    return translate_packet(queued, datagram, into);
  }
  if (const auto reply = wire::parse_error(*message)) return translate_refusal(*reply, datagram, into);
  return std::nullopt;
}

std::optional<ssize_t> handle::translate_packet(const packet& queued, std::span<std::byte> datagram,
                                                std::span<unsigned char> into) {
  if (queued.family != (ipv6_ ? family_ipv6 : family_ipv4)) {
    const netlink::cancellation_off uninterrupted;
    if (queue_->pass_on(datagram)) return std::nullopt;
    queue_->drop(queued.id);
    count_wrong_family();
    debug("packet %u dropped: of family %u, which nobody here listens to", queued.id, queued.family);
    return std::nullopt;
  }
  count(counters_.received);
  const bool asked_for_all = copies_.load(std::memory_order_relaxed).range >= wire::max_payload;
  if (queued.truncated && queued.payload.size() == wire::max_payload && asked_for_all) [[unlikely]] {
    cut_.add(queued.id, queued.payload);
  }
  const netlink::interface indev = interfaces_.find(queued.indev);
  const netlink::interface outdev = interfaces_.find(queued.outdev);
  if (debugging()) [[unlikely]] {
    debug("packet %u hook %u in \"%s\" out \"%s\" mark 0x%x: %zu of %u bytes", queued.id, queued.hook,
          indev.name.data(), outdev.name.data(), queued.mark, queued.payload.size(), queued.original_length);
  }
  return deliver(write_packet(queued, indev, outdev, into), into);
}

ssize_t handle::deliver(std::size_t length, std::span<unsigned char> into) noexcept {
  if (length > into.size()) return fail(IPQ_ERR_RTRUNC, "read");
  return static_cast<ssize_t>(length);
}

std::optional<ssize_t> handle::translate_refusal(const wire::error_reply& reply, std::span<std::byte> datagram,
                                                 std::span<unsigned char> into) {
  const netlink::cancellation_off uninterrupted;
  const auto note = read_note(reply);
  if (!note || note->internal) return std::nullopt;
  if (note->ipv6 != ipv6_ && queue_->pass_on(datagram)) return std::nullopt;
  int code = reply.code;
  if (code == EPERM) {
    // The kernel says so for a missing right and for somebody else's queue; ip_queue told them apart.
    if (netlink::probe_queue_access(source_)) code = EBUSY;
  } else if (note->verdict && is_invalid_verdict(note->verdict->value)) {
    code = EINVAL;
  } else if (note->verdict && code == ENODEV) {
    code = ENOENT;  // there is no queue, so there is no such packet
  }
  if (note->mode) queue_->note_refused_mode(*note->mode, reply.code);
  if (note->verdict) {
    if (!is_invalid_verdict(note->verdict->value)) {
      counter_of(note->verdict->value, note->verdict->data_len).fetch_sub(1, std::memory_order_relaxed);
    }
    count(counters_.refused);
  }
  describe_refusal(*note, code, reply);
  return deliver(write_refusal(code, *note, local.nl_pid, into), into);
}

void handle::describe_refusal(const request_note& note, int code, const wire::error_reply& reply) {
  text said{};
  if (note.verdict) {
    const auto [id, value, data_len] = *note.verdict;
    if (code == ENOENT) {
      said = write(
          "verdict on packet %u: no such packet waits: it had its verdict, or its interface, its rules or "
          "the queue went away",
          id);
    } else if (code == EINVAL) {
      said = write("verdict on packet %u: 0x%x is no verdict: expected NF_DROP (0) to NF_STOP (5)", id, value);
    } else {
      said = write("verdict on packet %u: %s", id, describe(code));
    }
  }
  if (!note.verdict && code == EINVAL && note.mode && note.mode->mode > IPQ_COPY_PACKET) {
    said = write("set mode: %u is no mode: expected IPQ_COPY_NONE (0), IPQ_COPY_META (1) or IPQ_COPY_PACKET (2)",
                 note.mode->mode);
  } else if (code == EPERM) {
    said = write("%s queue %u: Operation not permitted: needs CAP_NET_ADMIN in this network namespace, as root has",
                 note.mode ? "bind" : "use", queue_->number());
  } else if (code == EBUSY) {
    std::optional<netlink::queue_owner> owner;
    try {
      owner = netlink::find_queue_owner(queue_->number());
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
  } else if (!note.verdict && said[0] == '\0') {
    const std::string_view more = reply.text.substr(0, 80);
    said = write("set mode: %s%s%.*s", describe(code), more.empty() ? "" : ": ", static_cast<int>(more.size()),
                 more.data());
  }
  last_.set(IPQ_ERR_NLRECV, said.data());
  debug("refused: %s", said.data());
}

int handle::set_mode(std::uint8_t mode, std::size_t range) {
  // ip_queue: 0 means all of the packet, and no packet is longer than this.
  constexpr std::size_t whole_packet = 0xffff;
  copy_parameters copies{mode, 0};
  if (mode == IPQ_COPY_PACKET) {
    copies.range = static_cast<std::uint32_t>(range == 0 ? whole_packet : std::min(range, whole_packet));
  }
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

handle::counter& handle::counter_of(std::uint32_t value, std::size_t data_len) noexcept {
  if (value == verdict_drop || value == verdict_stolen || data_len > wire::max_payload) return counters_.dropped;
  return value == verdict_accept ? counters_.accepted : counters_.other_verdicts;
}

int handle::set_verdict(ipq_id_t id, unsigned int value, std::optional<std::uint32_t> mark, std::size_t data_len,
                        const unsigned char* data) {
  const std::size_t given = data != nullptr ? data_len : 0;
  // What nearly every packet gets, by the shortest way.
  if (value <= verdict_accept && given == 0 && !mark && !queue_->shared() && !debugging()) [[likely]] {
    const int errno_before = errno;
    if (const auto sent = queue_->send_plain_verdict(ipv6_, static_cast<std::uint32_t>(id), value); !sent) {
      return fail(IPQ_ERR_SEND, "set verdict");
    }
    errno = errno_before;
    count(value == verdict_accept ? counters_.accepted : counters_.dropped);
    return verdict_request_size;
  }
  // The low 32 bits: programs keep ids in an int, and a large one comes back sign-extended.
  verdict_request request{.ipv6 = ipv6_,
                          .asked = {static_cast<std::uint32_t>(id), value, given},
                          .value = value,
                          .mark = mark,
                          .replacement = {}};
  const bool invalid = is_invalid_verdict(value);
  if (invalid) {
    request.value = 0xff;
  } else {
    if (value == verdict_stolen) request.value = verdict_drop;  // today's kernel refuses the value
    const std::size_t least = ipv6_ ? 40 : 20;                  // a header, as in ip_queue: less is ignored
    if (given > wire::max_payload) {
      request.value = verdict_drop;
    } else if (given >= least) {
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
  if (const auto sent = queue_->send_verdict(request); !sent) return fail(IPQ_ERR_SEND, "set verdict");
  errno = errno_before;
  if (!invalid) count(counter_of(value, given));
  return static_cast<int>(verdict_request_size + given);
}

int handle::refuse_setting(const char* operation, int error, std::string_view why) noexcept {
  errno = error;
  const auto said = write("%s: %.*s", operation, static_cast<int>(why.size()), why.data());
  set_thread_error(std::string_view(said.data()));
  last_.set(IPQ_ERR_SETTING, said.data());
  debug("%s", said.data());
  return -1;
}

bool handle::may_change_settings(const char* operation) noexcept {
  if (!mode_set_) return true;
  refuse_setting(operation, EBUSY, "must come before the first ipq_set_mode()");
  return false;
}

int handle::set_max_length(unsigned int packets) {
  if (!may_change_settings("set max length")) return -1;
  if (packets == 0 || packets > max_max_length) {
    return refuse_setting("set max length", EINVAL, write("%u: expected a number from 1 to 1048576", packets).data());
  }
  options_.max_length = packets;
  queue_->set_receive_buffer(packets);
  return 0;
}

int handle::set_fail_open(int on) {
  if (!may_change_settings("set fail open")) return -1;
  if (on != 0 && on != 1) return refuse_setting("set fail open", EINVAL, write("%d: expected 0 or 1", on).data());
  options_.fail_open = on == 1;
  return 0;
}

int handle::set_debug(int on) {
  if (on != 0 && on != 1) return refuse_setting("set debug", EINVAL, write("%d: expected 0 or 1", on).data());
  debug_ = on == 1;
  return 0;
}

namespace {

/// What the kernel says of the queue if it is ours; it may be somebody else's.
std::optional<netlink::queue_counters> counters_of(const queue& wanted) {
  const auto queues = netlink::read_queue_counters();
  if (!queues) return std::nullopt;
  const auto found = std::ranges::find(*queues, wanted.number(), &netlink::queue_counters::queue);
  return found == queues->end() ? std::nullopt : std::optional(*found);
}

}  // namespace

ipq_status handle::status() const {
  const auto kernel = counters_of(*queue_);
  const std::uint32_t own_port_id = queue_->socket().port_id();
  const copy_parameters copies = copies_;
  const queue_limits limits = queue_->limits();
  ipq_status now{};
  now.queue = queue_->number();
  now.peer_portid = kernel ? kernel->port_id : queue_->bound() ? own_port_id : 0;
  now.copy_mode = copies.mode;
  now.copy_range = copies.range;
  now.max_length = limits.max_length;
  now.fail_open = limits.fail_open;
  now.length = kernel && kernel->port_id == own_port_id ? kernel->waiting : IPQ_UNKNOWN;
  now.receive_buffer = queue_->socket().receive_buffer();
  return now;
}

ipq_stats handle::stats() const {
  const auto kernel = counters_of(*queue_);
  const bool known = kernel && kernel->port_id == queue_->socket().port_id();
  ipq_stats now{};
  now.received = counters_.received;
  now.accepted = counters_.accepted;
  now.dropped = counters_.dropped;
  now.other_verdicts = counters_.other_verdicts;
  now.refused = counters_.refused;
  now.wrong_family = counters_.wrong_family;
  now.lost_queue_full = known ? kernel->dropped : IPQ_UNKNOWN;
  // The socket's own count knows also what fail-open let pass, and lost error messages.
  now.lost_no_buffer = known                        ? kernel->user_dropped
                       : queue_->limits().fail_open ? IPQ_UNKNOWN
                                                    : queue_->socket().drops();
  return now;
}

}  // namespace ipq::compat
