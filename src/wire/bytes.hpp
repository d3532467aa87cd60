// SPDX-License-Identifier: MIT
// Numbers in bytes: unaligned loads and stores, big-endian as nfnetlink sends them or in host order as netlink does.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <utility>

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

/// Makes a small object zero by stores alone. What a compiler writes for memset of this size takes longer to start than
/// the whole of it (`rep stos`), and copying an empty object reads memory that a system call has put out of the cache.
template <class T>
void clear(T& object) noexcept {
  constexpr std::size_t size = 16;
  using part [[gnu::vector_size(size), gnu::aligned(1), gnu::may_alias]] = long long;
  auto* const at = reinterpret_cast<std::byte*>(&object);
  [at]<std::size_t... I>(std::index_sequence<I...>) {
    ((*reinterpret_cast<part*>(at + I * size) = part{}), ...);
  }
  (std::make_index_sequence<sizeof(T) / size>{});
  std::memset(at + sizeof(T) / size * size, 0, sizeof(T) % size);
}

}  // namespace ipq::wire
