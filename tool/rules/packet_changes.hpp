// SPDX-License-Identifier: MIT
// The changes that lines make to one packet after the other. Nothing is copied before the first change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "action.hpp"
#include "ipq/edit.hpp"
#include "ipq/packet.hpp"

namespace ipq::tool::rules {

class packet_changes {
 public:
  /// Forgets the packet before. This one has to stay until the next begin().
  void begin(const packet& which) noexcept {
    original_ = &which;
    editor_.reset();
    is_opened_ = is_changed_ = is_corrupted_ = false;
  }

  /// False if this packet can't be changed in that way; then it is as before. A replacement that finds nothing is done.
  [[nodiscard]] bool apply(const set_address& what);
  [[nodiscard]] bool apply(const set_number& what);
  [[nodiscard]] bool apply(const replace_bytes& what);

  /// Turns a bit behind the IP header, which one the number says, and leaves the checksum wrong. Nothing may be applied
  /// any more. False if there is no such bit, the packet can't be changed, or it is of segments that are not cut yet,
  /// whose checksums would be made right.
  [[nodiscard]] bool corrupt(std::uint64_t number);

  /// Whether it was changed since begin().
  [[nodiscard]] bool is_changed() const noexcept { return is_changed_ || is_corrupted_; }
  /// The packet with its changes and their checksums; only if is_changed(). Valid until the next change or begin().
  [[nodiscard]] std::span<const std::byte> bytes() { return is_corrupted_ ? buffer_ : editor_->finish(); }
  /// The packet as anybody could send it: with its changes, and also with the checksums that the kernel left to be
  /// computed. Empty if that is impossible.
  [[nodiscard]] std::span<const std::byte> whole();

 private:
  [[nodiscard]] packet_editor* open();

  const packet* original_ = nullptr;
  std::vector<std::byte> buffer_;
  std::optional<packet_editor> editor_;
  bool is_opened_ = false;
  bool is_changed_ = false;
  bool is_corrupted_ = false;
};

}  // namespace ipq::tool::rules
