// SPDX-License-Identifier: MIT
// Where packets come from and verdicts go: a live queue or anything that behaves like one. What is written against a
// source works on each of them.
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
#include <vector>

#include "ipq/error.hpp"
#include "ipq/packet.hpp"
#include "ipq/verdict.hpp"

namespace ipq {

/// What happened to a verdict, or to the source, besides packets.
struct event {
  enum class kind : std::uint8_t {
    gone,     ///< the packet was not there any more (ENOENT): its interface or a rule table went away. Of verdicts that
              ///< were merged into one batch verdict the kernel tells it only if all their packets were gone;
              ///< queue_options::verdict_delay of 0 has each told
    refused,  ///< the kernel refused the verdict, see `code`: the capability was lost, or the queue is not ours any
              ///< more. A lost capability is told once a send: `id` is of its first verdict, and `count` says how many
              ///< went with it, as far as that is one of the last 64 sends
    overrun   ///< the receive buffer was full: `count` messages did not come, most often packets, which were dropped,
              ///< or with fail_open accepted. Told with one of the next batches.
  };
  kind what;
  std::uint32_t id = 0;     ///< of the packet; of the last one where `count` had the same verdict
  std::uint32_t count = 1;  ///< verdicts, or messages, that this is about
  std::error_code code = {};
};

/// Every packet that the kernel wanted to queue is in exactly one of these, in one call:
/// queued + lost_queue_full
///   = accepted + dropped + repeated + stopped + requeued + gone + waiting + lost_no_buffer + lost_queue_full,
/// where the kernel's numbers are known (not within a user namespace) and fail-open let none pass. What the kernel
/// drops as an interface or a rule table goes away is in `queued` alone until its verdict is sent, as is one that
/// enters the queue at this very moment; packets that the one before adopt() or, after a fork, another process has
/// judged always are. For a source without a kernel: received = accepted + dropped + repeated + stopped + requeued +
/// gone + refused + undecided.
struct statistics {
  std::uint64_t received = 0;  ///< packets handed to the program, and those of `malformed` that got `unanswered`
  std::uint64_t accepted = 0;  ///< verdicts that the kernel has taken
  std::uint64_t dropped = 0;
  std::uint64_t repeated = 0;
  std::uint64_t stopped = 0;
  std::uint64_t requeued = 0;
  std::uint64_t gone = 0;        ///< verdicts that found no packet, see event; in none of the five above
  std::uint64_t refused = 0;     ///< verdicts that the kernel refused, see event; their packets wait on
  std::uint64_t unanswered = 0;  ///< packets that got the source's `unanswered`; also counted as what that is
  std::uint64_t malformed = 0;   ///< messages not to be read: their packets got `unanswered`, but for those whose id
                                 ///< could not be read either, which wait on. And messages of another queue on the
                                 ///< socket: accepted if `unanswered` is an accept, else dropped, with all that waits
                                 ///< before them there, and in none of the other numbers
  std::uint64_t undecided = 0;   ///< packets that the program has and for which no verdict has been sent

  /// What the kernel counts for a queue.
  struct kernel {
    std::uint32_t queued = 0;           ///< ids given: packets that entered the queue, modulo 2^32
    std::uint32_t waiting = 0;          ///< for a verdict, received or not
    std::uint32_t lost_queue_full = 0;  ///< dropped, since max_length were waiting
    std::uint32_t lost_no_buffer = 0;   ///< dropped, since the receive buffer was full
  };
  std::optional<kernel> in_kernel = {};  ///< /proc/net/netfilter/nfnetlink_queue: nullopt if it can't be read
  std::size_t receive_buffer = 0;        ///< bytes, as the kernel has granted it; 0 where there is none
};

/// A packet that is decided later, on any thread. Destroyed without a verdict it gets the source's `unanswered`. One
/// that outlives its source does nothing: set_verdict is ENODEV.
class held_packet {
 public:
  /// The part of a source that its held packets speak to, from any thread; it may outlive the source.
  class keeper {
   public:
    virtual ~keeper() = default;
    /// Errors: those of set_verdict below, but for EALREADY. After an error a verdict with a payload is not kept.
    virtual result<void> set_held_verdict(std::uint32_t id, const verdict& given) = 0;
    virtual void give_up_held(std::uint32_t id) noexcept = 0;
  };

