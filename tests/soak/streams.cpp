// SPDX-License-Identifier: MIT
#include "streams.hpp"

#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "ipq/checksum.hpp"

namespace soak {
namespace {

using namespace std::chrono_literals;
using kernel_tests::descriptor;
using kernel_tests::endpoint;

constexpr std::uint32_t ahead = 200;  // packets on their way, at most
constexpr std::size_t numbered = 9;   // bytes of a datagram before its text: the first letter and the number

std::uint64_t mix(std::uint64_t value) {
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  value = (value ^ value >> 27) * 0x94d049bb133111eb;
  return value ^ value >> 31;
}

char lowered(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

void set_buffer(int fd, int force, int permitted) {
  const int bytes = 64 << 20;
  if (::setsockopt(fd, SOL_SOCKET, force, &bytes, sizeof bytes) != 0) {
    ::setsockopt(fd, SOL_SOCKET, permitted, &bytes, sizeof bytes);
  }
}

bool same_sender(const sockaddr_storage& sender, const endpoint& known) {
  if (sender.ss_family != known.family()) return false;
  if (sender.ss_family == AF_INET) {
    const auto& a = reinterpret_cast<const sockaddr_in&>(sender);
    const auto& b = *reinterpret_cast<const sockaddr_in*>(known.address());
    return a.sin_port == b.sin_port && a.sin_addr.s_addr == b.sin_addr.s_addr;
  }
  const auto& a = reinterpret_cast<const sockaddr_in6&>(sender);
  const auto& b = *reinterpret_cast<const sockaddr_in6*>(known.address());
  return a.sin6_port == b.sin6_port && std::memcmp(&a.sin6_addr, &b.sin6_addr, sizeof a.sin6_addr) == 0;
}

bool wait_readable(int fd, int milliseconds) {
  pollfd readable{fd, POLLIN, 0};
  return ::poll(&readable, 1, milliseconds) == 1;
}

}  // namespace

char letter(std::uint64_t seed, std::uint64_t at) {
  // Words that rules look for are in it.
  constexpr std::string_view word = "soaked";
  const std::uint64_t random = mix(seed + at / 8);
  if (random % 4 == 0 && at % 8 < word.size()) return word[at % 8];
  return static_cast<char>('a' + (random >> 8 * (at % 8) & 0xff) % 26);
}

// ---- datagrams

datagrams::datagrams(const place& where, std::uint64_t seed)
    : where_(where), seed_(seed), from_(where.near, where.near_address), to_(where.far, where.far_address, udp_port) {
  set_buffer(from_.fd(), SO_SNDBUFFORCE, SO_SNDBUF);
  set_buffer(to_.fd(), SO_RCVBUFFORCE, SO_RCVBUF);
  receiver_ = std::thread([this] { receive(); });
  sender_ = std::thread([this] { send(); });
}

datagrams::~datagrams() {
  stop();
  end();
}

void datagrams::stop() {
  stopping_ = true;
  if (sender_.joinable()) sender_.join();
}

void datagrams::end() {
  ending_ = true;
  if (receiver_.joinable()) receiver_.join();
}

char datagrams::first_letter(std::uint32_t number) const {
  const auto random = mix(seed_ + number) >> 40;
  if (random % 16 == 0) return by_command;
  // A datagram in fragments is dropped with any of them, so that drops would count more than once.
  return random % 16 == 1 && length_of(number) <= 1400 ? by_library : by_nobody;
}

std::size_t datagrams::length_of(std::uint32_t number) const {
  const auto random = mix(seed_ * 3 + number);
  switch (random % 8) {
    case 0:
      return numbered;
    case 1:
      return 1453 + (random >> 8) % 6000;
    default:
      return numbered + (random >> 8) % (1400 - numbered);
  }
}

std::string datagrams::text_of(std::uint32_t number) const {
  std::string text(length_of(number), first_letter(number));
  for (std::size_t i = 1; i < numbered; ++i) text[i] = static_cast<char>('a' + (number >> (4 * (i - 1)) & 15));
  for (std::size_t i = numbered; i < text.size(); ++i) text[i] = letter(seed_ + number, i);
  return text;
}

void datagrams::send() {
  const endpoint to(where_.far_address, udp_port);
  for (std::uint32_t number = 0; !stopping_;) {
    const std::string text = text_of(number);
    if (::sendto(from_.fd(), text.data(), text.size(), MSG_DONTWAIT, to.address(), to.size()) !=
        static_cast<ssize_t>(text.size())) {
      std::this_thread::sleep_for(1ms);
      continue;
    }
    sent = ++number;
    for_command += text[0] == by_command;
    for_library += text[0] == by_library;
    if (number % 16 == 0) std::this_thread::sleep_for(mix(seed_ ^ number) % 2000 * 1us);
    for (int waited = 0; number - last_ > ahead && waited < 20 && !stopping_; ++waited) {
      std::this_thread::sleep_for(500us);
    }
  }
}

void datagrams::receive() {
  std::string got(0x10000, '\0');
  const endpoint usual(where_.near_address, from_.port());
  const endpoint other(usual.family() == AF_INET ? moved_address4 : moved_address6, moved_port);
  while (!ending_) {
    if (!wait_readable(to_.fd(), 10)) continue;
    sockaddr_storage sender{};
    socklen_t size = sizeof sender;
    const ssize_t length =
        ::recvfrom(to_.fd(), got.data(), got.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&sender), &size);
    if (length < 0) continue;  // a wrong checksum
    std::string text(got, 0, static_cast<std::size_t>(length));
    const bool is_moved = same_sender(sender, other);
    if (!is_moved && !same_sender(sender, usual)) {
      ++damaged;
      continue;
    }
    const std::size_t end = text.find_last_not_of(added_byte) + 1;
    const bool is_lengthened = end < text.size();
    text.resize(end);
    std::ranges::transform(text, text.begin(), lowered);
    std::uint32_t number = 0;
    for (std::size_t i = 1; i < numbered && i < text.size(); ++i) {
      number |= static_cast<std::uint32_t>((text[i] - 'a') & 15) << (4 * (i - 1));
    }
    if (number > sent + ahead || text != text_of(number)) {
      ++damaged;
      continue;
    }
    if (text[0] != by_nobody) ++undropped;
    if (number >= seen_.size()) seen_.resize(number + (1u << 16));
    if (seen_[number]) {
      ++repeated;
      continue;
    }
    seen_[number] = true;
    moved += is_moved;
    lengthened += is_lengthened;
    ++arrived;
    last_ = std::max<std::uint32_t>(last_, number);
  }
}

std::uint32_t datagrams::unread() const {
  std::uint32_t memory[SK_MEMINFO_VARS]{};
  socklen_t size = sizeof memory;
  return ::getsockopt(to_.fd(), SOL_SOCKET, SO_MEMINFO, memory, &size) == 0 ? memory[SK_MEMINFO_DROPS] : 0;
}

// ---- connections

connections::connections(const place& where, std::uint64_t seed)
    : where_(where), seed_(seed), listener_(where.far, where.far_address, tcp_port) {
  thread_ = std::thread([this] {
    constexpr std::size_t each = 1 << 20, part = 1 << 16;
    while (!stopping_) {
      const descriptor from = kernel_tests::tcp_connect(where_.near, where_.far_address, tcp_port);
      const descriptor to = listener_.accept();
      const std::uint64_t of_this = seed_ + made++;
      std::thread sender([&] {
        std::string text(part, '\0');
        for (std::size_t at = 0; at < each;) {
          for (std::size_t i = 0; i < part; ++i) text[i] = letter(of_this, at + i);
          for (std::size_t done = 0; done < part;) {
            const ssize_t size = ::send(from.get(), text.data() + done, part - done, MSG_NOSIGNAL);
            if (size <= 0) return;
            done += static_cast<std::size_t>(size);
          }
          at += part;
        }
        ::shutdown(from.get(), SHUT_WR);
      });
      std::string text(part, '\0');
      std::size_t at = 0;
      while (wait_readable(to.get(), static_cast<int>(std::chrono::milliseconds(kernel_tests::patience).count()))) {
        const ssize_t size = ::recv(to.get(), text.data(), part, 0);
        if (size <= 0) break;
        for (std::size_t i = 0; i < static_cast<std::size_t>(size); ++i) {
          damaged += lowered(text[i]) != letter(of_this, at + i);
        }
        at += static_cast<std::size_t>(size);
        bytes += static_cast<std::uint64_t>(size);
      }
      ::shutdown(from.get(), SHUT_RDWR);
      sender.join();
      damaged += each - at;
    }
  });
}

void connections::stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

// ---- echoes

namespace {

descriptor raw_socket(const place& where) {
  return kernel_tests::in(where.near, [&] {
    const int family = endpoint(where.far_address, 0).family();
    return descriptor(
        ::socket(family, SOCK_RAW | SOCK_CLOEXEC, family == AF_INET ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6}),
        "raw socket");
  });
}

}  // namespace

