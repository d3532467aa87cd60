// SPDX-License-Identifier: MIT
#include "load.hpp"

#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <span>

#include "kernel/process.hpp"

namespace fault_tests {
namespace {

using namespace std::chrono_literals;
using kernel_tests::wait_until;

constexpr std::size_t most_bytes = 1200;
constexpr std::uint32_t ahead = 256;

// Writes a datagram and returns its length.
std::size_t write_datagram(std::uint32_t number, std::span<char> into) {
  const std::size_t length = 8 + number * 37 % (most_bytes - 8);
  std::memset(into.data(), static_cast<int>('a' + number % 26), length);
  std::memcpy(into.data(), &number, sizeof number);
  return length;
}

void set_buffer(int fd, int force, int permitted) {
  const int bytes = 64 << 20;
  if (::setsockopt(fd, SOL_SOCKET, force, &bytes, sizeof bytes) != 0) {
    ::setsockopt(fd, SOL_SOCKET, permitted, &bytes, sizeof bytes);
  }
}

}  // namespace

load::load(const kernel_tests::netns& near, const kernel_tests::netns& far, pace how, std::string_view from,
           std::string_view to)
    : pace_(how), address_(to, port), from_(near, from), to_(std::in_place, far, to, port) {
  set_buffer(from_.fd(), SO_SNDBUFFORCE, SO_SNDBUF);
  set_buffer(to_->fd(), SO_RCVBUFFORCE, SO_RCVBUF);
  receiver_ = std::thread([this] { receive(); });
  sender_ = std::thread([this] { send(); });
}

load::~load() {
  stop();
  leave();
}

void load::pause() {
  paused_ = true;
  wait_until("a sender that pauses", [this] { return idle_.load(); });
}

void load::stop() {
  stopping_ = true;
  if (sender_.joinable()) sender_.join();
}

void load::leave() {
  ending_ = true;
  if (!receiver_.joinable()) return;
  receiver_.join();
  std::uint32_t memory[SK_MEMINFO_VARS]{};
  socklen_t size = sizeof memory;
  if (::getsockopt(to_->fd(), SOL_SOCKET, SO_MEMINFO, memory, &size) == 0) account_.unread = memory[SK_MEMINFO_DROPS];
  to_.reset();
}

void load::wait_for_sent(std::uint32_t more) const {
  wait_until("packets are sent", [this, end = sent_ + more] { return sent_ >= end; });
}

void load::wait_for_arrivals(std::uint32_t more) const {
  wait_until("packets arrive", [this, end = arrived_ + more] { return arrived_ >= end; });
}

void load::wait_for_last() {
  stop();
  wait_until("the last packet arrives", [this] { return last_ + 1 == sent_; });
}

void load::send() {
  std::array<char, most_bytes> datagram;
  for (std::uint32_t number = 0; !stopping_;) {
    if (paused_) {
      idle_ = true;
      std::this_thread::sleep_for(1ms);
      continue;
    }
    idle_ = false;
    const std::size_t length = write_datagram(number, datagram);
    if (::sendto(from_.fd(), datagram.data(), length, MSG_DONTWAIT, address_.address(), address_.size()) ==
        static_cast<ssize_t>(length)) {
      sent_ = ++number;
      if (number % 16 == 0) std::this_thread::sleep_for(200us);
      for (int waited = 0; pace_ == pace::steady && number - last_ > ahead && waited < 10 && !stopping_; ++waited) {
        std::this_thread::sleep_for(500us);
      }
    } else {
      std::this_thread::sleep_for(1ms);  // no way there, or what waits in a queue fills the send buffer
    }
  }
}

void load::receive() {
  std::array<char, 2 * most_bytes> datagram;
  std::array<char, most_bytes> wanted;
  for (;;) {
    pollfd readable{to_->fd(), POLLIN, 0};
    ::poll(&readable, 1, 10);
    const ssize_t length = ::recv(to_->fd(), datagram.data(), datagram.size(), MSG_DONTWAIT);
    if (length < 0) {
      if (ending_) return;
      continue;
    }
    std::uint32_t number = 0;
    std::memcpy(&number, datagram.data(), sizeof number);
    if (length < 4 || number >= 1u << 24 || static_cast<std::size_t>(length) != write_datagram(number, wanted) ||
        std::memcmp(datagram.data(), wanted.data(), static_cast<std::size_t>(length)) != 0) {
      ++account_.damaged;
      continue;
    }
    if (number >= seen_.size()) seen_.resize(number + 4096);
    if (seen_[number]++ != 0) {
      ++account_.repeated;
    } else {
      ++arrived_;
      last_ = std::max<std::uint32_t>(last_, number);
    }
  }
}

load::account load::settle(std::uint64_t expected) {
  stop();
  const auto end = std::chrono::steady_clock::now() + kernel_tests::patience;
  while (arrived_ < expected && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(1ms);
  // And what should not be there.
  std::uint32_t before = arrived_ - 1;
  wait_until("nothing more arrives", [&] {
    std::this_thread::sleep_for(20ms);
    return std::exchange(before, arrived_) == arrived_;
  });
  leave();
  seen_.resize(sent_);
  for (std::uint32_t number = 0; number < sent_; ++number) {
    if (seen_[number] == 0) account_.missing.push_back(number);
  }
  tell("sent", sent_);
  tell("not arrived", account_.missing.size());
  return account_;
}

}  // namespace fault_tests
