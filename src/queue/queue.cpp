// SPDX-License-Identifier: MIT
#include "ipq/queue.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <functional>
#include <limits>
#include <new>
#include <vector>

#include "netlink/arena.hpp"
#include "netlink/cancellation.hpp"
#include "netlink/capability.hpp"
#include "netlink/socket.hpp"
#include "queue/binding.hpp"
#include "queue/delay.hpp"
#include "queue/forks.hpp"
#include "queue/outgoing.hpp"
#include "queue/pacer.hpp"
#include "queue/readers.hpp"
#include "queue/sender.hpp"
#include "wire/bytes.hpp"
#include "wire/constants.hpp"
#include "wire/message.hpp"
#include "wire/packet.hpp"

namespace ipq {

using queues::answer;
using queues::verdict_cookie;

namespace {

constexpr std::size_t batch_size = 64;

/// Packets of usual size that may wait unread.
std::size_t unread_capacity(const netlink::socket& connection, std::uint32_t max_length) noexcept {
  constexpr std::size_t usual_charge = 2304;  // of a full Ethernet frame
  return std::min<std::size_t>(max_length, connection.receive_buffer() / usual_charge);
}

/// CPU time that the calling thread has taken. A system call.
std::chrono::nanoseconds thread_time() noexcept {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

/// Long enough for the kernel to queue a packet, on another processor.
void wait_a_moment() noexcept {
  const timespec moment{0, 20'000};
  ::clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, nullptr);
}

}  // namespace

class queue::core {
 public:
  core(queues::binding&& bound, const queue_options& options)
      : options_(options),
        socket_(std::move(bound.socket)),
        counters_(std::move(bound.counters)),
        arena_(batch_size, queues::largest_message(options)),
        pacer_(options.when_idle, unread_capacity(socket_, options.max_length)),
        judges_all_(!bound.had_owner && !options.fail_open),
        had_owner_(bound.had_owner),
        unread_(std::move(bound.unread)),
        late_(options.verdict_delay),
        // What a message costs is at most twice its length and a kilobyte.
        fills_buffer_(std::max<std::size_t>(1, socket_.receive_buffer() / (2 * queues::largest_message(options)))),
        sender_(std::make_shared<queues::sender>(socket_, right_, options)) {
    packets_.resize(batch_size);
    answers_.resize(batch_size);
    events_.reserve(batch_size + 1);  // each verdict of the last batch, and an overrun
    // The descriptor is to tell that they are there: what it says is read behind them.
    if (!unread_.empty()) static_cast<void>(wake());
  }
  core(const core&) = delete;
  core& operator=(const core&) = delete;
  ~core();

  [[nodiscard]] batch_result receive(clock::time_point deadline, bool wait);
  result<void> set_verdict(const packet& which, const verdict& given);
  [[nodiscard]] result<held_packet> hold(const packet& which);
  /// For the program, which may wait by its own means once all is decided.
  result<void> flush_collected() { return undecided_ == 0 ? end_batch() : flush(); }
  [[nodiscard]] result<int> release();
  void stop() noexcept {
    stopped_.store(true, std::memory_order_relaxed);
    // The kernel may have no memory for the message: then the next call tries again.
    if (!woken_.exchange(true, std::memory_order_relaxed) && !wake()) woken_.store(false, std::memory_order_relaxed);
  }
  [[nodiscard]] result<void> set_max_length(std::uint32_t packets) {
    if (const auto changed = queues::change_max_length(socket_, right_, options_, packets); !changed) return changed;
    pacer_.set_capacity(unread_capacity(socket_, packets));
    return {};
  }
  [[nodiscard]] const netlink::socket& connection() const noexcept { return socket_; }
  [[nodiscard]] std::uint16_t number() const noexcept { return options_.number; }
  [[nodiscard]] statistics stats() const;

