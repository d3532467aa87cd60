// SPDX-License-Identifier: MIT
// A live queue of the kernel: batches of packets in, verdicts out, together where that changes nothing.
#pragma once

#include <cerrno>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "ipq/error.hpp"
#include "ipq/packet.hpp"
#include "ipq/verdict.hpp"

namespace ipq {

struct queue_options {
  std::uint16_t number = 0;  ///< of the rule: NFQUEUE --queue-num, or 0 for the old QUEUE

  bool metadata_only = false;    ///< no payload (NFQNL_COPY_META)
  std::uint32_t copy_range = 0;  ///< bytes of each packet, at most 65531; 0 all. A packet that has more is `truncated`
  std::uint32_t max_length = 1024;  ///< packets that may wait for a verdict; the next ones are dropped, and counted
  bool fail_open = false;           ///< accept instead of drop what finds the queue or the receive buffer full
  bool gso = false;        ///< take segments unsplit: several times faster for TCP; such packets have `gso` set
  bool conntrack = false;  ///< connection of each packet; kernels without CONFIG_NETFILTER_NETLINK_GLUE_CT refuse
  bool uid_gid = false;    ///< owner of the sending socket, of packets sent by this machine
  bool security_context = false;  ///< label of the sending socket
  bool timestamps = false;        ///< time of reception; makes the kernel stamp all packets while the queue is open

  /// Bytes of packets that the kernel may hold for us; 0: what max_length packets of copy_range bytes need, at most
  /// 64 MiB. Beyond net.core.rmem_max only where CAP_NET_ADMIN is held in the initial user namespace; see
  /// queue_stats::receive_buffer for what came of it.
  std::size_t receive_buffer = 0;

  /// For packets that the program passes over: not answered and not held when the next batch is asked for.
  verdict unanswered = verdict::drop();
  /// For packets that wait when the queue is closed.
  enum class closing : std::uint8_t { drop_waiting, accept_waiting };
  closing at_close = closing::drop_waiting;
};

/// What happened to a verdict, or to the queue, besides packets.
struct queue_event {
  enum class kind : std::uint8_t {
    gone,     ///< the packet was not there any more: its interface or a rule table went away (ENOENT)
    refused,  ///< the kernel refused the verdict, see `code`: a lost capability, a queue that is not ours any more
    overrun   ///< the kernel had something to say and no room for it; stats() says how many packets were lost
  };
  kind what;
  std::uint32_t id = 0;     ///< of the packet; of the last one where `count` had the same verdict
  std::uint32_t count = 1;  ///< verdicts that this is about
  std::error_code code = {};
};

/// Every packet that the kernel wanted to queue is in exactly one of these, in one call:
/// queued + lost_queue_full = accepted + dropped + repeated + stopped + requeued + gone + waiting + lost_no_buffer,
/// where the kernel's numbers are known (not within a user namespace) and fail-open let none pass.
struct queue_stats {
  std::uint64_t received = 0;  ///< packets handed to the program
  std::uint64_t accepted = 0;  ///< verdicts that the kernel has taken
  std::uint64_t dropped = 0;
  std::uint64_t repeated = 0;
  std::uint64_t stopped = 0;
  std::uint64_t requeued = 0;
  std::uint64_t gone = 0;        ///< verdicts that found no packet, see queue_event; in none of the five above
  std::uint64_t unanswered = 0;  ///< packets that got queue_options::unanswered; also counted as what that is
  std::uint64_t malformed = 0;   ///< messages that could not be read; a packet in one got `unanswered`
  std::uint64_t undecided = 0;   ///< packets that the program has and the kernel has no verdict for

  struct kernel {
    std::uint32_t queued = 0;           ///< ids given: packets that entered the queue, modulo 2^32
    std::uint32_t waiting = 0;          ///< for a verdict, received or not
    std::uint32_t lost_queue_full = 0;  ///< dropped, since max_length were waiting
    std::uint32_t lost_no_buffer = 0;   ///< dropped, since the receive buffer was full
  };
  std::optional<kernel> in_kernel = {};  ///< /proc/net/netfilter/nfnetlink_queue: nullopt if it can't be read
  std::size_t receive_buffer = 0;        ///< bytes, as the kernel has granted it
};

class queue;

/// A packet that is decided later, on any thread. Destroyed without a verdict it gets the queue's `unanswered`. What
/// outlives its queue does nothing.
class held_packet {
 public:
  held_packet(held_packet&& other) noexcept;
  held_packet& operator=(held_packet&& other) noexcept;
  ~held_packet();

  [[nodiscard]] std::uint32_t id() const noexcept { return id_; }

  /// Gives the verdict and uses the packet up. It is on its way when this returns if a reader waits in receive(), and
  /// else goes out when the reader asks for its next batch, or with 63 others. Errors: those of queue::flush, EALREADY
  /// if it had one, ENODEV if the queue is closed.
  result<void> set_verdict(const verdict& answer) &&;

 private:
  friend class queue;
  struct access;
  held_packet(std::shared_ptr<access> to, std::uint32_t id, bool truncated) noexcept;
  void give_up() noexcept;

