// SPDX-License-Identifier: MIT
#include "ipq/queue.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <new>
#include <vector>

#include "netlink/arena.hpp"
#include "netlink/counters.hpp"
#include "netlink/owner.hpp"
#include "netlink/socket.hpp"
#include "netlink/wake.hpp"
#include "queue/outgoing.hpp"
#include "queue/sender.hpp"
#include "wire/bytes.hpp"
#include "wire/config.hpp"
#include "wire/message.hpp"
#include "wire/packet.hpp"

namespace ipq {

using queues::answer;
using queues::verdict_cookie;

namespace {

static_assert(verdict::max_payload == wire::max_payload);
constexpr std::size_t batch_size = 64;
constexpr std::uint32_t bind_sequence = 1;
constexpr int netfilter_protocol = 12;  // NETLINK_NETFILTER

std::size_t packet_range(const queue_options& options) noexcept {
  if (options.metadata_only) return 0;
  return options.copy_range == 0 ? wire::max_payload : options.copy_range;
}

std::size_t needed_receive_buffer(const queue_options& options) noexcept {
  if (options.receive_buffer != 0) return options.receive_buffer;
  // What a packet costs is the memory behind its message, at least some 800 bytes, and half of the buffer is the
  // kernel's bookkeeping.
  constexpr std::size_t most = 64 << 20;
  const std::size_t each = 1024 + packet_range(options);
  return std::min(most, 2 * each * options.max_length);
}

std::size_t slot_size(const queue_options& options) noexcept {
  constexpr std::size_t attributes = 1024, page = 4096;  // as wire::max_datagram
  return packet_range(options) + attributes + (options.conntrack ? page : 0) + (options.security_context ? page : 0);
}

std::uint32_t flags_of(const queue_options& options) noexcept {
  return (options.fail_open ? wire::queue_fail_open : 0u) | (options.conntrack ? wire::queue_conntrack : 0u) |
         (options.gso ? wire::queue_gso : 0u) | (options.uid_gid ? wire::queue_uid_gid : 0u) |
         (options.security_context ? wire::queue_secctx : 0u);
}

error about(error what, const queue_options& options) noexcept {
  what.operation = "bind queue";
  what.queue = options.number;
  return what;
}

/// What the kernel's errno means here.
error explain(int code, const queue_options& options) {
  error made = about(failed("", code).error(), options);
  const auto replace = [&](int with) { made.code = std::error_code(with, std::system_category()); };
  if (code == EPERM) {
    const auto access = netlink::probe_queue_access(netlink::kernel());
    if (!access) {
      made.advice = "needs CAP_NET_ADMIN in this network namespace, as root has";
      return made;
    }
    replace(EBUSY);
    made.advice = "another process has it";
    if (const auto owner = netlink::find_queue_owner(options.number); owner && owner->pid != 0) {
      made.owner = owner->pid;
      owner->command.copy(made.owner_name.data(), made.owner_name.size() - 1);
    }
  } else if (code == EINVAL) {
    // nfnetlink.c: a subsystem that is not there.
    replace(ENOSYS);
    made.advice = "the kernel has no nfnetlink_queue (CONFIG_NETFILTER_NETLINK_QUEUE)";
  } else if (code == EOPNOTSUPP) {
    made.advice = options.conntrack ? "conntrack needs CONFIG_NETFILTER_NETLINK_GLUE_CT in the kernel"
                                    : "the kernel does not know one of the flags asked for";
  }
  return made;
}

/// Whether the bind was refused. If it was, that is all the socket has; if not, packets may be there, and they stay
/// where they are.
result<void> take_refusal(const netlink::socket& connection) {
  std::byte buffer[256];
  const auto first = connection.peek(buffer);
  if (!first) return first.error().is(EAGAIN) ? result<void>{} : std::unexpected(first.error());
  wire::bytes rest(buffer, first->length);
  if (first->length < 20 || wire::load<std::uint16_t>(buffer + 4) != wire::message_error) return {};
  if (const auto taken = connection.receive(buffer, netlink::waiting::not_at_all); !taken) {
    return std::unexpected(taken.error());
  }
  const auto message = wire::next_message(rest);
  const auto reply = message ? wire::parse_error(*message) : std::nullopt;
  if (reply && reply->sequence == bind_sequence && reply->code != 0) return failed("bind queue", reply->code);
  return {};
}

}  // namespace

class queue::core {
 public:
  core(netlink::socket&& opened, netlink::wake&& wake, const queue_options& options)
      : options_(options),
        socket_(std::move(opened)),
        wake_(std::move(wake)),
        arena_(batch_size, slot_size(options)),
        sender_(std::make_shared<queues::sender>(socket_, options.number, options.unanswered)) {
    packets_.reserve(batch_size);
    answers_.reserve(batch_size);
    events_.reserve(batch_size);
  }
  core(const core&) = delete;
  core& operator=(const core&) = delete;
  ~core();

