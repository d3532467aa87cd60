// SPDX-License-Identifier: MIT
// tshark as a judge of checksums: somebody else's code, which looks at every packet that a test made.
#pragma once

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace test_data {

struct judgement {
  std::vector<std::size_t> bad;  // packets with a wrong checksum or a wrong UDP length, counted from 0
  std::size_t good = 0;          // packets with a transport checksum that was verified and found right
};

inline std::vector<std::size_t> tshark_numbers(const std::string& file, const std::string& filter) {
  // Without anybody's preferences: they could change what is checked, and tshark crashes where it can't read them.
  const std::string command = "HOME=/nonexistent XDG_CONFIG_HOME=/nonexistent tshark -n -r '" + file +
                              "' -o ip.check_checksum:TRUE -o udp.check_checksum:TRUE -o tcp.check_checksum:TRUE"
                              " -o ip.defragment:FALSE -o ipv6.defragment:FALSE -T fields -e frame.number -Y '" +
                              filter + "' 2>/dev/null";
  FILE* output = popen(command.c_str(), "r");
  if (output == nullptr) throw std::runtime_error("popen fails");
  std::vector<std::size_t> numbers;
  for (unsigned long number; std::fscanf(output, "%lu", &number) == 1;) numbers.push_back(number - 1);
  const int status = pclose(output);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw std::runtime_error("tshark fails: " + command);
  return numbers;
}

// What tshark says about IP packets; nothing if it is not installed.
inline std::optional<judgement> ask_tshark(std::span<const std::vector<std::byte>> packets) {
  if (std::system("command -v tshark >/dev/null 2>&1") != 0) return std::nullopt;
  char name[] = "/tmp/ipq_tshark_XXXXXX";
  const int fd = mkstemp(name);
  FILE* file = fd == -1 ? nullptr : fdopen(fd, "wb");
  if (file == nullptr) throw std::runtime_error("no temporary file");
  const struct removal {
    const char* path;
    ~removal() { unlink(path); }
  } removal{name};
  // Numbers in the order of this machine, as the magic number says; link type 101: IPv4 or IPv6 without link header.
  const std::uint32_t begin[] = {0xa1b2c3d4, 4u << 16 | 2u, 0, 0, 262144, 101};
  std::fwrite(begin, sizeof begin, 1, file);
  for (const auto& packet : packets) {
    const auto size = static_cast<std::uint32_t>(packet.size());
    const std::uint32_t record[] = {0, 0, size, size};
    std::fwrite(record, sizeof record, 1, file);
    std::fwrite(packet.data(), packet.size(), 1, file);
  }
  if (std::fclose(file) != 0) throw std::runtime_error("can't write the capture");

  const auto each = [](const char* value) {
    std::string filter;
    for (const char* protocol : {"ip", "udp", "tcp", "icmp", "icmpv6"})
      filter += std::string(filter.empty() ? "" : " || ") + protocol + ".checksum.status == " + value;
    return filter;
  };
  judgement found;
  found.bad = tshark_numbers(name, each("0") + " || udp.length.bad || _ws.malformed");
  found.good = tshark_numbers(name,
                              "udp.checksum.status == 1 || tcp.checksum.status == 1 || icmp.checksum.status == 1"
                              " || icmpv6.checksum.status == 1")
                   .size();
  return found;
}

}  // namespace test_data
