// SPDX-License-Identifier: MIT
// Verdicts on their way: encoded one behind the other into one datagram, replacements gathered from where they lie.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "ipq/error.hpp"
#include "ipq/verdict.hpp"
#include "netlink/socket.hpp"

namespace ipq::queues {

/// What a verdict's message carries besides its id, and the kernel returns with a refusal: nothing is remembered here.
struct verdict_cookie {
  verdict::action what;
  std::uint32_t count;  ///< verdicts in the message, below 2^23
  bool first = false;   ///< of the messages in its datagram

  /// A count: a batch verdict for packets that nobody has counted.
  static constexpr std::uint32_t all_waiting = 0;

  [[nodiscard]] constexpr std::uint32_t encoded() const noexcept {
    return (first ? 1u << 31 : 0u) | count << 8 | static_cast<std::uint32_t>(what);
  }
  [[nodiscard]] static constexpr verdict_cookie decode(std::uint32_t value) noexcept {
    return {static_cast<verdict::action>(value & 0xff), value >> 8 & 0x7fffff, value >> 31 != 0};
  }
};

/// What a datagram of several messages carries, for when the kernel refuses all of it and names the first.
struct datagram_load {
  std::uint32_t first_id = 0;  ///< of its first message
  std::uint32_t messages = 0;
  bool only_accepts = true;                    ///< of each message
  std::array<std::uint32_t, 6> verdicts = {};  ///< of each verdict::action
};

class outgoing {
 public:
  /// More verdicts in a datagram save nothing, and the kernel handles them without a pause.
  static constexpr std::size_t max_verdicts = 64;

  /// `room`: bytes that the socket takes in a datagram.
  explicit outgoing(std::uint16_t queue, std::size_t room = usual_room) noexcept
      : queue_(queue), room_(std::min(room, usual_room)) {}

  [[nodiscard]] const datagram_load& load() const noexcept { return load_; }
  /// False: even one datagram of its own is too small for it.
  [[nodiscard]] bool can_hold(const verdict& answer) const noexcept {
    return max_encoded + answer.payload().size() <= room_;
  }
  /// Whether this one still goes into the datagram.
  [[nodiscard]] bool has_room_for(const verdict& answer) const noexcept {
    return load_.messages < max_verdicts && used_ + replaced_ + max_encoded + answer.payload().size() <= room_;
  }
  /// Room is there. With any other count than 1 it is a batch verdict for every waiting packet up to `id`, which then
  /// has neither payload nor connection mark.
  void add(std::uint32_t id, const verdict& answer, std::uint32_t count) noexcept;

  /// Sends what was added. After an error it is still there.
  result<void> send(const netlink::socket& to);
  void clear() noexcept;

 private:
  /// More bytes in a datagram save nothing, either.
  static constexpr std::size_t usual_room = std::size_t{128} * 1024;
  /// Bytes of a verdict and what aligns the next one behind its replacement.
  static constexpr std::size_t max_encoded = 88;

  std::uint16_t queue_;
  const std::size_t room_;
  datagram_load load_;
  std::size_t used_ = 0;      ///< bytes of encoded_
  std::size_t began_ = 0;     ///< where in encoded_ the part begins that is not in parts_ yet
  std::size_t replaced_ = 0;  ///< bytes of replacements, and what aligns them
  std::size_t part_count_ = 0;
  // A verdict takes 84 bytes at most, and with a replacement three parts.
  alignas(8) std::array<std::byte, max_verdicts * max_encoded> encoded_;
  std::array<iovec, max_verdicts * 3 + 1> parts_;
};

}  // namespace ipq::queues
