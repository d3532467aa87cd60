// SPDX-License-Identifier: MIT
#include "firewall/tag.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

namespace tool::firewall {
namespace {

struct abstract_address {
  sockaddr_un address{};
  socklen_t size = 0;

  explicit abstract_address(std::string_view name) noexcept {
    address.sun_family = AF_UNIX;
    const auto length = std::min(name.size(), sizeof address.sun_path - 1);
    std::memcpy(address.sun_path + 1, name.data(), length);
    size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  }
  [[nodiscard]] const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&address); }
};

/// Clock ticks after the machine's start; field 22 of /proc/self/stat, behind a name that may hold anything.
std::string start_time() {
  std::ifstream file("/proc/self/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto name_end = text.rfind(')');
  if (name_end == std::string::npos) return "0";
  std::istringstream fields(text.substr(name_end + 1));
  std::string field = "0";
  for (int i = 3; i <= 22 && fields >> field; ++i) continue;
  return field;
}

}  // namespace

outcome<tag> tag::make() {
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(failed, fmt::format("tag rules: {}", std::strerror(errno)));
  std::string name = fmt::format("ipq:{}:{}", ::getpid(), start_time());
  const auto stem_length = name.size();
  // A process that has several, or one of the same pid in another pid namespace.
  for (int i = 2; i < 1000; ++i) {
    const abstract_address address(name);
    if (::bind(fd, address.get(), address.size) == 0) return tag(std::move(name), fd);
    if (errno != EADDRINUSE) break;
    name = fmt::format("{}:{}", name.substr(0, stem_length), i);
  }
  const int error = errno;
  ::close(fd);
  return fail(failed, fmt::format("tag rules with {}: {}", name, std::strerror(error)));
}

tag::~tag() {
  if (fd_ >= 0) ::close(fd_);
}

std::string tag::table_name() const {
  std::string name = name_;
  std::ranges::replace(name, ':', '_');
  return name;
}

bool tag::is_one(std::string_view text) noexcept {
  if (!text.starts_with("ipq:") || text.size() > 60) return false;
  text.remove_prefix(4);
  const auto colons = std::ranges::count(text, ':');
  return (colons == 1 || colons == 2) && text.find_first_not_of("0123456789:") == std::string_view::npos &&
         text.front() != ':' && text.back() != ':' && text.find("::") == std::string_view::npos;
}

bool tag::is_alive(std::string_view name) noexcept {
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return true;
  const abstract_address address(name);
  const bool dead = ::connect(fd, address.get(), address.size) != 0 && errno == ECONNREFUSED;
  ::close(fd);
  return !dead;
}

}  // namespace tool::firewall
