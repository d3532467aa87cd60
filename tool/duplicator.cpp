// SPDX-License-Identifier: MIT
#include "duplicator.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace tool {
namespace {

// A raw socket whose packets bring their own IP header (IPPROTO_RAW); -1 and errno.
int open_raw(int family, std::uint32_t mark) noexcept {
  const int fd = ::socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
  constexpr int on = 1;
  if (fd >= 0 && (::setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0 ||
                  ::setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof on) != 0)) {
    const int error = errno;
    ::close(fd);
    errno = error;
    return -1;
  }
  return fd;
}

}  // namespace

outcome<duplicator> duplicator::open(std::uint32_t mark) {
  const int ipv4 = open_raw(AF_INET, mark);
  if (ipv4 < 0 && (errno == EPERM || errno == EACCES)) {
    return fail(no_rights, "sending copies of packets takes CAP_NET_RAW, as root has");
  }
  if (ipv4 < 0) return fail(failed, fmt::format("raw socket for copies: {}", std::strerror(errno)));
  const int ipv6 = open_raw(AF_INET6, mark);
  // A kernel without IPv6 has no such packets either.
  if (ipv6 < 0 && errno != EAFNOSUPPORT) {
    const int error = errno;
    ::close(ipv4);
    return fail(failed, fmt::format("raw socket for copies: {}", std::strerror(error)));
  }
  return duplicator(ipv4, ipv6, mark);
}

duplicator::~duplicator() {
  for (const int fd : {ipv4_, ipv6_})
    if (fd >= 0) ::close(fd);
}

bool duplicator::send(std::span<const std::byte> packet, std::uint32_t link) const noexcept {
  const unsigned version = packet.empty() ? 0 : std::to_integer<unsigned>(packet[0]) >> 4;
  ssize_t sent = -1;
  if (version == 4 && packet.size() >= 20) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    std::memcpy(&to.sin_addr, packet.data() + 16, sizeof to.sin_addr);
    sent = ::sendto(ipv4_, packet.data(), packet.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&to), sizeof to);
  } else if (version == 6 && packet.size() >= 40) {
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    std::memcpy(&to.sin6_addr, packet.data() + 24, sizeof to.sin6_addr);
    to.sin6_scope_id = link;  // which the kernel heeds for addresses of a link alone
    sent = ::sendto(ipv6_, packet.data(), packet.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&to), sizeof to);
  }
  return sent == static_cast<ssize_t>(packet.size());
}

}  // namespace tool