  /// For sources.
  held_packet(std::shared_ptr<keeper> to, std::uint32_t id, bool truncated) noexcept
      : to_(std::move(to)), id_(id), truncated_(truncated) {}
  held_packet(held_packet&& other) noexcept = default;
  held_packet& operator=(held_packet&& other) noexcept {
    if (this == &other) return *this;
    give_up();
    to_ = std::move(other.to_);
    id_ = other.id_;
    truncated_ = other.truncated_;
    return *this;
  }
  ~held_packet() { give_up(); }

  [[nodiscard]] std::uint32_t id() const noexcept { return id_; }

  /// Gives the verdict and uses the packet up. To a live queue it is on its way when this returns if the reader waits
  /// in receive(), had nothing from it, or has decided or held all that try_receive() gave it, and so may wait by its
  /// own means. While it works on a batch the verdict goes out with what it decides, or with 63 others. Errors: those
  /// of source::flush, EALREADY if it had one, ENODEV if the source is closed, EINVAL a replacement of more than 65531
  /// bytes, EMSGSIZE one for a truncated packet, or larger than the send buffer.
  result<void> set_verdict(const verdict& answer) && {
    if (!to_) return failed("set verdict", EALREADY);
    if (answer.payload().size() > verdict::max_payload) return failed("set verdict", EINVAL);
    if (truncated_ && !answer.payload().empty()) return failed("set verdict", EMSGSIZE);
    const auto given = to_->set_held_verdict(id_, answer);
    // A replacement that could not be sent is not kept: the packet still is to be decided.
    if (given || answer.payload().empty()) to_.reset();
    return given;
  }

 private:
  void give_up() noexcept {
    if (const auto to = std::move(to_)) to->give_up_held(id_);
  }

  std::shared_ptr<keeper> to_;  ///< null: used up
  std::uint32_t id_ = 0;
  bool truncated_ = false;
};

/// Packets and events that came together. Valid, with the payloads, until the source's next receive.
class batch {
 public:
  /// For sources.
  batch(std::span<const packet> packets, std::span<const event> events) noexcept : packets_(packets), events_(events) {}

  [[nodiscard]] auto begin() const noexcept { return packets_.begin(); }
  [[nodiscard]] auto end() const noexcept { return packets_.end(); }
  [[nodiscard]] std::size_t size() const noexcept { return packets_.size(); }
  [[nodiscard]] bool empty() const noexcept { return packets_.empty(); }
  [[nodiscard]] const packet& operator[](std::size_t index) const noexcept { return packets_[index]; }
  [[nodiscard]] std::span<const event> events() const noexcept { return events_; }

 private:
  std::span<const packet> packets_;
  std::span<const event> events_;
};

/// A batch or why there is none. It has to have a name before the batch is taken out of it: a loop over `*q.receive()`
/// would run over a batch that is gone, and nobody would have looked for an error.
class [[nodiscard]] batch_result : public result<batch> {
 public:
  using result<batch>::result;  // NOLINT(cppcoreguidelines-rvalue-reference-param-not-moved): std::expected's own

  const batch& operator*() const& noexcept { return result<batch>::operator*(); }
  batch operator*() && = delete;
  batch operator*() const&& = delete;
  /// Throws std::bad_expected_access where there is an error.
  const batch& value() const& { return result<batch>::value(); }
  batch value() && { return std::move(*this).result<batch>::value(); }
};

/// One thread at a time uses a source, but stop() may be called from any, and held packets are decided on any.
class source {
 public:
  using clock = std::chrono::steady_clock;
  virtual ~source() = default;

