// SPDX-License-Identifier: MIT
// Numbers in bytes: unaligned loads and stores, big-endian as nfnetlink sends them or in host order as netlink does.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>

namespace ipq::wire {

template <std::unsigned_integral T>
T load(const std::byte* at) noexcept {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <std::unsigned_integral T>
void store(std::byte* at, T value) noexcept {
  std::memcpy(at, &value, sizeof value);
}

template <std::unsigned_integral T>
constexpr T big_endian(T value) noexcept {
  if constexpr (std::endian::native == std::endian::big || sizeof(T) == 1) {
    return value;
  } else {
    return std::byteswap(value);
  }
}

template <std::unsigned_integral T>
T load_be(const std::byte* at) noexcept {
  return big_endian(load<T>(at));
}

template <std::unsigned_integral T>
void store_be(std::byte* at, T value) noexcept {
  store(at, big_endian(value));
}

}  // namespace ipq::wire