  [[nodiscard]] result<batch> receive(clock::time_point deadline, bool wait);
  result<void> set_verdict(const packet& which, const verdict& given);
  [[nodiscard]] result<held_packet> hold(const packet& which);
  result<void> flush() { return sender_->flush(answers_); }
  void stop() noexcept {
    stopped_.store(true, std::memory_order_relaxed);
    wake_.signal();
  }
  [[nodiscard]] const netlink::socket& connection() const noexcept { return socket_; }
  [[nodiscard]] std::uint16_t number() const noexcept { return options_.number; }
  [[nodiscard]] statistics stats() const;

 private:
  result<void> finish_batch();
  result<void> wait(clock::time_point deadline);
  void take(std::span<const std::byte> datagram, bool truncated);
  void take_refused(const wire::error_reply& reply);
  [[nodiscard]] result<answer*> find(const packet& which, const char* operation) noexcept;

  const queue_options options_;
  netlink::socket socket_;
  netlink::wake wake_;
  netlink::arena arena_;
  std::atomic<bool> stopped_ = false;
  std::vector<packet> packets_;
  std::vector<answer> answers_;  ///< of packets_, each at the same index
  std::size_t undecided_ = 0;    ///< of them
  std::vector<event> events_;
  std::uint64_t received_ = 0;
  std::uint64_t malformed_ = 0;
  std::uint32_t last_id_ = 0;
  std::shared_ptr<queues::sender> sender_;
};

queue::core::~core() {
  static_cast<void>(finish_batch());
  if (options_.at_close == queue_options::closing::accept_waiting) {
    // The farthest that the kernel's comparison of ids, as signed differences, reaches with room to spare.
    constexpr std::uint32_t beyond = 1u << 30;
    queues::outgoing last(options_.number);
    last.add(last_id_ + beyond, verdict::accept(), 2);
    static_cast<void>(last.send(socket_));
  }
  sender_->close();
}

result<void> queue::core::finish_batch() {
  if (undecided_ != 0) {
    for (answer& each : answers_) {
      if (each.how != answer::state::undecided) continue;
      each.how = answer::state::decided;
      each.given = options_.unanswered;
      sender_->count_unanswered();
    }
    undecided_ = 0;
  }
  return flush();
}

result<void> queue::core::wait(clock::time_point deadline) {
  // From here on the verdicts of held packets go out at once: nobody else would send them.
  if (const auto sent = sender_->set_reader_waits(true); !sent) return sent;
  const auto waited = wake_.wait(socket_, deadline);
  static_cast<void>(sender_->set_reader_waits(false));
  return waited;
}

result<batch> queue::core::receive(clock::time_point deadline, bool wait_for_it) {
  // Views into the batch end here; should sending fail they stay, and so do the verdicts.
  if (const auto sent = finish_batch(); !sent) return std::unexpected(sent.error());
  packets_.clear();
  answers_.clear();
  events_.clear();
  for (;;) {
    if (stopped_.load(std::memory_order_relaxed)) return failed("receive", ECANCELED);
    const auto received = arena_.receive(socket_);
    if (received) {
      for (std::size_t i = 0; i < *received; ++i) take(arena_[i], arena_.truncated(i));
      if (packets_.empty() && events_.empty()) continue;
      undecided_ = packets_.size();
      received_ += packets_.size();
      return batch(packets_, events_);
    }
    if (received.error().is(ENOBUFS)) {
      events_.push_back({.what = event::kind::overrun});
      return batch(packets_, events_);
    }
    if (!received.error().is(EAGAIN)) return std::unexpected(received.error());
    if (!wait_for_it) return failed("receive", ETIMEDOUT);
    if (const auto waited = wait(deadline); !waited) return std::unexpected(waited.error());
  }
}

void queue::core::take(std::span<const std::byte> datagram, bool truncated) {
  wire::bytes rest = datagram;
  if (truncated) [[unlikely]] {
    // Attributes beyond any bound we know. The id comes first, and the packet must not wait for ever.
    ++malformed_;
    constexpr std::size_t id_at = wire::nlmsg_header_size + wire::nfgen_size + wire::attribute_header_size;
    if (datagram.size() >= id_at + 4 && wire::load<std::uint16_t>(datagram.data() + 4) == wire::message_packet) {
      ++received_;
      last_id_ = wire::load_be<std::uint32_t>(datagram.data() + id_at);
      sender_->hold();
      sender_->give_up_held(last_id_);
    }
    return;
  }
  const auto message = wire::next_message(rest);
  if (!message) {
    ++malformed_;
    return;
  }
  if (message->type == wire::message_packet) {
    const auto parsed = wire::parse_packet(*message);
    if (!parsed) {
      ++malformed_;
      return;
    }
    packets_.push_back(*parsed);
    answers_.push_back({.id = parsed->id});
    last_id_ = parsed->id;
    return;
  }
  if (const auto reply = wire::parse_error(*message)) take_refused(*reply);
}

void queue::core::take_refused(const wire::error_reply& reply) {
  if (reply.code == 0) return;
  if (reply.request_type != wire::message_verdict && reply.request_type != wire::message_verdict_batch) return;
  const auto cookie = verdict_cookie::decode(reply.port_id);
  const bool gone = reply.code == ENOENT;
  sender_->count_refused(cookie, gone);
  events_.push_back({.what = gone ? event::kind::gone : event::kind::refused,
                     .id = reply.sequence,
                     .count = cookie.count,
                     .code = std::error_code(reply.code, std::system_category())});
}

result<answer*> queue::core::find(const packet& which, const char* operation) noexcept {
  const std::less<const packet*> before;
  answer* found = nullptr;
  if (!packets_.empty() && !before(&which, packets_.data()) && before(&which, packets_.data() + packets_.size())) {
    found = &answers_[static_cast<std::size_t>(&which - packets_.data())];
  } else {
    // A copy of the packet.
    const auto same = std::ranges::find(answers_, which.id, &answer::id);
    if (same != answers_.end()) found = &*same;
  }
  if (found == nullptr) return failed(operation, EINVAL);
  if (found->how != answer::state::undecided) return failed(operation, EALREADY);
  return found;
}

result<void> queue::core::set_verdict(const packet& which, const verdict& given) {
  const auto found = find(which, "set verdict");
  if (!found) return std::unexpected(found.error());
  answer& its = **found;
  const auto payload = given.payload();
  if (!payload.empty()) {
    if (payload.size() > wire::max_payload) return failed("set verdict", EINVAL);
    if (which.truncated) return failed("set verdict", EMSGSIZE);
    if (!arena_.contains(payload)) {
      // The bytes are the program's again when we return.
      if (const auto sent = flush(); !sent) return sent;
      if (const auto sent = sender_->send_now(its.id, given); !sent) return sent;
      its.how = answer::state::sent;
      return --undecided_ == 0 ? flush() : result<void>{};
    }
  }
  its.how = answer::state::decided;
  its.given = given;
  return --undecided_ == 0 ? flush() : result<void>{};
}

result<held_packet> queue::core::hold(const packet& which) {
  const auto found = find(which, "hold packet");
  if (!found) return std::unexpected(found.error());
  try {
    sender_->hold();
  } catch (const std::bad_alloc&) {
    return failed("hold packet", ENOMEM);
  }
  (*found)->how = answer::state::held;
  held_packet held(sender_, which.id, which.truncated);
  if (--undecided_ == 0) {
    // What can't be sent now is for the next receive to send, or to report.
    static_cast<void>(flush());
  }
  return held;
}

statistics queue::core::stats() const {
  statistics now = sender_->stats(received_);
  now.malformed = malformed_;
  now.receive_buffer = socket_.receive_buffer();
  const auto queues = netlink::read_queue_counters();
  if (!queues) return now;
  for (const auto& each : *queues) {
    if (each.queue != options_.number || each.port_id != socket_.port_id()) continue;
    now.in_kernel = {.queued = each.last_id,
                     .waiting = each.waiting,
                     .lost_queue_full = each.dropped,
                     .lost_no_buffer = each.user_dropped};
  }
  return now;
}

queue::queue(std::unique_ptr<core> made) noexcept : core_(std::move(made)) {}
queue::queue(queue&&) noexcept = default;
queue& queue::operator=(queue&&) noexcept = default;
queue::~queue() = default;

result<queue> queue::open(const queue_options& options) {
  const auto refuse = [&](const char* advice) {
    error made = about(failed("", EINVAL).error(), options);
    made.advice = advice;
    return std::unexpected(made);
  };
  if (options.copy_range > wire::max_payload) return refuse("copy_range is at most 65531 bytes");
  if (options.metadata_only && options.copy_range != 0) return refuse("metadata_only excludes copy_range");
  if (!options.unanswered.payload().empty()) return refuse("unanswered can't have a payload");
  auto opened = netlink::kernel().open(netfilter_protocol);
  if (!opened) return std::unexpected(about(opened.error(), options));
  auto wake = netlink::wake::create();
  if (!wake) return std::unexpected(about(wake.error(), options));
  opened->set_receive_buffer(needed_receive_buffer(options));
  opened->set_send_buffer(std::size_t{1} << 20);
  if (options.timestamps) {
    if (const auto enabled = opened->enable_timestamps(); !enabled) {
      return std::unexpected(about(enabled.error(), options));
    }
  }
  try {
    auto made = std::make_unique<core>(*std::move(opened), *std::move(wake), options);
    wire::config wanted{.queue = options.number, .sequence = bind_sequence, .command = wire::config_command::bind};
    wanted.copy = {options.metadata_only ? wire::copy_mode::meta : wire::copy_mode::packet, options.copy_range};
    wanted.max_length = options.max_length;
    const std::uint32_t flags = flags_of(options);
    if (flags != 0) wanted.flags = {flags, flags};
    alignas(4) std::byte request[wire::max_config_size];
    const std::size_t length = wire::encode_config(wanted, request);
    const netlink::socket& connection = made->connection();
    if (const auto sent = connection.send(std::span<const std::byte>(request, length)); !sent) {
      return std::unexpected(about(sent.error(), options));
    }
    if (const auto bound = take_refusal(connection); !bound) {
      return std::unexpected(explain(bound.error().code.value(), options));
    }
    return queue(std::move(made));
  } catch (const std::bad_alloc&) {
    return std::unexpected(about(failed("", ENOMEM).error(), options));
  }
}

result<batch> queue::receive(clock::time_point deadline) & {
  return core_->receive(deadline, true);
}

result<batch> queue::try_receive() & {
  return core_->receive({}, false);
}

result<void> queue::set_verdict(const packet& which, const verdict& answer) {
  return core_->set_verdict(which, answer);
}

result<held_packet> queue::hold(const packet& which) {
  return core_->hold(which);
}

result<void> queue::flush() {
  return core_->flush();
}

void queue::stop() noexcept {
  core_->stop();
}

int queue::fd() const noexcept {
  return core_->connection().fd();
}

std::uint16_t queue::number() const noexcept {
  return core_->number();
}

statistics queue::stats() const {
  return core_->stats();
}

}  // namespace ipq
