// SPDX-License-Identifier: MIT
// The classic format: one header of 24 bytes, then packets with headers of 16.
#include <cerrno>

#include "capture/format.hpp"
#include "capture/pcapng.hpp"

namespace ipq::capture {
namespace {

constexpr std::uint32_t microseconds_magic = 0xa1b2c3d4, nanoseconds_magic = 0xa1b23c4d;
constexpr std::size_t file_header = 24, packet_header = 16;

class pcap final : public format {
 public:
  pcap(bool swapped, bool nanoseconds) noexcept : swapped_(swapped), fraction_(nanoseconds ? 1 : 1000) {}

  record next(bytes data, frame& found) override {
    if (interfaces_.empty()) [[unlikely]]
      return header(data);
    if (data.size() < packet_header) return {kind::more, packet_header};
    const std::byte* at = data.data();
    const auto length = load<std::uint32_t>(at + 8, swapped_);
    const auto original = load<std::uint32_t>(at + 12, swapped_);
    if (length > max_frame) return damaged("the packet says that it has more than 262144 bytes");
    if (data.size() < packet_header + length) return {kind::more, packet_header + length};
    found.interface = 0;
    found.original_length = original < length ? length : original;
    found.time = static_cast<std::int64_t>(load<std::uint32_t>(at, swapped_)) * 1'000'000'000 +
                 static_cast<std::int64_t>(load<std::uint32_t>(at + 4, swapped_)) * fraction_;
    found.data = data.subspan(packet_header, length);
    found.options = {};
    return {kind::frame, packet_header + length};
  }
  bool swapped() const noexcept override { return swapped_; }

 private:
  record header(bytes data) {
    if (data.size() < file_header) return {kind::more, file_header};
    if (load<std::uint16_t>(data.data() + 4, swapped_) != 2 || load<std::uint16_t>(data.data() + 6, swapped_) != 4) {
      return damaged("a pcap file of another version than 2.4");
    }
    // Above are flags: the length, in units of 16 bits, of a check sequence, which IP's own length cuts off.
    const auto link = load<std::uint32_t>(data.data() + 20, swapped_);
    const bool says_size = (link & 0x04000000) != 0;
    interfaces_.push_back(
        {.link_type = link & 0x03ffffff, .check_size = static_cast<std::uint8_t>(says_size ? link >> 28 << 1 : 0)});
    return {kind::other, file_header};
  }

  bool swapped_;
  std::int64_t fraction_;
};

}  // namespace

result<std::unique_ptr<format>> find_format(bytes data) {
  const auto refuse = [](int code, const char* why) {
    auto made = failed("read capture", code);
    made.error().advice = why;
    return made;
  };
  const auto magic = data.size() < magic_size ? 0 : load<std::uint32_t>(data.data());
  if (magic == block::section) return make_pcapng();
  for (const bool swapped : {false, true}) {
    const std::uint32_t value = in_order(magic, swapped);
    if (value == microseconds_magic) return std::make_unique<pcap>(swapped, false);
    if (value == nanoseconds_magic) return std::make_unique<pcap>(swapped, true);
    if (value == 0xa1b2cd34) return refuse(EPROTONOSUPPORT, "a modified pcap format; convert it: editcap -F pcapng");
  }
  if (data.empty()) return refuse(EBADMSG, "it is empty");
  return refuse(EBADMSG, "neither pcap nor pcapng, nor one of them in gzip or Zstandard");
}

}  // namespace ipq::capture
