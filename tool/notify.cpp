// SPDX-License-Identifier: MIT
#include "notify.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

namespace tool {

service_manager::service_manager() noexcept {
  const char* name = std::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name == nullptr || (*name != '/' && *name != '@') || std::strlen(name) >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, name, std::strlen(name));
  // An abstract name begins with NUL, and its length counts.
  if (*name == '@') address.sun_path[0] = '\0';
  fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const auto length =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(name) + (*name == '/' ? 1 : 0));
  if (fd_ >= 0 && ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    ::close(fd_);
    fd_ = -1;
  }
}

service_manager::~service_manager() {
  if (fd_ >= 0) ::close(fd_);
}

void service_manager::say(std::string_view lines) const noexcept {
  if (fd_ >= 0) static_cast<void>(::send(fd_, lines.data(), lines.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
}

void service_manager::say_reloading() const noexcept {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  say(fmt::format("RELOADING=1\nMONOTONIC_USEC={}",
                  std::chrono::duration_cast<std::chrono::microseconds>(now).count()));
}

}  // namespace tool