 private:
  void take_over();
  result<void> flush();
  result<void> finish_batch();
  result<void> go_idle();
  result<void> pause(clock::time_point deadline);
  [[nodiscard]] result<std::size_t> wait_for_packets(clock::time_point deadline);
  [[nodiscard]] result<std::size_t> sleep_for_packets(clock::time_point deadline);
  result<void> end_batch();
  static constexpr std::size_t most_unlooked_busy = std::numeric_limits<std::size_t>::max();
  void look_for_loss(std::size_t most_unlooked);
  [[nodiscard]] std::optional<statistics::kernel> read_kernel() const;
  [[nodiscard]] batch hand_over();
  void take_unread();
  void see_id(std::uint32_t id) noexcept;
  void see_gap(std::uint32_t ids) noexcept;
  /// Whether no packet up to the last id waits without this process knowing of it.
  [[nodiscard]] bool has_all() const noexcept { return !some_unknown_ && readers_.have_no_other(); }
  [[nodiscard]] std::span<const packet> packets() const noexcept { return {packets_.data(), count_}; }
  [[nodiscard]] std::span<answer> answers() noexcept { return {answers_.data(), count_}; }
  [[nodiscard]] const packet& packet_of(const answer& its) const noexcept {
    return packets_[static_cast<std::size_t>(&its - answers_.data())];
  }
  void take(std::span<const std::byte> datagram, bool truncated);
  void take_truncated(std::span<const std::byte> datagram);
  void take_foreign(std::uint16_t of, std::uint32_t id) noexcept;
  void take_refused(const wire::error_reply& reply);
  [[nodiscard]] result<answer*> find(const packet& which, const char* operation) noexcept;
  [[nodiscard]] bool wake() const noexcept {
    for (int tries = 0; tries < 3; ++tries) {
      if (socket_.wake()) return true;
    }
    return false;
  }

