// SPDX-License-Identifier: MIT
// The options of IPv4 and TCP, which are built alike: a kind, and for all but two kinds a length and data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>

namespace ipq {

/// One option. `bytes` is all of it, kind and length included; `data` what follows these.
struct header_option {
  std::uint8_t kind = 0;
  std::span<const std::byte> bytes = {};
  std::span<const std::byte> data = {};
};

/// The options of a header, for range-for. No-operation (1) is passed over; end-of-list (0), a length below 2 or one
/// beyond the header ends the range. Views the header's bytes.
class option_range {
 public:
  explicit option_range(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}

  /// A forward iterator; ends at std::default_sentinel.
  class iterator {
   public:
    using value_type = header_option;
    using difference_type = std::ptrdiff_t;

    iterator() = default;
    explicit iterator(std::span<const std::byte> rest) noexcept : rest_(rest) { settle(); }

    const header_option& operator*() const noexcept { return now_; }
    const header_option* operator->() const noexcept { return &now_; }
    iterator& operator++() noexcept {
      rest_ = rest_.subspan(now_.bytes.size());
      settle();
      return *this;
    }
    iterator operator++(int) noexcept {
      const auto before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const iterator& a, const iterator& b) noexcept {
      return a.rest_.size() == b.rest_.size() && a.rest_.data() == b.rest_.data();
    }
    friend bool operator==(const iterator& a, std::default_sentinel_t) noexcept { return a.rest_.empty(); }

   private:
    void settle() noexcept {
      while (!rest_.empty() && rest_[0] == std::byte{1}) rest_ = rest_.subspan(1);
      if (rest_.size() < 2 || rest_[0] == std::byte{0}) return end();
      const auto size = std::to_integer<std::size_t>(rest_[1]);
      if (size < 2 || size > rest_.size()) return end();
      now_ = {std::to_integer<std::uint8_t>(rest_[0]), rest_.first(size), rest_.subspan(2, size - 2)};
    }
    void end() noexcept {
      rest_ = {};
      now_ = {};
    }

    std::span<const std::byte> rest_ = {};
    header_option now_ = {};
  };

  [[nodiscard]] iterator begin() const noexcept { return iterator(bytes_); }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }
  /// The options as they stand in the header, padding included.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace ipq
