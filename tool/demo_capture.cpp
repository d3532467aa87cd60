// SPDX-License-Identifier: MIT
#include "demo_capture.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>

#include "ipq/bytes.hpp"
#include "ipq/capture.hpp"
#include "ipq/checksum.hpp"
#include "running_command.hpp"

namespace tool {
namespace {

/// In memory alone; other programs know it by its number.
class memory_file {
 public:
  explicit memory_file(const char* name) : fd_(::memfd_create(name, 0)) {}
  memory_file(const memory_file&) = delete;
  memory_file& operator=(const memory_file&) = delete;
  ~memory_file() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] std::string path() const { return fmt::format("/proc/self/fd/{}", fd_); }

 private:
  int fd_;
};

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// IPv4 from 127.0.0.1 to 127.0.0.`last`.
std::string ipv4(unsigned protocol, unsigned last, const std::string& content) {
  std::array<std::byte, 20> header{};
  header[0] = std::byte{0x45};
  ipq::write_be16(header, 2, static_cast<std::uint16_t>(header.size() + content.size()));
  header[8] = std::byte{64};
  header[9] = static_cast<std::byte>(protocol);
  ipq::write_be32(header, 12, 0x7f000001);
  ipq::write_be32(header, 16, 0x7f000000 | last);
  ipq::write_be16(header, 10, ipq::checksum_of(header));
  return text_of(header) + content;
}

std::string ping(unsigned last, std::uint16_t sequence) {
  std::array<std::byte, 64> request{};
  request[0] = std::byte{8};
  ipq::write_be16(request, 4, 0x1b90);
  ipq::write_be16(request, 6, sequence);
  ipq::write_be16(request, 2, ipq::checksum_of(request));
  return ipv4(1, last, text_of(request));
}

/// That ipq.example has the address 198.51.100.7; without a UDP checksum, which is optional.
std::string answer() {
  constexpr std::string_view message(
      "\x12\x34\x81\0\0\1\0\1\0\0\0\0\3ipq\7example\0\0\1\0\1\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc6\x33\x64\x07", 45);
  std::array<std::byte, 8> header{};
  ipq::write_be16(header, 0, 5353);
  ipq::write_be16(header, 2, 40'000);
  ipq::write_be16(header, 4, static_cast<std::uint16_t>(header.size() + message.size()));
  return ipv4(17, 1, text_of(header) + std::string(message));
}

bool write_capture(int fd) {
  constexpr std::uint32_t magic = 0xa1b2c3d4, version = 0x00040002, longest = 262'144, raw_ip = 101;
  const auto bytes_of = [](const auto& words) { return text_of(std::as_bytes(std::span(words))); };
  std::string all = bytes_of(std::array{magic, version, 0u, 0u, longest, raw_ip});
  const auto add = [&](const std::string& packet) {
    const auto size = static_cast<std::uint32_t>(packet.size());
    all += bytes_of(std::array{1'700'000'000u, 0u, size, size}) + packet;
  };
  for (std::uint16_t i = 0; i < 6; ++i) add(ping(1u + i / 2u, i));
  add(answer());
  return ::write(fd, all.data(), all.size()) == static_cast<ssize_t>(all.size()) && ::lseek(fd, 0, SEEK_SET) == 0;
}

/// The last four bytes of the answer.
std::string address_in(const std::string& passed) {
  auto from = ipq::capture_reader::open(passed);
  std::array<unsigned, 4> address{};
  const auto look = [&](const ipq::packet& packet) {
    constexpr std::byte udp{17};
    if (packet.payload.size() > 28 && packet.payload[9] == udp) {
      const auto last = packet.payload.last(address.size());
      for (std::size_t i = 0; i < address.size(); ++i) address[i] = std::to_integer<unsigned>(last[i]);
    }
    return ipq::verdict::accept();
  };
  if (!from || !ipq::serve(*from, look)) return {};
  return fmt::format("{}.{}.{}.{}", address[0], address[1], address[2], address[3]);
}

}  // namespace

outcome<void> tell_on_capture(const story& to, const std::vector<std::string>& rules) {
  const memory_file capture("pings.pcap"), passed("passed.pcap");
  if (capture.fd() < 0 || passed.fd() < 0 || !write_capture(capture.fd())) {
    return fail(failed, fmt::format("make a capture: {}", std::strerror(errno)));
  }
  to.heading("A capture of two pings each to 127.0.0.1, .2 and .3, and of a name server's answer, by the same rules:");
  std::vector<std::string> words{"replay", "-"};
  words.insert(words.end(), rules.begin(), rules.end());
  std::vector<std::string> as_shown = words;
  as_shown.insert(as_shown.begin() + 2, {"--passed", "passed.pcap"});
  to.command(as_shown, rules.size(), " <pings.pcap");
  words.insert(words.begin() + 2, {"--passed", passed.path()});
  running_command command(words, capture.fd());
  if (const int status = command.wait(); status != done) {
    return fail(static_cast<exit_code>(status), "ipq replay should have ended well\n" + command.output());
  }
  to.indented(command.output());
  if (command.output().find("2             168  rule 2:1: drop : icmp and dst host 127.0.0.2") == std::string::npos) {
    return fail(failed, "the rule should have dropped two pings");
  }
  const std::string address = address_in(passed.path());
  fmt::print("\n    the server says ipq.example is 198.51.100.7, passed.pcap has {}\n",
             address.empty() ? "nothing" : address);
  if (address != "203.0.113.9") return fail(failed, "passed.pcap should have 203.0.113.9");
  fmt::print("\nWhat is different with a queue, ipq doctor tells.\n");
  return {};
}

}  // namespace tool
