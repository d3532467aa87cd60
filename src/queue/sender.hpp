// SPDX-License-Identifier: MIT
// The way out of a queue: what the reader and, on other threads, holders of packets decided goes through here.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "ipq/error.hpp"
#include "ipq/queue.hpp"
#include "ipq/source.hpp"
#include "ipq/verdict.hpp"
#include "netlink/capability.hpp"
#include "netlink/socket.hpp"
#include "queue/delay.hpp"
#include "queue/fork_mark.hpp"
#include "queue/outgoing.hpp"

namespace ipq::queues {

/// A packet of the batch that the reader has, and how far it is.
struct answer {
  enum class state : std::uint8_t { undecided, decided, held, sent };
  state how = state::undecided;
  std::uint32_t id = 0;
  verdict given = verdict::drop();
};

/// Calls what sends, again where the kernel had no memory for a moment: for where there is no next call.
template <class Call>
result<void> insist(Call call) {
  auto sent = call();
  for (int tries = 0; tries < 3 && !sent && sent.error().lacks_memory(); ++tries) sent = call();
  return sent;
}

class sender final : public held_packet::keeper {
 public:
  /// `to` lives until close().
  sender(const netlink::socket& to, const netlink::net_admin_right& right, const queue_options& options);

  /// Sends what holders decided and then what of `batch` is decided, in this order; `batch` is the reader's last, in
  /// order of arrival. `alone`: nobody else has received from the queue, so that a batch verdict can't hit what they
  /// have. Errors: those of sending; all of it stays for the next call.
  result<void> flush(std::span<answer> batch, bool alone);

  /// False: the socket's send buffer is too small for its replacement.
  [[nodiscard]] bool can_send(const verdict& given) const noexcept { return now_.can_hold(given); }

  /// Sends one verdict at once; what was collected has to be flushed before. Nothing is kept after an error.
  result<void> send_now(std::uint32_t id, const verdict& given);

  /// A packet is held; without `first`, the first id of its batch, it is of none.
  void hold(std::uint32_t id, std::optional<std::uint32_t> first);
  /// A verdict by a holder. Errors: those of sending, ENODEV after close().
  result<void> set_held_verdict(std::uint32_t id, const verdict& given) override;
  /// As if the holder had given the queue's `unanswered`.
  void give_up_held(std::uint32_t id) noexcept override;

  /// False in a child of fork(): its copy sends nothing but what the child itself decides, at once. It has another
  /// sender from when it receives.
  [[nodiscard]] bool is_ours() const noexcept { return ours_.is_set(); }

  /// From now on, until it says otherwise, the reader waits: verdicts go out at once. With the first call, what is
  /// there goes too.
  result<void> set_reader_waits(bool waits);

  /// Packets before this one are of somebody who had the queue: with the next flush they get `unanswered`, if that is
  /// alone.
  void answer_all_before(std::uint32_t id) noexcept;

  /// The kernel refused the message of this id. Returns how many verdicts that are: without the right it looks at no
  /// message behind the first of a datagram (nfnetlink_rcv).
  std::uint32_t count_refused(std::uint32_t id, const verdict_cookie& cookie, int code) noexcept;
  /// Whether packets wait on as a verdict other than accept was refused, or will be.
  [[nodiscard]] bool any_refused_but_accept() const noexcept;
  void count_unanswered() noexcept;
  /// What of `received` has which verdict. Meanwhile `look` adds the rest: no verdict is sent until it returns.
  [[nodiscard]] statistics stats(const std::atomic<std::uint64_t>& received,
                                 const std::function<void(statistics&)>& look) const;

  /// Whether holders have packets that they have not decided.
  [[nodiscard]] bool holds_any() const noexcept;
  /// The socket is about to go; holders may outlive it. What they have decided until now is sent. Errors: those of
  /// sending.
  result<void> close() noexcept;
  /// The same in a child of fork() for its copy: nothing is sent.
  void forget() noexcept;
  /// The same, unless a holder has a packet, or a verdict of one is not sent: then false.
  [[nodiscard]] bool close_unless_held() noexcept;

 private:
  /// For what a child of fork() may call on its copy, too.
  [[nodiscard]] std::unique_lock<std::mutex> lock() const noexcept;
  result<void> add(std::uint32_t id, const verdict& given, std::uint32_t count);
  result<void> add_held();
  void look_for_right(bool only_accepts) noexcept;
  void see_refused(bool only_accepts) noexcept;
  result<void> send_out();
  result<void> send_alone(std::uint32_t id, const verdict& given);
  void take_back(verdict::action what, std::uint64_t count, std::uint64_t& to) noexcept;
  void begin_batch(std::uint32_t first) noexcept;
  /// A held packet's verdict is in out_ or sent.
  void release(std::uint32_t id) noexcept;
  [[nodiscard]] bool holds_none() const noexcept { return held_ == decided_by_holders_.size(); }
  [[nodiscard]] bool must_send_held() const noexcept;
  [[nodiscard]] std::uint64_t& counter_of(verdict::action what) noexcept;

  mutable std::mutex mutex_;
  const netlink::socket* to_;
  const netlink::net_admin_right right_;
  const verdict unanswered_;
  const bool merges_;             ///< equal runs into one, of which the kernel tells only together that they are gone
  const bool must_know_refused_;  ///< at once: what the kernel says of it stands behind what else is unread
  bool any_refused_ = false, any_refused_but_accept_ = false;
  const fork_mark ours_{true};
  bool reader_waits_ = false;
  std::optional<std::uint32_t> all_before_ = {};
  delay late_;            ///< what holders decided
  std::size_t held_ = 0;  ///< packets that holders have and that are not in out_ yet
  std::uint32_t first_of_batch_ = 0;
  std::vector<std::uint32_t> held_of_batch_;  ///< those of them that are of the reader's last batch
  std::vector<std::pair<std::uint32_t, verdict>> decided_by_holders_;
  outgoing out_;
  std::array<datagram_load, 64> sent_ = {};  ///< the last of them, in a ring
  std::size_t next_sent_ = 0;
  bool refused_whole_ = false;  ///< the last datagram that EPERM was about is one of them, and is counted
  outgoing now_;
  statistics counted_{};
};

}  // namespace ipq::queues
