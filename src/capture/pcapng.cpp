// SPDX-License-Identifier: MIT
#include "capture/pcapng.hpp"

#include <algorithm>
#include <limits>

namespace ipq::capture {
namespace {

constexpr std::size_t max_interfaces = 65'536;
constexpr std::size_t max_name = 255;

/// 10^exponent, or 2^exponent with the high bit; 0 where that does not fit.
std::uint64_t units_per_second(std::uint8_t resolution) noexcept {
  const unsigned exponent = resolution & 0x7fu;
  if ((resolution & 0x80) != 0) return exponent < 64 ? std::uint64_t{1} << exponent : 0;
  if (exponent > 19) return 0;
  std::uint64_t units = 1;
  for (unsigned i = 0; i < exponent; ++i) units *= 10;
  return units;
}

std::int64_t to_nanoseconds(std::uint64_t time, const interface& from) noexcept {
  // 146 years: sums of a time and all that is added to one still fit.
  constexpr __int128 farthest = std::int64_t{1} << 62;
  __int128 value = static_cast<__int128>(time) * from.multiplier;
  if (from.divisor != 1) value /= from.divisor;
  value += from.offset;
  return static_cast<std::int64_t>(std::clamp<__int128>(value, -farthest, farthest));
}

class pcapng final : public format {
 public:
  record next(bytes data, frame& found) override;
  bool swapped() const noexcept override { return swapped_; }

 private:
  record section(bytes data);
  record add_interface(bytes body, std::size_t size);
  record packet(bytes body, std::size_t size, bool old, frame& found);
  record simple_packet(bytes body, std::size_t size, frame& found);
  record take(std::uint32_t interface, std::uint64_t time, bytes packet, bytes options, std::size_t size, frame& found);