  const queue_options options_;
  netlink::socket socket_;
  const netlink::net_admin_right right_;
  std::optional<netlink::counters_file> counters_;
  netlink::arena arena_;
  queues::pacer pacer_;
  const bool judges_all_;  ///< every packet of the queue that is not lost gets its verdict here
  bool had_owner_;         ///< and the first packet, which tells what it has left, has not come yet
  netlink::stash unread_;  ///< datagrams from before adopt(), and the next of them
  std::size_t next_unread_ = 0;
  bool polled_ = false;  ///< the program waits by its own means
  bool idle_ =
      false;  ///< the reader waits or may do so: what holders decide goes at once, as nobody else would send it
  queues::delay late_;
  std::uint32_t drops_ = socket_.drops();  ///< messages that the receive buffer had no room for, and are told
  std::size_t unlooked_ = 0;               ///< packets since they were looked for
  std::size_t fills_buffer_;               ///< so many at least have come before one has found no room
  std::chrono::nanoseconds looked_at_{};
  std::atomic<bool> stopped_ = false;
  std::atomic<bool> woken_ = false;  ///< for that, or about to be
  std::vector<packet> packets_;      ///< the batch, and behind it what earlier ones have left
  std::vector<answer> answers_;      ///< of packets_, each at the same index
  std::size_t count_ = 0;            ///< packets in the batch
  std::size_t undecided_ = 0;        ///< of them
  std::vector<event> events_;
  std::atomic<std::uint64_t> received_ = 0;  ///< written by the reader, as the next one
  std::atomic<std::uint64_t> malformed_ = 0;
  std::uint32_t last_id_ = 0;
  bool any_seen_ = false;                            ///< an id, which may be 0
  std::uint32_t skipped_ids_ = 0, known_drops_ = 0;  ///< ids that did not come; messages known to be lost, ever
  bool some_unknown_ = false;                ///< packets may wait that came to somebody else, or could not be taken
  mutable std::uint32_t known_missing_ = 0;  ///< packets in none of the numbers of stats(), when it last looked
  queues::readers readers_;
  const std::uint32_t forks_ = queues::count_forks();
  std::shared_ptr<queues::sender> sender_;
  std::vector<std::shared_ptr<queues::sender>> inherited_;  ///< by a child of fork(), which may hold packets of theirs
  std::atomic<const queues::sender*> counting_ = sender_.get();  ///< for other threads: sender_, but for a moment
};

queue::core::~core() {
  const netlink::cancellation_off whole;  // sending is a cancellation point, and nothing may leave a destructor
  for (const auto& each : inherited_) each->forget();
  if (!socket_) return;  // given away
  if (!sender_->is_ours()) {
    sender_->forget();
    return;
  }
  const auto finished = queues::insist([this] { return finish_batch(); });
  const auto closed = sender_->close();
  // What waits may be another process's, which is about to judge it.
  if (options_.at_close != queue_options::closing::accept_waiting || !has_all()) return;
  // What could not be sent may be a drop, which must not become an accept, as what was refused.
  if (!finished || !closed || sender_->any_refused_but_accept()) return;
  // What comes behind the last verdict and before the end would be dropped. Where a child may have the socket, and may
  // be about to serve it, the queue has to stay as it is.
  if (forks_ == queues::count_forks()) static_cast<void>(queues::let_all_pass(socket_, options_.number));
  // The farthest that the kernel's comparison of ids, as signed differences, reaches with room to spare. What the one
  // before has left may have any ids: once around, and over the wrap.
  constexpr std::uint32_t beyond = 1u << 30;
  const std::uint32_t times = had_owner_ ? 5 : 1;
  queues::outgoing last(options_.number);
  for (std::uint32_t i = 1; i <= times; ++i) {
    last.add(last_id_ + i * beyond, verdict::accept(), verdict_cookie::all_waiting);
  }
  static_cast<void>(queues::insist([&] { return last.send(socket_); }));
}

/// The socket was somebody's who had another queue there, whose ids are not ours.
void queue::core::take_foreign(std::uint16_t of, std::uint32_t id) noexcept {
  const netlink::cancellation_off whole;
  queues::outgoing unasked(of);
  const auto given = options_.unanswered.what() == verdict::action::accept ? verdict::accept() : verdict::drop();
  unasked.add(id, given, verdict_cookie::all_waiting);
  static_cast<void>(unasked.send(socket_));
}

/// Before this process receives. What its parent has received, or was given by whoever had the queue, is the parent's
/// to decide: a copy must not.
void queue::core::take_over() {
  if (readers_.have_this_process()) [[likely]]
    return;
  if (!sender_->is_ours()) {
    // Nothing of the old one is locked, as a thread of the parent may have done that.
    std::erase_if(inherited_, [](const auto& each) { return each.use_count() == 1; });
    inherited_.reserve(inherited_.size() + 1);
    inherited_.push_back(std::exchange(sender_, std::make_shared<queues::sender>(socket_, right_, options_)));
    counting_ = sender_.get();
    count_ = undecided_ = 0;
    received_ = malformed_ = 0;
    idle_ = false;
  }
  if (!readers_.add_this_process()) unread_ = {}, next_unread_ = 0;
}

result<void> queue::core::finish_batch() {
  if (undecided_ != 0) {
    for (answer& each : answers()) {
      if (each.how != answer::state::undecided) continue;
      each.how = answer::state::decided;
      each.given = options_.unanswered;
      sender_->count_unanswered();
    }
    undecided_ = 0;
  }
  return flush();
}

result<void> queue::core::flush() {
  if (!sender_->is_ours()) return {};
  const auto sent = sender_->flush(answers(), has_all());
  if (sent) late_.restart();
  return sent;
}

void queue::core::look_for_loss(std::size_t most_unlooked) {
  // It costs a system call: at most one a tick, or before a wait one after as many packets as a full buffer holds.
  const auto now = queues::coarse_now();
  if (now == looked_at_ && unlooked_ < most_unlooked) return;
  looked_at_ = now;
  unlooked_ = 0;
  const std::uint32_t drops = socket_.drops();
  if (const std::uint32_t lost = drops - std::exchange(drops_, drops); lost != 0) {
    events_.push_back({.what = event::kind::overrun, .count = lost});
  }
}

result<void> queue::core::end_batch() {
  if (const auto sent = flush(); !sent) return sent;
  return polled_ ? go_idle() : result<void>{};
}

result<int> queue::core::release() {
  const auto held_back = [&] { return failed("give queue away", EBUSY); };
  if (next_unread_ != unread_.size() || sender_->holds_any()) return held_back();
  if (const auto sent = finish_batch(); !sent) return std::unexpected(sent.error());
  if (!sender_->close_unless_held()) return held_back();
  return socket_.release();
}

result<void> queue::core::go_idle() {
  if (idle_ || !sender_->is_ours()) return {};
  idle_ = true;
  return sender_->set_reader_waits(true);
}

result<void> queue::core::pause(clock::time_point deadline) {
  if (deadline != clock::time_point::max() && deadline < clock::now() + queues::pacer::pause) return {};
  if (const auto sent = go_idle(); !sent) return sent;
  const timespec time{0, std::chrono::nanoseconds(queues::pacer::pause).count()};
  if (const int error = ::clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr); error != 0) return failed("wait", error);
  return {};
}

/// EAGAIN: to be tried again.
result<std::size_t> queue::core::wait_for_packets(clock::time_point deadline) {
  if (const auto look = pacer_.looks(); look.count() != 0) {
    const auto end = std::min(deadline, clock::now() + look);
    do {
      const auto received = arena_.receive(socket_);
      if (received || !received.error().is(EAGAIN)) {
        pacer_.looked(true);
        return received;
      }
    } while (clock::now() < end && !stopped_.load(std::memory_order_relaxed));
    pacer_.looked(false);
  }
  const bool measured = pacer_.measures_sleep();
  const auto before = measured ? thread_time() : std::chrono::nanoseconds{};
  auto received = sleep_for_packets(deadline);
  if (measured && received) pacer_.slept(thread_time() - before);
  return received;
}

/// EAGAIN: to be tried again.
result<std::size_t> queue::core::sleep_for_packets(clock::time_point deadline) {
  // Who comes after a silence comes alone, and this is the shortest way from the kernel.
  if (deadline == clock::time_point::max()) {
    auto received = arena_.receive_one(socket_);
    // Unless somebody has made the descriptor O_NONBLOCK.
    if (received || !received.error().is(EAGAIN)) return received;
  }
  if (const auto waited = socket_.wait_readable(deadline); !waited) return std::unexpected(waited.error());
  return arena_.receive(socket_);
}

batch_result queue::core::receive(clock::time_point deadline, bool wait_for_it) {
  try {
    take_over();
  } catch (const std::bad_alloc&) {
    return failed("receive", ENOMEM);
  }
  // Views into the batch end here; should sending fail they stay, and so do the verdicts.
  if (const auto sent = finish_batch(); !sent) return std::unexpected(sent.error());
  const std::size_t before = std::exchange(count_, 0);
  events_.clear();
  polled_ = !wait_for_it;
  if (wait_for_it && unread_.empty() && pacer_.pauses(before)) {
    if (const auto paused = pause(deadline); !paused) return std::unexpected(paused.error());
  }
  for (;;) {
    if (stopped_.load(std::memory_order_relaxed)) {
      static_cast<void>(go_idle());
      stop();
      return failed("receive", ECANCELED);
    }
    if (!unread_.empty()) [[unlikely]] {
      take_unread();
      if (count_ != 0) return hand_over();
    }
    auto received = arena_.receive(socket_);
    if (!received && received.error().is(EAGAIN)) {
      look_for_loss(fills_buffer_);
      if (!events_.empty()) return hand_over();
      if (const auto sent = go_idle(); !sent) return std::unexpected(sent.error());
      if (!wait_for_it) return failed("receive", ETIMEDOUT);
      received = wait_for_packets(deadline);
    }
    if (received) {
      for (std::size_t i = 0; i < *received; ++i) take(arena_[i], arena_.truncated(i));
      unlooked_ += count_;
      look_for_loss(most_unlooked_busy);
      if (count_ == 0 && events_.empty()) continue;
      return hand_over();
    }
    if (received.error().is(ENOBUFS)) {
      events_.push_back({.what = event::kind::overrun});
      return hand_over();
    }
    if (!received.error().is(EAGAIN)) return std::unexpected(received.error());
  }
}

batch queue::core::hand_over() {
  if (idle_ && count_ != 0) static_cast<void>(sender_->set_reader_waits(idle_ = false));
  if (polled_) {
    // The program waits next; an error is for its next call to report.
    if (count_ == 0) static_cast<void>(go_idle());
  }
  if (stopped_.load(std::memory_order_relaxed)) {
    // Once more, as the answer may have found no room before these were read.
    woken_.store(false, std::memory_order_relaxed);
    stop();
  }
  undecided_ = count_;
  late_.restart();
  received_.fetch_add(count_, std::memory_order_relaxed);
  return {packets(), events_};
}

void queue::core::take_unread() {
  for (; next_unread_ != unread_.size() && count_ < batch_size; ++next_unread_) {
    const auto& datagram = unread_[next_unread_];
    // Errors are about verdicts of whoever had the queue.
    if (datagram.size() >= wire::nlmsg_header_size &&
        wire::load<std::uint16_t>(datagram.data() + 4) == wire::message_packet) {
      take(datagram, false);
    }
  }
  // Views of the last batch from here end with the receive() after it.
  if (count_ == 0) unread_ = {}, next_unread_ = 0;
}

void queue::core::see_id(std::uint32_t id) noexcept {
  const std::uint32_t before = std::exchange(last_id_, id);
  const bool first = !std::exchange(any_seen_, true);
  if (std::exchange(had_owner_, false)) [[unlikely]] {
    sender_->answer_all_before(id);
  } else if (id - before != 1 && !first) [[unlikely]] {
    see_gap(id - before - 1);
  }
}

/// The kernel has dropped packets that the receive buffer had no room for, and counts them. Others wait: somebody who
/// kept the descriptor has them, or a filter of the socket let nobody have them.
void queue::core::see_gap(std::uint32_t ids) noexcept {
  skipped_ids_ += ids;
  if (skipped_ids_ > known_drops_) known_drops_ = socket_.drops();
  if (skipped_ids_ > known_drops_) some_unknown_ = true;
}

/// Attributes beyond any bound we know. The id comes first, and the packet must not wait for ever.
void queue::core::take_truncated(std::span<const std::byte> datagram) {
  ++malformed_;
  constexpr std::size_t queue_at = wire::nlmsg_header_size + 2;  // nfgenmsg, res_id
  constexpr std::size_t id_at = wire::nlmsg_header_size + wire::nfgen_size + wire::attribute_header_size;
  if (datagram.size() < id_at + 4 || wire::load<std::uint16_t>(datagram.data() + 4) != wire::message_packet) return;
  const auto of = wire::load_be<std::uint16_t>(datagram.data() + queue_at);
  const auto id = wire::load_be<std::uint32_t>(datagram.data() + id_at);
  if (of != options_.number) return take_foreign(of, id);
  ++received_;
  see_id(id);
  try {
    sender_->hold(id, std::nullopt);
    sender_->give_up_held(id);
  } catch (const std::bad_alloc&) {
    some_unknown_ = true;
  }
}

void queue::core::take(std::span<const std::byte> datagram, bool truncated) {
  if (truncated) [[unlikely]]
    return take_truncated(datagram);
  wire::bytes rest = datagram;
  const auto message = wire::next_message(rest);
  if (!message) {
    ++malformed_;
    return;
  }
  if (message->type == wire::message_packet) {
    packet& parsed = packets_[count_];
    if (!wire::parse_packet(*message, parsed)) {
      ++malformed_;
      return;
    }
    if (parsed.queue != options_.number) [[unlikely]] {
      ++malformed_;
      take_foreign(parsed.queue, parsed.id);
      return;
    }
    answer& its = answers_[count_++];
    its.how = answer::state::undecided;
    its.id = parsed.id;
    see_id(parsed.id);
    return;
  }
  if (const auto reply = wire::parse_error(*message)) take_refused(*reply);
}

void queue::core::take_refused(const wire::error_reply& reply) {
  if (reply.request_type == wire::message_noop && !stopped_.load(std::memory_order_relaxed) &&
      !readers_.have_no_other()) {
    // It is to end the wait of another process, which is the next in line and needs a moment to come. Where that works
    // on a batch it comes back here, but not for ever.
    constexpr std::uint32_t most_hands = 16;
    if (reply.sequence >= most_hands || !socket_.wake(reply.sequence + 1)) return;
    constexpr timespec moment{0, 1'000'000};
    ::clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, nullptr);
    return;
  }
  // It made the descriptor readable for the end, which has to be so on.
  if (reply.request_type == wire::message_noop) woken_.store(false, std::memory_order_relaxed);
  if (reply.code == 0) return;
  if (reply.request_type != wire::message_verdict && reply.request_type != wire::message_verdict_batch) return;
  const auto cookie = verdict_cookie::decode(reply.port_id);
  const std::uint32_t count = sender_->count_refused(reply.sequence, cookie, reply.code);
  if (count == 0) return;  // verdict_cookie::all_waiting, and nobody was
  events_.push_back({.what = reply.code == ENOENT ? event::kind::gone : event::kind::refused,
                     .id = reply.sequence,
                     .count = count,
                     .code = std::error_code(reply.code, std::system_category())});
}

