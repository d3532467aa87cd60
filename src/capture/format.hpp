// SPDX-License-Identifier: MIT
// Capture formats: bytes to frames. Pure: no file, no system call, and no byte is believed before it is checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ipq/error.hpp"

namespace ipq::capture {

using bytes = std::span<const std::byte>;

/// More than any packet has: what libpcap takes for one, too. Whatever says that it is larger is damaged.
constexpr std::size_t max_frame = 262'144;
/// A packet with its options. Larger blocks are damage, unless they are of another kind.
constexpr std::size_t max_record = 4 * max_frame;

struct interface {
  std::uint32_t link_type = 0;
  std::string name = {};  ///< empty: the file does not say
  // Nanoseconds since 1970 = time * multiplier / divisor + offset.
  std::uint64_t multiplier = 1000;
  std::uint64_t divisor = 1;
  std::int64_t offset = 0;
  std::uint8_t check_size = 0;  ///< bytes of the check sequence (FCS) that frames end with
};

struct frame {
  std::uint32_t interface = 0;
  std::uint32_t original_length = 0;  ///< never less than data.size()
  std::int64_t time = 0;              ///< nanoseconds since 1970
  bool has_time = true;               ///< a simple block of pcapng does not
  bytes data = {};
  bytes options = {};  ///< of pcapng: as they stand in the file
};

/// Reads one file, or one stream of sections, record by record.
class format {
 public:
  enum class kind : std::uint8_t {
    frame,   ///< `found` is one
    other,   ///< something else, of `size` bytes, which may be more than there are here
    more,    ///< `size` bytes at least are needed
    damaged  ///< fault() says why
  };
  struct record {
    kind what;
    std::size_t size;
  };

  virtual ~format() = default;
  /// What stands at the beginning of `data`. Views in `found` point into it.
  [[nodiscard]] virtual record next(bytes data, frame& found) = 0;
  [[nodiscard]] virtual bool swapped() const noexcept = 0;  ///< the numbers here are in the other byte order
  [[nodiscard]] const std::vector<interface>& interfaces() const noexcept { return interfaces_; }
  [[nodiscard]] const char* fault() const noexcept { return fault_; }

 protected:
  record damaged(const char* why) noexcept {
    fault_ = why;
    return {kind::damaged, 0};
  }
  std::vector<interface> interfaces_;

 private:
  const char* fault_ = "";
};

/// By the magic number at the beginning of `data`, of which `more_size` bytes are enough. Errors: EBADMSG it is none,
/// EPROTONOSUPPORT one that is not read here.
constexpr std::size_t magic_size = 4;
[[nodiscard]] result<std::unique_ptr<format>> find_format(bytes data);

// ---- what both formats and their writers share

template <class Number>
[[nodiscard]] Number load(const std::byte* at) noexcept {
  Number value;
  __builtin_memcpy(&value, at, sizeof value);
  return value;
}
[[nodiscard]] inline std::uint16_t in_order(std::uint16_t value, bool swapped) noexcept {
  return swapped ? __builtin_bswap16(value) : value;
}
[[nodiscard]] inline std::uint32_t in_order(std::uint32_t value, bool swapped) noexcept {
  return swapped ? __builtin_bswap32(value) : value;
}
[[nodiscard]] inline std::uint64_t in_order(std::uint64_t value, bool swapped) noexcept {
  return swapped ? __builtin_bswap64(value) : value;
}
template <class Number>
[[nodiscard]] Number load(const std::byte* at, bool swapped) noexcept {
  return in_order(load<Number>(at), swapped);
}
[[nodiscard]] constexpr std::size_t padded(std::size_t size) noexcept {
  return (size + 3) & ~std::size_t{3};
}

struct option {
  std::uint16_t code;
  bytes value;
};
/// The value of an option that is text.
[[nodiscard]] inline std::string_view text_of(bytes value) noexcept {
  return {reinterpret_cast<const char*>(value.data()), value.size()};
}
/// Takes the next one off; false at their end, or where they are damaged.
[[nodiscard]] bool next_option(bytes& rest, bool swapped, option& found) noexcept;

namespace block {
constexpr std::uint32_t section = 0x0a0d0d0a, interface = 1, old_packet = 2, simple_packet = 3,
                        interface_statistics = 5, packet = 6, custom_not_to_copy = 0x40000bad;
constexpr std::uint32_t byte_order_magic = 0x1a2b3c4d;
constexpr std::size_t least = 12;  ///< type, length, length
}  // namespace block

namespace option_code {
constexpr std::uint16_t end = 0, comment = 1;
constexpr std::uint16_t application = 4;                                                   // of a section
constexpr std::uint16_t name = 2, time_resolution = 9, check_size = 13, time_offset = 14;  // of an interface
constexpr std::uint16_t flags = 2, packet_id = 5, queue = 6, verdict = 7;                  // of a packet
}  // namespace option_code

namespace link_type {
constexpr std::uint32_t null = 0, ethernet = 1, raw_12 = 12, raw_14 = 14, raw = 101, loop = 108, cooked = 113,
                        ipv4 = 228, ipv6 = 229, cooked_2 = 276;
}  // namespace link_type

}  // namespace ipq::capture
