// SPDX-License-Identifier: MIT
// Sets of addresses, as large as the blocklists of the day: what @FILE names.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "diagnostic.hpp"
#include "ipq/address.hpp"

namespace ipq::tool::rules {

/// Disjoint ranges in order. Key is an unsigned integer, and Part the upper bits of one, or all of them.
template <class Key, class Part>
class range_table {
 public:
  void add(Key first, Key last) { ranges_.push_back({first, last}); }
  /// Sorts and merges what was added; only then contains() may be asked.
  void finish();
  [[nodiscard]] bool contains(Key key) const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return ranges_.size(); }

 private:
  static constexpr std::size_t width = 32;
  struct range {
    Key first, last;
  };
  // Aligned, so that it does not lie across more cache lines than it has to.
  struct alignas(64) node {
    std::array<Part, width> parts;
  };
  static Part part_of(Key key) noexcept { return static_cast<Part>(key >> (8 * (sizeof(Key) - sizeof(Part)))); }
  [[nodiscard]] std::size_t last_not_behind(Part part) const noexcept;
  void make_levels();

  // A search goes down a tree of nodes: each is a few cache lines that come from memory together, and the upper levels
  // stay in the cache. Ranges of a million IPv6 addresses do not, so only one of them is read. The lowest level has the
  // beginnings of all ranges, the next one those of every 32nd, and so on.
  std::vector<range> ranges_;
  std::vector<std::vector<node>> levels_;
};

/// IPv4 and IPv6 addresses of a file. One entry a line:
///
///     192.0.2.1                      an address
///     192.0.2.0/24                   a network, without bits behind its prefix
///     192.0.2.1-192.0.2.9            a range, both ends in it
///     Some name:192.0.2.1-192.0.2.9  PeerGuardian's text format; the name may hold anything
///
/// and the first three for IPv6. Empty lines, and what stands behind '#' or ';', are passed over.
class address_set {
 public:
  /// Reads a file piece by piece. On failure at least one fault, at most 20.
  [[nodiscard]] static std::expected<address_set, std::vector<diagnostic>> read(const std::filesystem::path& file);
  /// The same from memory.
  [[nodiscard]] static std::expected<address_set, std::vector<diagnostic>> parse(std::string_view name,
                                                                                 std::string_view text);

  [[nodiscard]] bool contains(const ipv4_address& address) const noexcept;
  [[nodiscard]] bool contains(const ipv6_address& address) const noexcept;
  /// Ranges that are left when overlapping and neighbouring ones are one.
  [[nodiscard]] std::size_t size() const noexcept { return ipv4_.size() + ipv6_.size(); }

 private:
  class loader;

  range_table<std::uint32_t, std::uint32_t> ipv4_;
  range_table<unsigned __int128, std::uint64_t> ipv6_;
};

}  // namespace ipq::tool::rules
