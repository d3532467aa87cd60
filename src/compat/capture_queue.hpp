// SPDX-License-Identifier: MIT
// What ip_queue was, over the packets of a capture file: they wait here for the verdicts of this process, and those
// that pass may be written to another file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compat/common_places.hpp"
#include "compat/handle.hpp"
#include "compat/request_note.hpp"
#include "compat/settings.hpp"
#include "ipq/capture.hpp"
#include "ipq/error.hpp"
#include "netlink/outbox.hpp"
#include "netlink/socket.hpp"

namespace ipq::compat {

class capture_handle;

/// Packets arrive as the program reads: the next one when it has read the one before. So the same program sees the same
/// packets in the same places, whatever the speed of the machine, and its descriptor is readable as long as there are
/// some. Everything is done by the thread that asks for it.
///
/// A packet that finds the queue full is held back, and with it those behind it, until a place is free: nothing is lost
/// because a thread was slow. Only a reader that waits where nobody could give a verdict meanwhile loses it.
///
/// A mark, an empty message, stands where there is nothing else to read but something to learn by reading: that the
/// file is at its end, or that its next packet has to be waited for, as in a pipe.
class capture_queue final : public shared_between_handles {
 public:
  /// Errors: those of capture_reader::open.
  [[nodiscard]] static result<std::shared_ptr<capture_queue>> open(const capture_settings& wanted);

  /// Returns what `who` is to read from: whole messages, in the form of ip_queue.
  [[nodiscard]] result<netlink::socket> join(capture_handle& who);
  /// Drops what the member left undecided.
  void leave(const capture_handle& who);

  /// For packets that arrive from now on.
  void set_mode(const capture_handle& who, const copy_parameters& copies);
  void refuse_mode(const capture_handle& who, const mode_note& asked);

  /// A message was received and so another may come.
  void taken(const capture_handle& who);
  /// The mark was received. Returns what to wait for before the next call of advance; nullopt: it is the end.
  [[nodiscard]] std::optional<int> mark_taken(const capture_handle& who);
  /// Where nothing is left to read: lets the next packet come, or sets the mark. `loses`: what finds the queue full is
  /// lost, and not held back.
  void advance(const capture_handle& who, bool loses = false);
  [[nodiscard]] bool holds_back() const;
  [[nodiscard]] bool has_children() const;
  /// The program closed the descriptor that messages come through: nothing will come.
  [[nodiscard]] bool is_cut_off(const capture_handle& who) const;

  /// 0, or ENOENT or EINVAL, which is told over the socket too. Errors: those of writing what passes.
  [[nodiscard]] result<int> decide(const capture_handle& who, const verdict_note& asked,
                                   std::optional<std::uint32_t> mark, std::span<const std::byte> replacement);

  /// Why there is nothing more to read, once to each handle; nullopt: the file is at its end.
  [[nodiscard]] std::optional<error> take_error(const capture_handle& who);

  [[nodiscard]] std::size_t waiting() const;
  [[nodiscard]] std::uint32_t lost_queue_full() const;

  void before_fork() override { mutex_.lock(); }
  void after_fork_in_parent() override {
    has_children_ = true;
    mutex_.unlock();
  }
  void after_fork_in_child() override {
    has_children_ = reads_ = false;
    mutex_.unlock();
  }

 private:
  struct member {
    capture_handle* who = nullptr;
    std::optional<netlink::outbox> out;
    copy_parameters copies;
    bool listens = false;    ///< it had a mode: before, nothing arrives for its sake
    std::size_t unread = 0;  ///< messages
    bool marked = false;
    bool told = false;  ///< of the error
  };
  struct waiting_packet {
    held_packet held = {nullptr, 0, false};
    ipq::packet facts;               ///< without its views
    std::vector<std::byte> payload;  ///< as it is now
    std::size_t received = 0;        ///< bytes of it that the program has seen
    std::size_t place = 0;           ///< in places_
    bool replaced = false;
  };
  using waiting_packets = std::map<std::uint32_t, waiting_packet>;

  capture_queue(capture_reader&& from, bool wait_at_end);
  member& member_of(const capture_handle& who) noexcept;
  const member& member_of(const capture_handle& who) const noexcept;
  void refill(member& who, bool loses = false);
  void go_on() noexcept;
  void wake_parent() noexcept;
  [[nodiscard]] bool arrive(bool loses);
  [[nodiscard]] bool take_in(const packet& next, bool loses);
  [[nodiscard]] bool is_full();
  /// Under a new id.
  void enqueue(std::size_t index, waiting_packets::node_type&& made);
  static void post(member& who, std::span<const unsigned char> message);
  void refuse(member& who, int code, const request_note& note);
  [[nodiscard]] std::uint32_t limit() const noexcept;
  [[nodiscard]] bool fail_open() const noexcept;
  [[nodiscard]] result<void> let_go(waiting_packet&& packet, bool accepted);

  mutable std::mutex mutex_;  ///< guards all that follows
  capture_reader from_;
  const bool wait_at_end_;
  bool ended_ = false;
  std::optional<error> error_;
  std::optional<batch> arriving_;
  std::size_t next_arriving_ = 0;
  bool held_back_ = false;         ///< that one, as the queue is full
  bool reads_ = true;              ///< not in a child of fork(2) that only gives verdicts: its parent has what arrives
  bool has_children_ = false;      ///< or had, that may give verdicts
  std::array<member, 2> members_;  ///< IPv4, IPv6
  waiting_packets waiting_;        ///< and those that a child has decided, until room is needed
  common_places places_;
  std::uint32_t last_id_ = 0;
  std::uint32_t lost_ = 0;
  std::vector<unsigned char> message_;
};

}  // namespace ipq::compat
