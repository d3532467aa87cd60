// SPDX-License-Identifier: MIT
// What LIBIPQ_BATCH keeps in this process: messages that were received and not yet read, and verdicts that were given
// and not yet sent.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "ipq/error.hpp"
#include "netlink/arena.hpp"
#include "netlink/socket.hpp"
#include "wire/verdict.hpp"

namespace ipq::compat {

/// The answer to socket::wake, whether or not the kernel liked it.
[[nodiscard]] bool answers_wake(std::span<const std::byte> datagram) noexcept;

/// As long as messages wait here the socket is readable too: where nothing else is in it, the kernel is made to put an
/// acknowledgement there, which is taken out when the last message is. Verdicts wait as long as messages do, and no
/// longer.
///
/// It has locks that nobody waits for: whoever finds one taken goes the way without read-ahead. A signal handler may
/// give verdicts, but not leave a read by longjmp, whose lock would stay taken.
class read_ahead {
 public:
  static constexpr std::size_t most = 64;

  /// Throws std::bad_alloc.
  read_ahead();

  /// Hands the next message to `use`, which returns nullopt for what is nothing to the program. nullopt: there is none,
  /// or another thread reads. `refill`: whether more may be received. Verdicts that have to go go `to`.
  template <class Use>
  [[nodiscard]] auto read(const netlink::socket& from, const netlink::socket& to, bool refill, Use use)
      -> decltype(use(std::span<std::byte>())) {
    decltype(use(std::span<std::byte>())) used;
    {
      if (reading_.test_and_set()) return std::nullopt;
      const unlock_at_the_end unlock{reading_};
      bool may_refill = refill;  // once, so that the caller sees how time goes by
      while (!used && (has_messages() || (std::exchange(may_refill, false) && receive(from)))) used = use(take());
      // If the last messages were none of the program's it has read everything.
      used ? settle(from, to, refill) : static_cast<void>(flush(to));
    }
    if (taken_elsewhere_ && refill) [[unlikely]]
      stay_readable(from);
    return used;
  }

  /// Hands all messages that wait to `use`: from now on another descriptor than the socket is read. While a thread
  /// reads, nothing is done: it calls this, too, when it has read.
  template <class Use>
  void give_up(Use use) {
    while (has_messages() && !reading_.test_and_set()) {
      const unlock_at_the_end unlock{reading_};
      while (has_messages()) use(take());
    }
  }

  /// Somebody has received from the socket itself, perhaps all that made it readable.
  void taken_elsewhere(const netlink::socket& from) {
    // Whoever is about to keep messages here looks at the socket after this.
    if (!has_messages()) return;
    taken_elsewhere_ = true;
    stay_readable(from);
  }

  /// Keeps or sends a verdict. Errors: those of sending; what could not be sent is kept.
  result<void> send(const netlink::socket& to, const wire::plain_verdict& answer);
  /// Sends the verdicts that wait. Errors as above.
  result<void> flush(const netlink::socket& to);

  /// Without the right the kernel answers a datagram once, for its first verdict, which has this `id` (nfnetlink_rcv).
  /// The others go once more, each alone, and so are refused one by one. Of the last sixteen datagrams.
  void send_others_alone(const netlink::socket& to, std::uint32_t id);

  /// In a child of fork(2): the packets that were read are the parent's to decide, its verdicts the parent's to send.
  void forget() noexcept;

 private:
  /// What others left to the one who has the lock is looked at behind it, so everything here is in one order.
  struct unlock_at_the_end {
    std::atomic_flag& locked;
    ~unlock_at_the_end() { locked.clear(); }
  };

  [[nodiscard]] bool has_messages() const noexcept { return left_.load(std::memory_order_seq_cst) != 0; }
  bool receive(const netlink::socket& from);
  std::span<std::byte> take() noexcept;
  void settle(const netlink::socket& from, const netlink::socket& to, bool refill);
  void stay_readable(const netlink::socket& from);
  void wake(const netlink::socket& from) noexcept;
  result<void> flush_locked(const netlink::socket& to);

  std::atomic_flag reading_;  ///< guards what follows
  netlink::arena datagrams_;
  std::size_t next_ = 0;
  bool fresh_ = false;  ///< just received: it is not known yet whether the socket is readable
  bool full_ = false;   ///< and more may be there
  /// Acknowledgements that were asked for and have not come by: no fewer than the socket holds, more where somebody
  /// else has received some.
  std::size_t wakes_ = 0;
  std::atomic<std::size_t> left_ = 0;
  std::atomic<bool> taken_elsewhere_ = false;  ///< and nobody has looked since whether the socket is readable

  std::atomic_flag sending_;  ///< guards what follows
  /// As they stand in a datagram, one behind the other.
  struct verdicts {
    std::size_t size = 0;  ///< bytes
    alignas(8) std::array<std::byte, most * wire::plain_verdict_size> bytes;
  };
  verdicts kept_;
  std::array<verdicts, 16> sent_;  ///< the last of more than one, in a ring
  std::size_t next_sent_ = 0;
};

}  // namespace ipq::compat
