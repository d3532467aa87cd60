// SPDX-License-Identifier: MIT
// What every fuzz target needs: values taken off the input, and a claim whose failure ends the run.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <source_location>
#include <span>
#include <string_view>

/// What libFuzzer, or replay.cpp, calls with each input.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace fuzz {

using bytes = std::span<const std::byte>;

/// Ends the process where a claim does not hold, so that the input is kept.
inline void require(bool holds, std::source_location where = std::source_location::current()) {
  if (holds) return;
  std::fprintf(stderr, "%s:%u: this does not hold\n", where.file_name(), static_cast<unsigned>(where.line()));
  std::abort();
}

/// Takes values off the front; behind the end everything is zero.
class input {
 public:
  input(const std::uint8_t* data, std::size_t size) : rest_(std::as_bytes(std::span(data, size))) {}

  template <class Number>
  Number take() {
    Number number{};
    const bytes taken = take(sizeof number);
    if (!taken.empty()) std::memcpy(&number, taken.data(), taken.size());
    return number;
  }
  std::uint8_t byte() { return take<std::uint8_t>(); }
  bool flag() { return (byte() & 1) != 0; }

  /// `length` bytes, or what is left.
  bytes take(std::size_t length) {
    const bytes taken = rest_.first(std::min(length, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }

  [[nodiscard]] bool empty() const { return rest_.empty(); }
  [[nodiscard]] bytes rest() const { return rest_; }

 private:
  bytes rest_;
};

inline bool lies_in(bytes part, bytes whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

/// A sum of RFC 1071, word by word: slow, and plainly right.
inline std::uint32_t plain_sum(bytes of, std::uint32_t sum = 0) {
  for (std::size_t at = 0; at < of.size(); at += 2) {
    sum += std::to_integer<std::uint32_t>(of[at]) << 8;
    if (at + 1 < of.size()) sum += std::to_integer<std::uint32_t>(of[at + 1]);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

inline bool equal(bytes a, bytes b) {
  return std::ranges::equal(a, b);
}

}  // namespace fuzz
