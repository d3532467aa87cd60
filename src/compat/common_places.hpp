// SPDX-License-Identifier: MIT
// The places of a queue in the program itself, which a process and its children of fork(2) have in common: of what a
// child decides its parent learns that it is decided.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "compat/settings.hpp"
#include "netlink/in_common.hpp"

namespace ipq::compat {

/// One process lets packets in; all give verdicts.
class common_places {
 public:
  /// Of a packet that is let in, for as long as it has no verdict; `limit` is that of those that wait. If no place is
  /// left, as handles were destroyed with theirs, it has that of another one.
  [[nodiscard]] std::size_t take(std::uint32_t id, std::uint32_t limit) noexcept {
    // Few pages, and mostly the first try.
    std::size_t at = id & (std::bit_ceil(std::size_t{limit}) * 2 - 1);
    for (std::size_t tried = 0; tried < count && id_at(at).load(std::memory_order_relaxed) != nobody; ++tried) {
      ++at %= count;
    }
    id_at(at).store(id, std::memory_order_relaxed);
    return at;
  }
  [[nodiscard]] bool has(std::size_t place, std::uint32_t id) const noexcept {
    return id_at(place).load(std::memory_order_relaxed) == id;
  }
  /// False: another process has given the verdict.
  [[nodiscard]] bool give_up(std::size_t place, std::uint32_t id) noexcept {
    return id_at(place).compare_exchange_strong(id, nobody);
  }

  /// Somebody waits for a place.
  void want() noexcept { wanted().store(true); }
  /// Whether he does; once.
  [[nodiscard]] bool take_want() noexcept { return wanted().exchange(false); }

 private:
  static constexpr std::uint32_t nobody = 0;
  static constexpr std::size_t count = std::size_t{max_max_length} * 2;
  /// Not of std::atomic, which would write to all of it in the beginning; where nobody writes there is no memory.
  struct page {
    std::array<std::uint32_t, count> ids;
    bool wanted;
  };
  [[nodiscard]] std::atomic_ref<std::uint32_t> id_at(std::size_t place) const noexcept {
    return std::atomic_ref(page_->ids[place]);
  }
  [[nodiscard]] std::atomic_ref<bool> wanted() const noexcept { return std::atomic_ref(page_->wanted); }

  netlink::in_common<page> page_;
};

}  // namespace ipq::compat
