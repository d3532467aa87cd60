// SPDX-License-Identifier: MIT
// Random numbers that are the same on every machine: the standard's engines are, its distributions are not.
#pragma once

#include <bit>
#include <cstdint>

#include "units.hpp"

namespace ipq::tool::rules {

/// xoshiro256** by Blackman and Vigna, seeded by their splitmix64.
class random {
 public:
  /// Different streams of one seed are independent.
  random(std::uint64_t seed, std::uint64_t stream) noexcept {
    std::uint64_t mix = seed ^ (stream + 1) * 0xd1342543de82ef95;
    for (std::uint64_t& each : state_) {
      mix += 0x9e3779b97f4a7c15;
      std::uint64_t word = mix;
      word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
      word = (word ^ word >> 27) * 0x94d049bb133111eb;
      each = word ^ word >> 31;
    }
  }

  std::uint64_t next() noexcept {
    const std::uint64_t made = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return made;
  }

  /// 0 to limit - 1; `limit` at least 1. All as likely up to 1 in 2^64 / limit.
  std::uint64_t below(std::uint64_t limit) noexcept {
    return static_cast<std::uint64_t>(static_cast<unsigned __int128>(next()) * limit >> 64);
  }
  bool happens(chance of) noexcept { return below(chance::always) < of.share; }

 private:
  std::uint64_t state_[4];
};

}  // namespace ipq::tool::rules
