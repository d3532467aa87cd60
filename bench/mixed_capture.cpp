// SPDX-License-Identifier: MIT
#include "mixed_capture.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string_view>

#include "failure.hpp"

namespace bench {
namespace {

constexpr std::uint32_t magic = 0xa1b2c3d4, snap_length = 262'144, ethernet = 1;
constexpr std::size_t header_size = 24, record_header = 16;

template <std::size_t Count>
std::string bytes_of(const std::array<std::uint32_t, Count>& words) {
  return {reinterpret_cast<const char*>(words.data()), sizeof words};
}

void put(std::string& to, std::size_t at, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) to[at + i] = static_cast<char>(value >> (8 * (size - 1 - i)) & 0xff);
}

std::string mixed_frame(std::mt19937& random) {
  constexpr std::size_t sizes[]{40, 52, 52, 60, 120, 576, 1400, 1400};
  const std::size_t size = sizes[random() % 8];
  const auto kind = static_cast<unsigned>(random() % 1000);
  std::string frame(14 + size, '\0');
  const bool ipv6 = kind > 900 && size >= 60;
  put(frame, 6, 0x020000000001, 6);
  put(frame, 12, kind == 0 ? 0x0806 : ipv6 ? 0x86dd : 0x0800, 2);
  const unsigned protocol = kind < 300 ? 17 : kind < 320 ? 1 : 6;
  const std::size_t ip = ipv6 ? 40 : 20;
  if (ipv6) {
    put(frame, 14, 0x60000000, 4);
    put(frame, 18, size - ip, 2);
    put(frame, 20, protocol << 8 | 64, 2);
  } else {
    put(frame, 14, 0x4500, 2);
    put(frame, 16, size, 2);
    put(frame, 22, 64u << 8 | protocol, 2);
    put(frame, 26, 0x0a000000 | random() % 65536, 4);
    put(frame, 30, 0xc0a80000 | random() % 65536, 4);
  }
  put(frame, 14 + ip, 1024 + random() % 60000, 2);
  put(frame, 16 + ip, random() % 4 == 0 ? 53 : 443, 2);
  if (protocol == 17) put(frame, 18 + ip, size - ip, 2);
  if (protocol == 6) put(frame, 26 + ip, 0x5010, 2);
  return frame;
}

void write_all(int fd, std::string_view rest) {
  while (!rest.empty()) {
    const ssize_t count = ::write(fd, rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw failure(with_errno("write a capture"));
    rest.remove_prefix(static_cast<std::size_t>(count));
  }
}

// Of /proc/meminfo; 0 where it does not say.
std::uint64_t memory_available() {
  std::ifstream file("/proc/meminfo");
  for (std::string name; file >> name;) {
    std::uint64_t kibibytes = 0;
    if (name == "MemAvailable:" && file >> kibibytes) return kibibytes * 1024;
  }
  return 0;
}

}  // namespace

nameless_file::nameless_file(const std::string& folder)
    : fd_(::open(folder.c_str(), O_TMPFILE | O_RDWR, 0600)) {  // not O_CLOEXEC: programs open it by its number
  if (fd_ < 0) throw failure(with_errno("make a file in " + folder));
}

nameless_file::~nameless_file() {
  ::close(fd_);
}

std::uint64_t nameless_file::size() const {
  struct stat about {};
  return ::fstat(fd_, &about) == 0 ? static_cast<std::uint64_t>(about.st_size) : 0;
}

frames mixed_frames(std::uint64_t count) {
  frames made{bytes_of(std::array{magic, 0x00040002u, 0u, 0u, snap_length, ethernet}), {}, count};
  std::mt19937 random(7);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string frame = mixed_frame(random);
    const auto size = static_cast<std::uint32_t>(frame.size());
    made.records += bytes_of(
        std::array{static_cast<std::uint32_t>(i / 100'000), static_cast<std::uint32_t>(i % 100'000 * 10), size, size});
    made.records += frame;
  }
  return made;
}

frames frames_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string all{std::istreambuf_iterator<char>(file), {}};
  std::uint32_t number = 0;
  if (all.size() > header_size) std::memcpy(&number, all.data(), sizeof number);
  if (number != magic) throw failure(path + " is no pcap file of microseconds in this machine's byte order");
  frames found{all.substr(0, header_size), all.substr(header_size)};
  for (std::size_t at = 0; at < found.records.size(); ++found.count) {
    std::uint32_t length = snap_length;
    if (found.records.size() - at >= record_header) std::memcpy(&length, found.records.data() + at + 8, sizeof length);
    if (length > snap_length || found.records.size() - at < record_header + length) throw failure(path + " is cut");
    at += record_header + length;
  }
  return found;
}

std::uint64_t write_repeated(int fd, const frames& from, std::uint64_t count) {
  write_all(fd, from.header);
  std::uint64_t written = 0;
  for (; written < count; written += from.count) write_all(fd, from.records);
  return written;
}

std::string folder_with_room(std::uint64_t bytes) {
  for (const char* folder : {"/dev/shm", "/tmp"}) {
    std::error_code none;
    const auto room = std::filesystem::space(folder, none);
    const bool in_memory = folder[1] == 'd';
    if (!none && room.available / 3 >= bytes && (!in_memory || memory_available() / 3 >= bytes)) return folder;
  }
  throw unavailable("captures, as there is no room for three files of " + std::to_string(bytes >> 20) + " MiB");
}

}  // namespace bench
