// SPDX-License-Identifier: MIT
// tshark as a judge of checksums: somebody else's code, which looks at every packet that a test made.
#pragma once

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace test_data {

struct judgement {
  std::vector<std::size_t> bad;  // packets with a wrong checksum or a wrong UDP length, counted from 0
  std::size_t good = 0;          // packets with a transport checksum that was verified and found right
};

// Whether one of the values that tshark gives for a field, with commas between them, is `value`.
inline bool has_value(std::string_view values, std::string_view value) {
  for (;;) {
    const auto end = values.find(',');
    if (values.substr(0, end) == value) return true;
    if (end == std::string_view::npos) return false;
    values.remove_prefix(end + 1);
  }
}

// By one start of tshark, which takes most of the time where the processor is emulated.
inline judgement judge_capture(const std::string& file) {
  constexpr const char* statuses[] = {"ip", "udp", "tcp", "icmp", "icmpv6"};
  // Without anybody's preferences: they could change what is checked, and tshark crashes where it can't read them.
  std::string command = "HOME=/nonexistent XDG_CONFIG_HOME=/nonexistent tshark -n -r '" + file +
                        "' -o ip.check_checksum:TRUE -o udp.check_checksum:TRUE -o tcp.check_checksum:TRUE"
                        " -o ip.defragment:FALSE -o ipv6.defragment:FALSE -T fields -e _ws.malformed -e udp.length.bad";
  for (const char* each : statuses) command += std::string(" -e ") + each + ".checksum.status";
  FILE* output = popen((command + " 2>/dev/null").c_str(), "r");
  if (output == nullptr) throw std::runtime_error("popen fails");
  judgement found;
  char* line = nullptr;
  std::size_t room = 0;
  for (std::size_t number = 0; getline(&line, &room, output) > 0; ++number) {
    std::string_view rest(line);
    rest.remove_suffix(rest.ends_with('\n') ? 1 : 0);
    const auto next = [&] {
      const auto field = rest.substr(0, rest.find('\t'));
      rest.remove_prefix(std::min(field.size() + 1, rest.size()));
      return field;
    };
    bool bad = !next().empty();
    bad = !next().empty() || bad;
    bool good = false;
    for (const char* each : statuses) {
      const auto values = next();
      bad = bad || has_value(values, "0");
      good = good || (std::string_view(each) != "ip" && has_value(values, "1"));
    }
    if (bad) found.bad.push_back(number);
    if (good) ++found.good;
  }
  std::free(line);
  const int status = pclose(output);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw std::runtime_error("tshark fails: " + command);
  return found;
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

  return judge_capture(name);
}

}  // namespace test_data