  /// The next packets, waiting for the first at most until `deadline`. What of the batch before is neither decided nor
  /// held gets `unanswered` now, and its views end. Errors: ETIMEDOUT, EINTR after a signal handler, ECANCELED after
  /// stop(), ENODATA at the end of a capture; those of flush(); those of reading, which the source names. ENODATA and
  /// ECANCELED are for ever.
  [[nodiscard]] virtual batch_result receive(clock::time_point deadline = clock::time_point::max()) & = 0;
  /// The same without waiting: ETIMEDOUT if there is nothing. For an event loop that watches fd(): it waits only after
  /// an ETIMEDOUT, or once it has decided or held the whole batch, as else what it passed over and verdicts beside that
  /// are not sent yet.
  [[nodiscard]] virtual batch_result try_receive() & = 0;

  /// Decides a packet of the last batch. Errors: EALREADY it is decided or held; EINVAL it, or what it is a copy of, is
  /// not of this batch, it is a copy without a payload, by which copies are known, or its replacement has more than
  /// 65531 bytes; EMSGSIZE a replacement for a truncated packet, whose end would be lost, or one that is larger than
  /// the queue's send buffer (it stays undecided); those of flush(), after which the verdict is kept for the next, but
  /// for one with a replacement that is not of this batch, or was in the socket before adopt(), and for any that a
  /// child of fork() gives on its copy: its packet stays undecided.
  virtual result<void> set_verdict(const packet& which, const verdict& answer) = 0;

  /// Takes a packet of the last batch out of it, to be decided later. Errors: EALREADY, EINVAL as above; ENOMEM.
  [[nodiscard]] virtual result<held_packet> hold(const packet& which) = 0;

  /// Sends the verdicts collected so far. Errors: those of sending or writing; nothing is lost, the next call tries
  /// again.
  virtual result<void> flush() = 0;

  /// Ends this and every later receive() with ECANCELED. From any thread, or a signal handler.
  virtual void stop() noexcept = 0;

  /// Readable when packets or events are there, or the end is.
  [[nodiscard]] virtual int fd() const noexcept = 0;

  [[nodiscard]] virtual statistics stats() const = 0;

 protected:
  source() = default;
  source(source&&) = default;
  source& operator=(source&&) = default;
};

/// Hands every packet to `handler`, whose verdict it gets, until stop(), the end of a capture or an error: `{}` after
/// the first two. Memory that the kernel lacks for a moment ends nothing (ENOBUFS, ENOMEM; a packet whose replacement
/// was not sent gets `unanswered`); twice in a row does. A packet that the handler itself holds or decides is left to
/// that, and what the handler returns for it is passed over. Events go unseen, but are counted. What the handler throws
/// passes through; its packet, and the rest of the batch, get `unanswered`. A replacement has to outlive the handler's
/// call, as what it captures does.
template <std::derived_from<source> Source, class Handler>
requires std::invocable<Handler&, const packet&> &&
    std::convertible_to<std::invoke_result_t<Handler&, const packet&>, verdict>
        result<void> serve(Source& from, Handler handler) {
  bool lacked_memory = false;  // verdicts are kept then, and receive() sends them
  for (;;) {
    const auto received = from.receive(source::clock::time_point::max());
    if (!received) {
      if (received.error().is(EINTR)) continue;
      if (received.error().is(ECANCELED) || received.error().is(ENODATA)) return {};
      if (received.error().lacks_memory() && !std::exchange(lacked_memory, true)) continue;
      return std::unexpected(received.error());
    }
    lacked_memory = false;
    for (const packet& each : *received) {
      const auto given = from.set_verdict(each, handler(each));
      if (given || given.error().is(EALREADY)) continue;
      // A replacement that can't be used leaves the packet to `unanswered`.
      if (!given.error().is(EMSGSIZE) && !given.error().is(EINVAL) && !given.error().lacks_memory()) return given;
    }
  }
}

/// The same for a handler that edits packets, in a buffer that lives until they are sent.
template <std::derived_from<source> Source, class Handler>
requires(!std::invocable<Handler&, const packet&>) &&
    std::invocable<Handler&, const packet&, std::vector<std::byte>&>&& std::convertible_to<
        std::invoke_result_t<Handler&, const packet&, std::vector<std::byte>&>,
        verdict> result<void> serve(Source& from, Handler handler) {
  std::vector<std::byte> buffer;
  return serve(from, [&](const packet& each) -> verdict { return handler(each, buffer); });
}

}  // namespace ipq
