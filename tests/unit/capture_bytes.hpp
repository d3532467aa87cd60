// SPDX-License-Identifier: MIT
// Capture files made in memory, in either byte order, right or wrong; and the folder that a test writes them to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace ipq::test {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

/// Bytes of a file, which grow.
class capture_bytes {
 public:
  explicit capture_bytes(bool swapped = false) : swapped_(swapped) {}

  template <class Number>
  capture_bytes& add(Number value) {
    for (std::size_t i = 0; i < sizeof value; ++i) {
      const std::size_t at = swapped_ ? sizeof value - 1 - i : i;
      data += static_cast<char>(value >> (8 * at) & 0xff);
    }
    return *this;
  }
  capture_bytes& add_text(std::string_view text) {
    data += text;
    return *this;
  }

  capture_bytes& pcap(std::uint32_t link_type, bool nanoseconds = false) {
    add<std::uint32_t>(nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4).add<std::uint16_t>(2).add<std::uint16_t>(4);
    return add<std::uint32_t>(0).add<std::uint32_t>(0).add<std::uint32_t>(262144).add(link_type);
  }
  /// A frame of pcap. `length` and `original`: what it says that it has, if it is not the truth.
  capture_bytes& frame(std::string_view bytes, std::uint32_t seconds = 0, std::uint32_t fraction = 0,
                       std::uint32_t original = 0) {
    const auto length = static_cast<std::uint32_t>(bytes.size());
    add(seconds).add(fraction).add(length).add(original == 0 ? length : original);
    return add_text(bytes);
  }

  capture_bytes& block(std::uint32_t type, std::string_view body) {
    const auto length = static_cast<std::uint32_t>(12 + body.size());
    return add(type).add(length).add_text(body).add(length);
  }
  capture_bytes& section() {
    capture_bytes body(swapped_);
    body.add<std::uint32_t>(0x1a2b3c4d).add<std::uint16_t>(1).add<std::uint16_t>(0).add<std::uint64_t>(~0ull);
    return block(0x0a0d0d0a, body.data);
  }
  [[nodiscard]] std::string option(std::uint16_t code, std::string_view value) const {
    capture_bytes made(swapped_);
    made.add(code).add(static_cast<std::uint16_t>(value.size())).add_text(value);
    made.data.resize((made.data.size() + 3) / 4 * 4);
    return made.data;
  }
  capture_bytes& interface(std::uint16_t link_type, std::string_view name = {}, std::string_view options = {},
                           std::uint32_t snap_length = 0) {
    capture_bytes body(swapped_);
    body.add(link_type).add<std::uint16_t>(0).add(snap_length);
    if (!name.empty()) body.add_text(option(2, name));
    return block(1, body.add_text(options).data);
  }
  capture_bytes& packet(std::string_view bytes, std::uint32_t interface = 0, std::uint64_t time = 0,
                        std::uint32_t original = 0, std::string_view options = {}) {
    capture_bytes body(swapped_);
    const auto length = static_cast<std::uint32_t>(bytes.size());
    body.add(interface).add(static_cast<std::uint32_t>(time >> 32)).add(static_cast<std::uint32_t>(time));
    body.add(length).add(original == 0 ? length : original).add_text(bytes);
    body.data.resize((body.data.size() + 3) / 4 * 4);
    return block(6, body.add_text(options).data);
  }

  std::string data;

 private:
  bool swapped_;
};

/// An IPv4 packet of UDP with so many bytes in it, which all are `filling`; its header's checksum is 0.
inline std::string udp4(std::size_t size, char filling = 'x') {
  capture_bytes made(true);
  made.add<std::uint16_t>(0x4500).add(static_cast<std::uint16_t>(28 + size)).add<std::uint32_t>(0x12340000);
  made.add<std::uint32_t>(0x40110000).add<std::uint32_t>(0x0a000001).add<std::uint32_t>(0x0a000002);
  made.add<std::uint16_t>(1000).add<std::uint16_t>(53).add(static_cast<std::uint16_t>(8 + size)).add<std::uint16_t>(0);
  return made.data + std::string(size, filling);
}

/// An IPv6 packet of UDP.
inline std::string udp6(std::size_t size) {
  capture_bytes made(true);
  made.add<std::uint32_t>(0x60000000).add(static_cast<std::uint16_t>(8 + size)).add<std::uint16_t>(0x1140);
  made.add_text(std::string(31, '\0') + "\1");
  made.add<std::uint16_t>(1000).add<std::uint16_t>(53).add(static_cast<std::uint16_t>(8 + size)).add<std::uint16_t>(1);
  return made.data + std::string(size, 'x');
}

/// The link header of Ethernet from 02:00:00:00:00:01, with tags of 4 bytes each.
inline std::string ethernet(std::uint16_t protocol, std::initializer_list<std::uint32_t> tags = {}) {
  capture_bytes made(true);
  made.add_text(std::string_view("\2\0\0\0\0\2\2\0\0\0\0\1", 12));
  for (const std::uint32_t tag : tags) made.add(tag);
  return made.add(protocol).data;
}

/// A folder of the test's own, gone with it.
class test_folder {
 public:
  test_folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "capture_test_XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
    path_ = pattern;
  }
  test_folder(const test_folder&) = delete;
  test_folder& operator=(const test_folder&) = delete;
  ~test_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] std::string operator/(std::string_view name) const { return (path_ / name).string(); }
  std::string write(std::string_view name, std::string_view bytes) const {
    const std::string path = *this / name;
    std::filesystem::remove(path);  // file systems may write at once what is put in place of something
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  [[nodiscard]] std::string read(std::string_view name) const {
    std::ifstream file(*this / name, std::ios::binary | std::ios::ate);
    if (!file) return {};
    std::string bytes(static_cast<std::size_t>(file.tellg()), '\0');
    file.seekg(0).read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return bytes;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace ipq::test
