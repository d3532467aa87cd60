// SPDX-License-Identifier: MIT
// The kernel's queue as this process holds it: the socket that owns it, for one handle or for one of each family.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>

#include "compat/handle.hpp"
#include "compat/request_note.hpp"
#include "compat/undecided_packets.hpp"
#include "ipq/error.hpp"
#include "netlink/in_common.hpp"
#include "netlink/network_namespace.hpp"
#include "netlink/relay.hpp"
#include "netlink/socket.hpp"
#include "wire/config.hpp"
#include "wire/verdict.hpp"

namespace ipq::compat {

class kernel_handle;

/// A verdict on its way to the kernel.
struct verdict_request {
  bool ipv6 = false;
  verdict_note asked;       ///< as the program gave it, for a refusal
  std::uint32_t value = 0;  ///< as the kernel is to have it, without the target queue of NF_QUEUE
  std::optional<std::uint32_t> mark;
  std::span<const std::byte> replacement;  ///< empty: none
};

/// What the kernel was told: of the members that have set a mode the most packets, and fail-open if one wants it.
struct queue_limits {
  std::uint32_t max_length = 0;  ///< packets
  bool fail_open = false;
};

class kernel_queue final : public shared_between_handles {
 public:
  ~kernel_queue() {
    static_cast<void>(members_own_.release());
    --told_->processes;
  }

  /// Opens the socket; the queue belongs to nobody yet. Errors: those of opening a socket. Throws std::bad_alloc.
  [[nodiscard]] static result<std::shared_ptr<kernel_queue>> open(const netlink::socket_source& source,
                                                                  std::uint16_t number);
  kernel_queue(const kernel_queue&) = delete;
  kernel_queue& operator=(const kernel_queue&) = delete;

  /// `who` wants as many packets to wait as its options say: room for them, of any size, or as much of it as the
  /// process may have. A program that sets SO_RCVBUF itself afterwards has what it asked for.
  void max_length_changed(const kernel_handle& who);

  [[nodiscard]] std::uint16_t number() const noexcept { return number_; }
  /// The descriptor that the only member reads from; with a relay one that the program does not know.
  [[nodiscard]] const netlink::socket& connection() const noexcept {
    return shared_.load(std::memory_order_acquire) ? behind_relay_ : members_own_;
  }
  /// Whether it is in the network namespace that the calling thread is in.
  [[nodiscard]] bool is_here() const;
  /// Gives sockets of its network namespace.
  [[nodiscard]] const netlink::socket_source& beside() const noexcept { return beside_; }
  /// What `ask` returns, an optional, in its network namespace; nullopt where the thread is elsewhere and may not go
  /// there. Throws what `ask` does.
  template <class Ask>
  [[nodiscard]] auto look(Ask ask) const -> decltype(ask()) {
    if (is_here()) return ask();
    decltype(ask()) found;
    const auto there = netlink::network_namespace_of(connection());
    const auto look_there = [&] {
      try {
        found = ask();
      } catch (const std::bad_alloc&) {
        // then it is not known
      }
    };
    if (!there || !netlink::run_inside(*there, look_there)) return std::nullopt;
    return found;
  }
  [[nodiscard]] bool bound() const noexcept { return told_->bound.load(std::memory_order_relaxed); }

  /// Lets `readable` be what `who` is to read from; the number that it has stays. A member that is alone reads the
  /// netlink socket itself, by the one descriptor that there is of it, so that the program may close all others. When a
  /// second one joins, the descriptor of the first changes its meaning and both read from a relay. The caller sees to
  /// it that join and leave come one at a time.
  [[nodiscard]] result<void> join(kernel_handle& who, netlink::socket& readable);

  /// If another member stays: drops what this one left undecided, read or not, and asks of the kernel what that one
  /// wants alone. Else closing the socket does it all.
  void leave(const kernel_handle& who);

  /// Whether the process has the right to use queues now; where that can't be asked, whether it had it before.
  [[nodiscard]] bool may_be_used() const;
  /// Whether the right was missing when this mode was sent.
  [[nodiscard]] bool was_denied(const mode_note& note) const noexcept;

  /// Sends a mode, with the bind if the queue is not bound, without waiting for an answer. Errors: ECONNREFUSED the
  /// kernel has no queues; those of sending.
  /// `given_range` is the program's, for a refusal.
  result<void> set_mode(const kernel_handle& who, const copy_parameters& copies, std::size_t given_range);

  /// Before any member has set a mode: what `who` would ask for.
  [[nodiscard]] queue_limits limits(const kernel_handle& who);

  /// Errors: those of sending; the kernel's come later, over the socket.
  result<void> send_verdict(const verdict_request& request);

  /// Accept or drop without anything else, while there is one member; and how it is sent at once.
  [[nodiscard]] wire::plain_verdict plain_verdict(bool ipv6, std::uint32_t id, std::uint32_t value) const noexcept {
    const note_fields fields = write_verdict_note(ipv6, {.id = id, .value = value, .data_len = 0});
    return {.queue = number_, .id = id, .value = value, .sequence = fields.sequence, .port_id = fields.port_id};
  }
  result<void> send(const wire::plain_verdict& answer) const {
    alignas(8) std::byte message[wire::plain_verdict_size];
    wire::encode_plain_verdict(answer, message);
    return connection().send(std::span<const std::byte>(message));
  }
  [[nodiscard]] bool shared() const noexcept { return shared_.load(std::memory_order_relaxed); }

