// SPDX-License-Identifier: MIT
// Names and hardware types of the interfaces that packets tell by index.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

namespace ipq {

struct interface {
  std::array<char, 16> name{};  ///< NUL-terminated; empty if there is no such interface
  std::uint16_t type = 0;       ///< ARPHRD_*: 1 Ethernet, 772 loopback

  [[nodiscard]] std::string_view name_view() const noexcept { return name.data(); }
};

/// Finds interfaces by index, as packet::indev, and follows renames and re-creations: an answer is at most half
/// a millisecond old. Any number of threads may ask; mostly that costs no system call. What was moved from may only be
/// assigned to or destroyed.
class interface_names {
 public:
  /// Throws std::bad_alloc. Opens nothing yet.
  interface_names();
  interface_names(interface_names&&) noexcept;
  interface_names& operator=(interface_names&&) noexcept;
  ~interface_names();

  /// The interface in the network namespace of the thread that asks first. An empty name: there is none (index 0 is
  /// none), or the kernel could not be asked. Leaves errno alone.
  [[nodiscard]] interface find(std::uint32_t index) const noexcept;

 private:
  class memory;
  std::unique_ptr<memory> memory_;
};

}  // namespace ipq