echoes::echoes(const place& where, std::uint64_t seed) : where_(where), seed_(seed), socket_(raw_socket(where)) {
  thread_ = std::thread([this] { run(); });
}

void echoes::run() {
  const endpoint to(where_.far_address, 0);
  const bool is_ipv4 = to.family() == AF_INET;
  const std::size_t skipped = is_ipv4 ? 20 : 0;  // raw sockets of IPv4 show its header
  std::string got(0x10000, '\0');
  while (!stopping_) {
    const std::uint32_t number = sent;
    std::string request(8 + mix(seed_ + number) % 3000, '\0');
    request[0] = static_cast<char>(is_ipv4 ? 8 : 128);
    std::memcpy(request.data() + 4, &number, sizeof number);
    for (std::size_t i = 8; i < request.size(); ++i) request[i] = letter(seed_ + number, i);
    if (is_ipv4) {
      std::uint32_t sum = 0;
      for (std::size_t i = 0; i < request.size(); ++i) {
        sum += static_cast<std::uint32_t>(static_cast<unsigned char>(request[i])) << (i % 2 == 0 ? 8 : 0);
      }
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
      request[2] = static_cast<char>(~sum >> 8);
      request[3] = static_cast<char>(~sum);
    }
    if (::sendto(socket_.get(), request.data(), request.size(), 0, to.address(), to.size()) < 0) {
      std::this_thread::sleep_for(1ms);
      continue;
    }
    ++sent;
    const auto end = std::chrono::steady_clock::now() + kernel_tests::patience;
    for (bool answer = false; !answer && std::chrono::steady_clock::now() < end;) {
      if (!wait_readable(socket_.get(), 100)) continue;
      const ssize_t size = ::recv(socket_.get(), got.data(), got.size(), MSG_DONTWAIT);
      if (size < static_cast<ssize_t>(skipped + 8)) continue;
      const std::string_view reply(got.data() + skipped, static_cast<std::size_t>(size) - skipped);
      if (reply[0] != (is_ipv4 ? 0 : static_cast<char>(129))) continue;
      answer = true;
      ++answered;
      damaged += reply.size() != request.size() || std::memcmp(reply.data() + 4, request.data() + 4, 4) != 0 ||
                 !std::ranges::equal(reply.substr(8), std::string_view(request).substr(8), {}, lowered);
    }
    std::this_thread::sleep_for(5ms);
  }
}

void echoes::stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

}  // namespace soak
