// SPDX-License-Identifier: MIT
#include "machine.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace tool {

std::optional<std::int64_t> read_sysctl(std::string name) {
  std::ranges::replace(name, '.', '/');
  std::ifstream file("/proc/sys/" + name);
  std::int64_t value = 0;
  if (!(file >> value)) return std::nullopt;
  return value;
}

std::vector<std::string> strict_reverse_paths(const std::string& folder) {
  const auto setting_of = [&](const std::string& name) {
    std::ifstream file(folder + '/' + name + "/rp_filter");
    int value = 0;
    file >> value;
    return value;
  };
  const int all = setting_of("all");
  std::vector<std::string> strict;
  bool every = true;
  std::error_code none;
  for (const auto& each : std::filesystem::directory_iterator(folder, none)) {
    const std::string name = each.path().filename();
    if (name == "all" || name == "default" || name == "lo") continue;
    const bool is_strict = std::max(all, setting_of(name)) == 1;
    every = every && is_strict;
    if (is_strict) strict.push_back(name);
  }
  if (all == 1 && every) return {"all"};
  std::ranges::sort(strict);
  return strict;
}

bool may_force_buffers() {
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int size = 4096;
  const bool forced = fd >= 0 && ::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) == 0;
  if (fd >= 0) ::close(fd);
  return forced;
}

std::optional<bool> has_hashed_lookup(const std::string& type_folder) {
  for (const auto* const of : {"/nfnetlink_queue", "/vmlinux"}) {
    std::ifstream file(type_folder + of, std::ios::binary);
    const std::string types((std::istreambuf_iterator<char>(file)), {});
    // The struct of a queue is here, so its members are; that of the hash has been called so since there is one.
    if (types.find("nfqnl_instance") == std::string::npos) continue;
    return types.find("nfqnl_packet_map") != std::string::npos;
  }
  return std::nullopt;
}

}  // namespace tool
