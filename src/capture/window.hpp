// SPDX-License-Identifier: MIT
// What of a file is in memory: it is read in pieces, and given up record by record.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "capture/format.hpp"
#include "capture/input.hpp"

namespace ipq::capture {

class window {
 public:
  explicit window(input opened) : input_(std::move(opened)), buffer_(usual_size) {}

  /// What was read and not yet given up.
  [[nodiscard]] bytes rest() const noexcept { return bytes(buffer_).subspan(begin_, end_ - begin_); }
  /// Of rest() in the file, unpacked.
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
  /// Whether rest() is all that there will be.
  [[nodiscard]] bool at_end() const noexcept { return at_end_; }

  void advance(std::size_t size) noexcept {
    begin_ += size;
    offset_ += size;
  }
  /// Gives up so many bytes, of which some may not have been read yet: see skipped().
  void skip(std::uint64_t size) noexcept { to_skip_ = size; }
  /// Whether all that was to be skipped is; if not, more has to be read.
  [[nodiscard]] bool skipped() noexcept {
    if (to_skip_ == 0) [[likely]]
      return true;
    const auto here = static_cast<std::size_t>(std::min<std::uint64_t>(to_skip_, end_ - begin_));
    to_skip_ -= here;
    advance(here);
    need(1);
    return to_skip_ == 0;
  }

  /// That rest() has to have so many bytes before it is of use.
  void need(std::size_t size) noexcept { needed_ = size; }
  /// Views into rest() end. Errors: those of input::read.
  result<void> read_more() {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= std::exchange(begin_, 0);
    if (needed_ > buffer_.size()) buffer_.resize(needed_);
    const auto count = input_.read(std::span(buffer_).subspan(end_));
    if (!count) return std::unexpected(count.error());
    end_ += *count;
    at_end_ = *count == 0;
    return {};
  }
  [[nodiscard]] const input& file() const noexcept { return input_; }

 private:
  static constexpr std::size_t usual_size = 256 << 10;

  input input_;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0, end_ = 0;  ///< rest() in buffer_
  std::size_t needed_ = 0;
  std::uint64_t offset_ = 0;
  std::uint64_t to_skip_ = 0;
  bool at_end_ = false;
};

}  // namespace ipq::capture