  bool swapped_ = false;
  bool in_section_ = false;
  std::vector<std::uint32_t> snap_lengths_;  ///< of interfaces_: a simple packet block does not say its length
};

format::record pcapng::next(bytes data, frame& found) {
  if (data.size() < block::least) return {kind::more, block::least};
  const auto type_as_is = load<std::uint32_t>(data.data());
  if (type_as_is == block::section) return section(data);
  if (!in_section_) return damaged("a block before the first section");
  const std::uint32_t type = in_order(type_as_is, swapped_);
  const std::size_t size = load<std::uint32_t>(data.data() + 4, swapped_);
  if (size < block::least || size % 4 != 0) return damaged("a block with an impossible length");
  const bool is_packet = type == block::packet || type == block::old_packet || type == block::simple_packet;
  if (size > max_record) {
    if (is_packet || type == block::interface) return damaged("a packet or interface of more than 1 MiB");
    return {kind::other, size};
  }
  if (data.size() < size) return {kind::more, size};
  if (load<std::uint32_t>(data.data() + size - 4, swapped_) != size) {
    return damaged("a block whose two lengths differ");
  }
  const bytes body = data.subspan(8, size - block::least);
  switch (type) {
    case block::packet:
      return packet(body, size, false, found);
    case block::interface:
      return add_interface(body, size);
    case block::simple_packet:
      return simple_packet(body, size, found);
    case block::old_packet:
      return packet(body, size, true, found);
    default:
      return {kind::other, size};
  }
}

format::record pcapng::section(bytes data) {
  constexpr std::size_t least = 28;
  if (data.size() < least) return {kind::more, least};
  const auto magic = load<std::uint32_t>(data.data() + 8);
  if (magic != block::byte_order_magic && in_order(magic, true) != block::byte_order_magic) {
    return damaged("a section without its byte order magic");
  }
  const bool swapped = magic != block::byte_order_magic;
  const std::size_t size = load<std::uint32_t>(data.data() + 4, swapped);
  if (size < least || size % 4 != 0 || size > max_record) return damaged("a section with an impossible length");
  if (data.size() < size) return {kind::more, size};
  if (load<std::uint32_t>(data.data() + size - 4, swapped) != size) return damaged("a block whose two lengths differ");
  if (load<std::uint16_t>(data.data() + 12, swapped) != 1) return damaged("a section of another version than 1");
  swapped_ = swapped;
  in_section_ = true;
  interfaces_.clear();
  snap_lengths_.clear();
  return {kind::other, size};
}

format::record pcapng::add_interface(bytes body, std::size_t size) {
  if (body.size() < 8) return damaged("an interface block that is too short");
  if (interfaces_.size() == max_interfaces) return damaged("more than 65536 interfaces");
  interface made {
    .link_type = load<std::uint16_t>(body.data(), swapped_)
  };
  bytes rest = body.subspan(8);
  std::uint8_t resolution = 6;
  std::int64_t offset = 0;
  for (option each{}; next_option(rest, swapped_, each);) {
    if (each.code == option_code::name) {
      made.name.assign(reinterpret_cast<const char*>(each.value.data()), each.value.size());
      made.name.resize(std::min({made.name.find('\0'), made.name.size(), max_name}));
    } else if (each.code == option_code::time_resolution && each.value.size() == 1) {
      resolution = static_cast<std::uint8_t>(each.value[0]);
    } else if (each.code == option_code::check_size && each.value.size() == 1) {
      // In bytes; some say it in bits, of which no sequence has so few.
      const auto said = static_cast<std::uint8_t>(each.value[0]);
      made.check_size = said < 16 ? said : said / 8;
    } else if (each.code == option_code::time_offset && each.value.size() == 8) {
      offset = static_cast<std::int64_t>(load<std::uint64_t>(each.value.data(), swapped_));
    }
  }
  const std::uint64_t units = units_per_second(resolution);
  if (units == 0) return damaged("an interface whose unit of time is too small to count in");
  constexpr std::uint64_t nanoseconds = 1'000'000'000;
  const bool exact = nanoseconds % units == 0;
  made.multiplier = exact ? nanoseconds / units : nanoseconds;
  made.divisor = exact ? 1 : units;
  constexpr std::int64_t farthest = std::numeric_limits<std::int64_t>::max() / 1'000'000'000;
  made.offset = std::clamp(offset, -farthest, farthest) * 1'000'000'000;
  interfaces_.push_back(std::move(made));
  snap_lengths_.push_back(load<std::uint32_t>(body.data() + 4, swapped_));
  return {kind::other, size};
}

format::record pcapng::take(std::uint32_t interface, std::uint64_t time, bytes packet, bytes options, std::size_t size,
                            frame& found) {
  if (interface >= interfaces_.size()) return damaged("a packet of an interface that was not described");
  found.interface = interface;
  if (found.original_length < packet.size()) found.original_length = static_cast<std::uint32_t>(packet.size());
  found.time = to_nanoseconds(time, interfaces_[interface]);
  found.data = packet;
  found.options = options;
  return {kind::frame, size};
}

format::record pcapng::packet(bytes body, std::size_t size, bool old, frame& found) {
  constexpr std::size_t header = 20;
  if (body.size() < header) return damaged("a packet block that is too short");
  const std::byte* at = body.data();
  const std::size_t length = load<std::uint32_t>(at + 12, swapped_);
  if (length > max_frame) return damaged("the packet says that it has more than 262144 bytes");
  if (length > body.size() - header) return damaged("the packet says that it has more bytes than its block");
  found.original_length = load<std::uint32_t>(at + 16, swapped_);
  const auto time =
      static_cast<std::uint64_t>(load<std::uint32_t>(at + 4, swapped_)) << 32 | load<std::uint32_t>(at + 8, swapped_);
  // The old block has 16 bits of drop count behind 16 bits of interface.
  const std::uint32_t interface = old ? load<std::uint16_t>(at, swapped_) : load<std::uint32_t>(at, swapped_);
  return take(interface, time, body.subspan(header, length),
              body.subspan(std::min(header + padded(length), body.size())), size, found);
}

format::record pcapng::simple_packet(bytes body, std::size_t size, frame& found) {
  constexpr std::size_t header = 4;
  if (body.size() < header) return damaged("a packet block that is too short");
  if (interfaces_.empty()) return damaged("a packet of an interface that was not described");
  found.original_length = load<std::uint32_t>(body.data(), swapped_);
  std::size_t length = std::min<std::size_t>(found.original_length, body.size() - header);
  if (snap_lengths_[0] != 0) length = std::min<std::size_t>(length, snap_lengths_[0]);
  if (length > max_frame) return damaged("the packet says that it has more than 262144 bytes");
  found.has_time = false;
  return take(0, 0, body.subspan(header, length), {}, size, found);
}

}  // namespace

std::unique_ptr<format> make_pcapng() {
  return std::make_unique<pcapng>();
}

bool next_option(bytes& rest, bool swapped, option& found) noexcept {
  if (rest.size() < 4) return false;
  found.code = load<std::uint16_t>(rest.data(), swapped);
  const std::size_t length = load<std::uint16_t>(rest.data() + 2, swapped);
  if (found.code == option_code::end || length > rest.size() - 4) return false;
  found.value = rest.subspan(4, length);
  rest = rest.subspan(std::min(4 + padded(length), rest.size()));
  return true;
}

}  // namespace ipq::capture
