// SPDX-License-Identifier: MIT
// Which rules may match a packet, without asking each: a thousand port rules cost little more than one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "condition.hpp"
#include "paths.hpp"

namespace ipq::tool::rules {

/// An index over conditions. For each it knows a field, or a few, of which one has to have a certain value, and keeps
/// tables from values to conditions. What it can't say that of is a candidate always.
class candidate_index {
 public:
  using number = std::uint32_t;  ///< of a condition, in their order

  candidate_index() = default;
  explicit candidate_index(std::span<const condition* const> conditions);

  /// The candidates for one packet, in order. Keep one for the next packet: it allocates only once.
  class list {
   public:
    /// The first candidate that is not before `from`; nothing if there is none. `from` must not decrease.
    [[nodiscard]] std::optional<number> next(number from) noexcept {
      std::optional<number> least;
      for (std::span<const number>& each : parts_) {
        while (!each.empty() && each.front() < from) each = each.subspan(1);
        if (!each.empty() && (!least || each.front() < *least)) least = each.front();
      }
      return least;
    }

   private:
    friend class candidate_index;
    std::vector<std::span<const number>> parts_;
  };

  /// Starts `into` anew for a packet.
  void look_up(std::span<const std::byte> packet, list& into) const;

  /// Conditions that every packet is compared with.
  [[nodiscard]] std::size_t always() const noexcept { return always_.size(); }
  [[nodiscard]] std::size_t tables() const noexcept { return tables_.size(); }

 private:
  // From the values of a field to the conditions that are content with them. Values between two of `bounds` have the
  // same conditions, which are a stretch of `numbers`.
  struct table {
    field of;
    std::vector<std::uint32_t> bounds;  // where a piece begins; the first is 0
    std::vector<std::uint32_t> starts;  // of each piece in numbers, and the end
    std::vector<std::uint16_t> pieces;  // by value, for fields of one or two bytes
    std::vector<number> numbers;

    [[nodiscard]] std::span<const number> find(std::uint32_t value) const noexcept;
  };
  struct entry {
    std::uint32_t first, last;
    number condition;
  };
  static std::optional<table> make_table(const field& of, std::span<const entry> entries);

  std::vector<number> always_;
  std::vector<table> tables_;
};

}  // namespace ipq::tool::rules
