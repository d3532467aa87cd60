// SPDX-License-Identifier: MIT
// A packet that outlives the batch it came with.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "ipq/packet.hpp"

namespace ipq {

/// A copy of a packet together with the bytes that its views point to. It says what the packet was; to decide the
/// packet itself later, hold it (queue::hold). One allocation; throws std::bad_alloc.
class owned_packet {
 public:
  explicit owned_packet(const packet& from) : packet_(from) {
    bytes_.reserve(from.payload.size() + from.l2_header.size() + from.conntrack.size() + from.security_context.size());
    append(from.payload);
    append(from.l2_header);
    append(from.conntrack);
    append(std::as_bytes(std::span(from.security_context)));
    point_at_own_bytes();
  }
  owned_packet(const owned_packet& other) : packet_(other.packet_), bytes_(other.bytes_) { point_at_own_bytes(); }
  /// What was moved from has no bytes and may only be assigned to or destroyed.
  owned_packet(owned_packet&& other) noexcept = default;  // the bytes stay where they are
  owned_packet& operator=(const owned_packet& other) { return *this = owned_packet(other); }
  owned_packet& operator=(owned_packet&& other) noexcept = default;
  ~owned_packet() = default;

  /// Valid, with its views, as long as this object.
  [[nodiscard]] const packet& get() const& noexcept { return packet_; }
  const packet& get() const&& = delete;
  [[nodiscard]] const packet* operator->() const& noexcept { return &packet_; }
  const packet* operator->() const&& = delete;

 private:
  void append(std::span<const std::byte> part) { bytes_.insert(bytes_.end(), part.begin(), part.end()); }

  void point_at_own_bytes() noexcept {
    std::span<const std::byte> rest = bytes_;
    const auto take = [&](std::size_t size) { return std::exchange(rest, rest.subspan(size)).first(size); };
    packet_.payload = take(packet_.payload.size());
    packet_.l2_header = take(packet_.l2_header.size());
    packet_.conntrack = take(packet_.conntrack.size());
    const auto context = take(packet_.security_context.size());
    packet_.security_context = {reinterpret_cast<const char*>(context.data()), context.size()};
  }

  packet packet_;
  std::vector<std::byte> bytes_;
};

}  // namespace ipq
