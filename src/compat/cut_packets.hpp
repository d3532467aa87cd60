// SPDX-License-Identifier: MIT
// The packets that were too long for the kernel's message, by a few bytes, though the program asked for all of them.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

namespace ipq::compat {

/// Only loopback, with its MTU of 65536, makes packets beyond 65531 bytes. A program that returns what it received of
/// such a packet means the whole of it: that the end is missing is the kernel's doing. Any thread may call both
/// members.
class cut_packets {
 public:
  void add(std::uint32_t id, std::span<const std::byte> received) noexcept {
    const std::size_t at = next_.fetch_add(1, std::memory_order_relaxed) % entries_.size();
    entries_[at].store(entry(id, received), std::memory_order_relaxed);
  }

  enum class answer : std::uint8_t { not_cut, returned_as_received, changed };

  [[nodiscard]] answer look_up(std::uint32_t id, std::span<const std::byte> returned) const noexcept {
    for (const auto& kept : entries_) {
      const std::uint64_t value = kept.load(std::memory_order_relaxed);
      if (value >> 32 != id || value == 0) continue;
      return value == entry(id, returned) ? answer::returned_as_received : answer::changed;
    }
    return answer::not_cut;
  }

 private:
  static std::uint64_t entry(std::uint32_t id, std::span<const std::byte> bytes) noexcept {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return std::uint64_t{id} << 32 | static_cast<std::uint32_t>(std::hash<std::string_view>{}(text));
  }

  std::atomic<std::size_t> next_ = 0;
  std::array<std::atomic<std::uint64_t>, 1024> entries_{};  ///< id and hash; as many as a queue holds by default
};

}  // namespace ipq::compat