  std::shared_ptr<access> to_;  ///< null: used up
  std::uint32_t id_ = 0;
  bool truncated_ = false;
};

/// Packets and events that came together. Valid, with the payloads, until the queue's next receive.
class batch {
 public:
  [[nodiscard]] auto begin() const noexcept { return packets_.begin(); }
  [[nodiscard]] auto end() const noexcept { return packets_.end(); }
  [[nodiscard]] std::size_t size() const noexcept { return packets_.size(); }
  [[nodiscard]] bool empty() const noexcept { return packets_.empty(); }
  [[nodiscard]] const packet& operator[](std::size_t index) const noexcept { return packets_[index]; }
  [[nodiscard]] std::span<const queue_event> events() const noexcept { return events_; }

 private:
  friend class queue;
  batch(std::span<const packet> packets, std::span<const queue_event> events) noexcept
      : packets_(packets), events_(events) {}
  std::span<const packet> packets_;
  std::span<const queue_event> events_;
};

/// Owns a queue number of the network namespace that the opening thread is in. One thread at a time uses a queue, but
/// stop() may be called from any, and held packets are decided on any.
///
/// Verdicts are collected, and sent together in order of arrival: when the last packet of a batch has its verdict, with
/// every receive() before it reads or waits, and by flush(). A run of equal verdicts goes out as one batch verdict
/// where every earlier packet is decided, so that it can't hit a packet that is not.
class queue {
 public:
  /// Binds. Errors: EPERM the right is missing (CAP_NET_ADMIN in the network namespace); EBUSY somebody has the number,
  /// named in the message where that can be known; EINVAL a bad option; ENOSYS a kernel without nfnetlink_queue;
  /// EOPNOTSUPP it lacks what a flag asks for; ETIMEDOUT no answer; those of socket(2).
  [[nodiscard]] static result<queue> open(const queue_options& options);
  queue(queue&&) noexcept;
  queue& operator=(queue&&) noexcept;
  /// Sends what was decided, then deals with what waits as queue_options::at_close says.
  ~queue();

  using clock = std::chrono::steady_clock;

  /// Up to 64 packets, as many as are there; waits for the first until `deadline`. Packets of the batch before that are
  /// neither decided nor held get `unanswered` now, and its views end. Errors: ETIMEDOUT, EINTR after a signal handler,
  /// ECANCELED after stop(); those of flush(), and of recvmmsg(2). None of them ends the queue.
  [[nodiscard]] result<batch> receive(clock::time_point deadline = clock::time_point::max()) &;
  /// The same without waiting: ETIMEDOUT if there is nothing. For an event loop that watches fd().
  [[nodiscard]] result<batch> try_receive() &;
  result<batch> receive(clock::time_point deadline = clock::time_point::max()) && = delete;
  result<batch> try_receive() && = delete;

  /// Decides a packet of the last batch. Errors: EALREADY it is decided or held; EINVAL it is not of this batch, or its
  /// replacement has more than 65531 bytes; EMSGSIZE a replacement for a truncated packet, whose end would be lost (it
  /// stays undecided); those of flush(), after which the verdict is kept for the next.
  result<void> set_verdict(const packet& which, const verdict& answer);

  /// Takes a packet of the last batch out of it, to be decided later. Errors: EALREADY, EINVAL as above.
  [[nodiscard]] result<held_packet> hold(const packet& which);

  /// Sends the verdicts collected so far. Errors: those of sendmsg(2); nothing is lost, the next call tries again.
  result<void> flush();

  /// Ends this and every later receive() with ECANCELED. From any thread, or a signal handler.
  void stop() noexcept;

  /// Readable when packets or events are there: nothing is kept back in the library.
  [[nodiscard]] int fd() const noexcept;
  [[nodiscard]] std::uint16_t number() const noexcept;

  /// A snapshot; reads a file of /proc.
  [[nodiscard]] queue_stats stats() const;

 private:
  friend class held_packet;
  class core;
  explicit queue(std::unique_ptr<core> made) noexcept;
  std::unique_ptr<core> core_;
};

/// Hands every packet to `handler`, whose verdict it gets, until stop() or an error: `{}` after stop(). Events go
/// unseen, but are counted. What the handler throws passes through; its packet, and the rest of the batch, get
/// `unanswered`.
template <class Handler>
requires std::invocable<Handler&, const packet&> &&
    std::convertible_to<std::invoke_result_t<Handler&, const packet&>, verdict>
        result<void> serve(queue& from, Handler handler) {
  for (;;) {
    const auto received = from.receive();
    if (!received) {
      if (received.error().is(EINTR)) continue;
      if (received.error().is(ECANCELED)) return {};
      return std::unexpected(received.error());
    }
    for (const packet& each : *received) {
      const auto given = from.set_verdict(each, handler(each));
      // A replacement that can't be used leaves the packet to `unanswered`.
      if (!given && !given.error().is(EMSGSIZE) && !given.error().is(EINVAL)) return given;
    }
  }
}

}  // namespace ipq
