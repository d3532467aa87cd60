// SPDX-License-Identifier: MIT
// What is to become of a packet: one value, which can't say what the kernel would misunderstand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <ranges>
#include <span>

namespace ipq {

/// A verdict and what it changes on the packet. Made by one of the five functions and refined:
/// `verdict::accept().with_mark(7)`. The kernel takes the low 8 bits of its number for the verdict but compares all 32
/// (nf_reinject), so that a stray bit makes ACCEPT skip later hooks; no such number can be made here.
class verdict {
 public:
  /// Bytes of a replacement that the kernel can take: what the length of an attribute can say.
  static constexpr std::size_t max_payload = 65531;

  enum class action : std::uint8_t { drop = 0, accept = 1, queue = 3, repeat = 4, stop = 5 };

  /// The packet is thrown away; its sender learns nothing.
  [[nodiscard]] static constexpr verdict drop() noexcept { return verdict(action::drop); }
  /// On to what follows at the same hook: the rest of the table that queued it is skipped.
  [[nodiscard]] static constexpr verdict accept() noexcept { return verdict(action::accept); }
  /// Through the same table once more, from its start. Where the same rule matches again the packet comes back under a
  /// new id, so change the mark and let the rule look at it.
  [[nodiscard]] static constexpr verdict repeat() noexcept { return verdict(action::repeat); }
  /// Accepted past everything else at this hook, as NF_STOP.
  [[nodiscard]] static constexpr verdict stop() noexcept { return verdict(action::stop); }
  /// On to another queue, or with a new id to the same. Where nobody listens it is dropped, with `bypass` accepted.
  [[nodiscard]] static constexpr verdict queue(std::uint16_t number, bool bypass = false) noexcept {
    verdict made(action::queue);
    made.target_ = static_cast<std::uint32_t>(number) << 16 | (bypass ? 0x8000u : 0u);
    return made;
  }

  /// Sets the packet's mark (skb->mark).
  [[nodiscard]] constexpr verdict with_mark(std::uint32_t mark) const noexcept {
    verdict made = *this;
    made.mark_ = mark;
    return made;
  }
  /// Sets the packet's priority (skb->priority). Linux 5.18; older kernels pass over it.
  [[nodiscard]] constexpr verdict with_priority(std::uint32_t priority) const noexcept {
    verdict made = *this;
    made.priority_ = priority;
    return made;
  }
  /// Sets the mark of the packet's connection. Passed over by kernels without CONFIG_NETFILTER_NETLINK_GLUE_CT.
  [[nodiscard]] constexpr verdict with_connmark(std::uint32_t mark) const noexcept {
    verdict made = *this;
    made.connmark_ = mark;
    made.connmark_mask_ = ~std::uint32_t{0};
    return made;
  }
  /// The same for those bits alone that `mask` has; the connection's others stay as they are. Bits of `mark` outside of
  /// `mask` are left out.
  [[nodiscard]] constexpr verdict with_connmark(std::uint32_t mark, std::uint32_t mask) const noexcept {
    verdict made = *this;
    made.connmark_ = mark & mask;
    made.connmark_mask_ = mask;
    return made;
  }
  /// Replaces the packet, from its network header on, 1 to 65531 bytes; lengths and checksums have to be right. The
  /// bytes are not copied: they must stay unchanged until the call that takes the verdict returns, or as long as the
  /// batch if they lie in a packet of it. A handler of serve() has returned by then: its second parameter is a buffer
  /// that lives. Where the packet's checksum is not ready or it has several segments, packet_editor knows what the
  /// kernel expects. A replacement that the kernel can't use drops the packet, without an error.
  [[nodiscard]] constexpr verdict with_payload(std::span<const std::byte> payload) const noexcept {
    verdict made = *this;
    made.payload_ = payload;
    return made;
  }
  /// A container that is gone before the verdict is used.
  template <std::ranges::range Container>
  requires(!std::ranges::borrowed_range<Container>) verdict with_payload(Container&& temporary)
  const = delete;

  [[nodiscard]] constexpr action what() const noexcept { return action_; }
  /// As the kernel takes it: NF_*, and for queue the target and NF_VERDICT_FLAG_QUEUE_BYPASS.
  [[nodiscard]] constexpr std::uint32_t value() const noexcept { return static_cast<std::uint32_t>(action_) | target_; }
  [[nodiscard]] constexpr std::optional<std::uint32_t> mark() const noexcept { return mark_; }
  [[nodiscard]] constexpr std::optional<std::uint32_t> priority() const noexcept { return priority_; }
  [[nodiscard]] constexpr std::optional<std::uint32_t> connmark() const noexcept { return connmark_; }
  /// The bits of the connection's mark that connmark() replaces; all of them unless with_connmark said otherwise.
  [[nodiscard]] constexpr std::uint32_t connmark_mask() const noexcept { return connmark_mask_; }
  /// Empty: the packet stays as it is.
  [[nodiscard]] constexpr std::span<const std::byte> payload() const noexcept { return payload_; }

 private:
  explicit constexpr verdict(action what) noexcept : action_(what) {}

  action action_;
  std::uint32_t target_ = 0;
  std::optional<std::uint32_t> mark_ = {};
  std::optional<std::uint32_t> priority_ = {};
  std::optional<std::uint32_t> connmark_ = {};
  std::uint32_t connmark_mask_ = ~std::uint32_t{0};
  std::span<const std::byte> payload_ = {};
};

}  // namespace ipq