namespace {

bool is_copy(const packet& one, const packet& other) noexcept {
  const auto a = one.payload, b = other.payload;
  return !a.empty() && one.hook == other.hook && one.indev == other.indev && one.outdev == other.outdev &&
         a.size() == b.size() && (a.data() == b.data() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

}  // namespace

result<answer*> queue::core::find(const packet& which, const char* operation) noexcept {
  const std::less<> before;
  answer* found = nullptr;
  if (!before(&which, packets_.data()) && before(&which, packets_.data() + count_)) {
    found = &answers_[static_cast<std::size_t>(&which - packets_.data())];
  } else if (which.queue == options_.number) {
    // A copy of the packet. Every queue counts its ids from 1, and other network namespaces have the same numbers: what
    // is in it has to tell.
    const auto same = std::ranges::find(answers(), which.id, &answer::id);
    if (same != answers().end() && is_copy(which, packet_of(*same))) found = &*same;
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
    if (packet_of(its).truncated || !sender_->can_send(given)) return failed("set verdict", EMSGSIZE);
  }
  // The bytes are the program's again when we return; and a child's copy of a batch collects nothing.
  if ((!payload.empty() && !arena_.contains(payload)) || !sender_->is_ours()) {
    if (const auto sent = flush(); !sent) return sent;
    if (const auto sent = sender_->send_now(its.id, given); !sent) return sent;
    its.how = answer::state::sent;
    return --undecided_ == 0 ? end_batch() : result<void>{};
  }
  its.how = answer::state::decided;
  its.given = given;
  if (--undecided_ == 0) return end_batch();
  return late_.is_over() ? flush() : result<void>{};
}

result<held_packet> queue::core::hold(const packet& which) {
  const auto found = find(which, "hold packet");
  if (!found) return std::unexpected(found.error());
  try {
    sender_->hold(which.id, answers_.front().id);
  } catch (const std::bad_alloc&) {
    return failed("hold packet", ENOMEM);
  }
  (*found)->how = answer::state::held;
  held_packet held(sender_, which.id, packet_of(**found).truncated);
  // What can't be sent now is for the next receive to send, or to report.
  if (--undecided_ == 0) {
    // The program may wait by its own means now: once more, and holders' verdicts go at once.
    if (!end_batch() && polled_) static_cast<void>(go_idle());
  } else if (late_.is_over()) {
    static_cast<void>(flush());
  }
  return held;
}

std::optional<statistics::kernel> queue::core::read_kernel() const {
  const auto queues = counters_->read();
  if (!queues) return std::nullopt;
  for (const auto& each : *queues) {
    if (each.queue != options_.number || each.port_id != socket_.port_id()) continue;
    return statistics::kernel{.queued = each.last_id,
                              .waiting = each.waiting,
                              .lost_queue_full = each.dropped,
                              .lost_no_buffer = each.user_dropped};
  }
  return std::nullopt;
}

statistics queue::core::stats() const {
  return counting_.load()->stats(received_, [this](statistics& now) {
    now.malformed = malformed_;
    now.receive_buffer = socket_.receive_buffer();
    if (!counters_) return;
    // The kernel goes on to queue, and its file does not stop it: a packet has its id a moment before it counts as
    // waiting (__nfqnl_enqueue_packet, seq_show). That moment is soon missed. What is not there for longer the kernel
    // has dropped by itself.
    for (int tries = 0; tries < 5; ++tries) {
      if (tries == 4) wait_a_moment();
      now.in_kernel = read_kernel();
      if (!now.in_kernel || !judges_all_ || !readers_.have_no_other()) return;
      const auto& kernel = *now.in_kernel;
      const auto judged =
          static_cast<std::uint32_t>(now.accepted + now.dropped + now.repeated + now.stopped + now.requeued + now.gone);
      const std::uint32_t missing = kernel.queued - kernel.lost_no_buffer - kernel.waiting - judged;
      if (missing == 0 || missing == known_missing_ || tries == 4) {
        known_missing_ = missing;
        return;
      }
    }
  });
}

queue::queue(std::unique_ptr<core> made) noexcept : core_(std::move(made)) {}
queue::queue(queue&&) noexcept = default;
queue& queue::operator=(queue&&) noexcept = default;
queue::~queue() = default;

namespace {

error about(error what, const queue_options& options) noexcept {
  what.operation = "bind queue";
  what.queue = options.number;
  return what;
}

}  // namespace

result<queue> queues::maker::make(binding&& of, const queue_options& options) {
  try {
    if (const auto set = of.socket.let_signals_end_waits(); !set) return std::unexpected(about(set.error(), options));
    return queue(std::make_unique<queue::core>(std::move(of), options));
  } catch (const std::bad_alloc&) {
    return std::unexpected(about(failed("", ENOMEM).error(), options));
  }
}

result<queue> queue::open(const queue_options& options) {
  auto bound = queues::bind_queue(options);
  if (!bound) return std::unexpected(bound.error());
  return queues::maker::make(*std::move(bound), options);
}

result<queue> queue::adopt(int fd, const queue_options& options) {
  auto bound = queues::adopt_queue(fd, options);
  if (!bound) return std::unexpected(bound.error());
  auto adopted = queues::maker::make(*std::move(bound), options);
  if (adopted) const netlink::descriptor closed(fd);
  return adopted;
}

result<int> queue::release() && {
  auto given = core_->release();
  if (given) core_.reset();
  return given;
}

batch_result queue::receive(clock::time_point deadline) & {
  return core_->receive(deadline, true);
}

batch_result queue::try_receive() & {
  return core_->receive({}, false);
}

result<void> queue::set_verdict(const packet& which, const verdict& answer) {
  return core_->set_verdict(which, answer);
}

result<held_packet> queue::hold(const packet& which) {
  return core_->hold(which);
}

result<void> queue::flush() {
  return core_->flush_collected();
}

void queue::stop() noexcept {
  core_->stop();
}

result<void> queue::set_max_length(std::uint32_t packets) {
  return core_->set_max_length(packets);
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
