// SPDX-License-Identifier: MIT
// Netlink messages put together byte by byte, right or wrong, for tests of who reads them. Knows nothing of src/wire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

namespace test_data {

using byte_vector = std::vector<std::byte>;

inline byte_vector bytes_of(std::initializer_list<unsigned> values) {
  byte_vector bytes;
  for (const unsigned value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

inline byte_vector bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// Big-endian numbers of 2, 4 and 8 bytes.
inline byte_vector be16(std::uint16_t value) {
  return bytes_of({value / 256u, value % 256u});
}
inline byte_vector be32(std::uint32_t value) {
  return bytes_of({value >> 24, value >> 16 & 0xff, value >> 8 & 0xff, value & 0xff});
}
inline byte_vector be64(std::uint64_t value) {
  byte_vector bytes = be32(static_cast<std::uint32_t>(value >> 32));
  const byte_vector low = be32(static_cast<std::uint32_t>(value));
  bytes.insert(bytes.end(), low.begin(), low.end());
  return bytes;
}

class message_bytes {
 public:
  message_bytes(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence = 0, std::uint32_t port_id = 0) {
    host(std::uint32_t{0});
    host(type);
    host(flags);
    host(sequence);
    host(port_id);
  }

  // A packet message, up to and including its PACKET_HDR.
  static message_bytes packet(std::uint8_t family = 2, std::uint16_t queue = 0, std::uint32_t id = 1,
                              std::uint16_t hw_protocol = 0x0800, std::uint8_t hook = 3) {
    message_bytes made(0x300, 0);
    made.nfgen(family, queue);
    made.attribute(1, be32(id), be16(hw_protocol), bytes_of({hook}));
    return made;
  }

  message_bytes& nfgen(std::uint8_t family, std::uint16_t queue) { return raw(bytes_of({family, 0})).raw(be16(queue)); }

  // Pads what is there, then appends an attribute, which is not padded.
  template <class... Parts>
  message_bytes& attribute(std::uint16_t type, const Parts&... parts) {
    pad();
    host(static_cast<std::uint16_t>(4 + (parts.size() + ... + 0)));
    host(type);
    (raw(parts), ...);
    return *this;
  }

  message_bytes& raw(std::span<const std::byte> more) {
    bytes_.insert(bytes_.end(), more.begin(), more.end());
    return *this;
  }

  template <class Number>
  message_bytes& host(Number value) {
    return raw(std::as_bytes(std::span(&value, 1)));
  }

  message_bytes& pad() {
    bytes_.resize((bytes_.size() + 3) & ~std::size_t{3});
    return *this;
  }

  // The message, its header's length set to its size.
  byte_vector done() const { return done(static_cast<std::uint32_t>(bytes_.size())); }
  // The message, its header's length set to `length`.
  byte_vector done(std::uint32_t length) const {
    byte_vector bytes = bytes_;
    std::memcpy(bytes.data(), &length, sizeof length);
    return bytes;
  }

 private:
  byte_vector bytes_;
};

}  // namespace test_data
