// SPDX-License-Identifier: MIT
// The packets of a shared queue that have no verdict yet, so that those of one handle can be dropped when it goes.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ipq::compat {

/// Whose packet an id is. The kernel holds no more than max_length of them; there is room for four times as many, as
/// some have got their verdicts unseen, in another process that has the queue, or are gone with their interface. What
/// finds no room takes that of an older one.
class undecided_packets {
 public:
  /// Makes room; before the first packet. What is there stays. Throws std::bad_alloc.
  void reserve(std::uint32_t max_length) {
    const std::size_t wanted = std::bit_ceil(std::max<std::size_t>(max_length, 2)) * 4 / places;
    if (wanted <= sets_.size()) return;
    std::vector<set> before(wanted);
    before.swap(sets_);
    for (const set& each : before) {
      for (std::size_t place = 0; place < places; ++place) {
        if (each.whose[place] != nobody) insert(each.ids[place], each.whose[place] - 1u);
      }
    }
  }

  /// `whose` is 0 or 1. Allocates nothing.
  void insert(std::uint32_t id, std::size_t whose) noexcept {
    set& in = set_of(id);
    std::size_t at = 0;
    for (std::size_t place = 0; place < places; ++place) {
      if (in.whose[place] == nobody) {
        at = place;
        break;
      }
      if (id - in.ids[place] > id - in.ids[at]) at = place;  // the oldest, also where ids wrap
    }
    in.ids[at] = id;
    in.whose[at] = static_cast<std::uint8_t>(whose + 1);
  }

  void erase(std::uint32_t id) noexcept {
    set& in = set_of(id);
    for (std::size_t place = 0; place < places; ++place) {
      if (in.ids[place] == id) in.whose[place] = nobody;
    }
  }

  /// Moves ids of one member out, as many as find room in `ids`; returns how many, and goes on at `from` next time.
  std::size_t take(std::size_t whose, std::span<std::uint32_t> ids, std::size_t& from) noexcept {
    std::size_t taken = 0;
    for (; from < sets_.size() * places && taken < ids.size(); ++from) {
      set& in = sets_[from / places];
      if (in.whose[from % places] != whose + 1) continue;
      in.whose[from % places] = nobody;
      ids[taken++] = in.ids[from % places];
    }
    return taken;
  }

 private:
  static constexpr std::uint8_t nobody = 0;
  static constexpr std::size_t places = 8;
  /// Ids are given one by one, so they spread over the sets by themselves.
  struct set {
    std::array<std::uint32_t, places> ids{};
    std::array<std::uint8_t, places> whose{};
  };
  [[nodiscard]] set& set_of(std::uint32_t id) noexcept { return sets_[id & (sets_.size() - 1)]; }

  std::vector<set> sets_;  ///< a power of two
};

}  // namespace ipq::compat