  /// For a datagram that came to the wrong member, which happens while a second one joins. False: there is no other.
  bool pass_on(std::span<std::byte> datagram);

  /// A packet that nobody here listens to.
  void drop(std::uint32_t id) { drop(id, false); }

  /// The kernel refused a mode: the queue may not be ours.
  void note_refused_mode(const mode_note& note, int code) noexcept;
  /// The same where it was only that the queue is not bound over this socket, or is already, as we did not know: the
  /// mode is sent again, if nothing newer was sent, and the program has nothing to hear of. False: it was not that.
  bool mend_refused_mode(bool ipv6, const mode_note& note, int code);

  void before_fork() override;
  void after_fork_in_parent() override;
  void after_fork_in_child() override;

 private:
  struct member {
    kernel_handle* who = nullptr;
    copy_parameters arriving = {};  ///< of the packets that come out of the socket now, which may be older
    std::uint32_t max_length = 0;   ///< of its options, which its own thread may change until it sets a mode
  };
  /// What the kernel was told over the socket, by whichever process that has a copy of it.
  struct told {
    struct mode {
      std::atomic<copy_parameters> copies{};  ///< as the member asked
      std::atomic<bool> set = false;          ///< so its limits count
    };
    std::atomic<bool> bound = false;
    std::atomic<std::uint32_t> bind_attempt = 0;
    std::atomic<std::uint32_t> processes = 1;  ///< that have the queue; more, where one has ended without a word
    std::array<mode, 2> modes{};               ///< IPv4, IPv6
    static_assert(std::atomic<copy_parameters>::is_always_lock_free);
  };
  class lock;
  void forget_mode(std::size_t index) noexcept;
  [[nodiscard]] bool has_mode(std::size_t index) const noexcept;
  [[nodiscard]] queue_limits needed_limits() const noexcept;
  [[nodiscard]] copy_parameters needed_copies() const noexcept;
  [[nodiscard]] wire::config needed_config() const noexcept;

  /// Opens sockets in the queue's network namespace.
  class neighbourhood final : public netlink::socket_source {
   public:
    explicit neighbourhood(const kernel_queue& queue) noexcept : queue_(queue) {}
    [[nodiscard]] result<netlink::socket> open(int protocol, std::uint32_t groups) const noexcept override {
      return netlink::open_beside(queue_.connection(), queue_.source_, protocol, groups);
    }

   private:
    const kernel_queue& queue_;
  };

  kernel_queue(const netlink::socket_source& source, std::uint16_t number, netlink::socket&& opened)
      : source_(source), number_(number), opened_(std::move(opened)) {}

  result<void> ask(wire::config wanted, const request_note& note) const;
  /// What is wanted now, for the mode of this member. The mutex is locked.
  result<void> send_mode(std::size_t index, mode_note note);
  void note_accepted_mode(bool ipv6, const mode_note& note);
  void set_receive_buffer() noexcept;
  void make_room_for_undecided(std::uint32_t max_length) noexcept;
  /// `all`: and all that came before it.
  void drop(std::uint32_t id, bool all);
  /// False: the right is missing, as the answer to the request itself will say.
  result<bool> ask_for_access();
  /// Returns what the second member is to read from.
  result<netlink::socket> share_with_relay(kernel_handle& first);
  void wake_direct_reads(const kernel_handle& first);
  void provoke_refusal();
  void look_for_refused_bind();
  std::optional<std::size_t> route(std::span<std::byte>& datagram);
  std::optional<std::size_t> route_packet(std::span<std::byte>& datagram);

  const netlink::socket_source& source_;
  const std::uint16_t number_;
  netlink::socket opened_;        ///< until the first member has it
  netlink::socket members_own_;   ///< the number of its descriptor, which it owns
  netlink::socket behind_relay_;  ///< what the relay reads, another descriptor
  const neighbourhood beside_{*this};
  std::atomic<bool> accessible_ = false;
  std::atomic<std::uint32_t> denied_attempt_ = 0;  ///< to bind, the last one without the right; 0: none
  const netlink::in_common<told> told_;
  std::atomic<bool> shared_ = false;  ///< there is a relay; it stays until the queue is closed

  std::mutex mutex_;  ///< guards the next eight; held neither while something is waited for nor for the relay
  std::array<member, 2> members_;               ///< IPv4, IPv6
  std::optional<std::size_t> alone_;            ///< what arrives was copied when there was this member only
  std::optional<std::uint32_t> last_unshared_;  ///< what waits up to this id was read before there was a relay
  std::size_t reader_unshared_ = 0;             ///< by this member
  bool inherited_ = false;                      ///< this process is a child of the one that opened the queue
  undecided_packets undecided_;                 ///< while shared
  std::size_t wanted_buffer_ = 0;
  std::size_t granted_buffer_ = 0;

  std::unique_ptr<netlink::relay> relay_;  ///< last, since its thread uses all the others
};

}  // namespace ipq::compat
