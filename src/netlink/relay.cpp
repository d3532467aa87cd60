// SPDX-License-Identifier: MIT
#include "netlink/relay.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <new>

#include "netlink/signals_off.hpp"
#include "wire/bytes.hpp"

namespace ipq::netlink {

result<std::unique_ptr<relay>> relay::create(const socket& source, router route) {
  std::unique_ptr<relay> created(new relay(source, std::move(route)));
  created->buffer_.resize(wire::max_datagram);
  created->lock_ = descriptor(::memfd_create("libipq relay", MFD_CLOEXEC));
  if (!created->lock_) return failed("create lock file", errno);
  if (!created->open_living()) return failed("create pipe", errno);
  created->wake_ = descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!created->wake_) return failed("create eventfd", errno);
  return created;
}

bool relay::open_living() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return false;
  living_read_ = descriptor(fds[0]);
  living_write_ = descriptor(fds[1]);
  return true;
}

relay::~relay() {
  if (thread_ == pthread_t{}) return;
  stopping_ = true;
  ::eventfd_write(wake_.fd(), 1);
  ::pthread_join(thread_, nullptr);
}

result<void> relay::start() {
  // Now, as a child that is forked before the thread runs would be the first, and take the turn away with it.
  const int kept = errno;
  serves_ = take_turn();
  errno = kept;
  // A new thread inherits the mask: the program's handlers run in the program's threads only.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = ::pthread_create(&thread_, nullptr, run, this);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error == 0) return {};
  thread_ = pthread_t{};
  serves_ = false;
  return failed("start relay thread", error);
}

void* relay::run(void* self) {
  static_cast<relay*>(self)->serve();
  return nullptr;
}

void relay::serve() {
  if (!wait_for_turn()) return;
  serves_ = true;
  forward_what_was_left();
  while (wait_for_work()) {
    const std::lock_guard locked(mutex_);
    for (std::size_t reader = 0; reader < max_readers; ++reader) {
      auto& to = readers_[reader];
      if (!to) continue;
      to->flush();
      if (sent_back_[reader]) [[unlikely]]
        send_out(*to);
    }
    // A bounded number, so that whoever wants the mutex gets it under any load.
    for (int taken = 0; taken < 64; ++taken) {
      const auto received = source_.receive(*in_hand_, waiting::not_at_all);
      if (!received) break;
      if (received->length == 0) return;  // the end of a scripted kernel
      forward(std::span(*in_hand_).first(received->length));
      wire::store(in_hand_->data(), std::uint32_t{0});
    }
  }
}

bool relay::take_turn() const {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  return ::fcntl(lock_.fd(), F_SETLK, &whole) == 0;
}

bool relay::wait_for_turn() {
  while (!take_turn()) {
    // The pipe hangs up when who served is gone. A sibling may have been faster: then there is only asking again.
    constexpr int ask_again_ms = 100;
    std::array<pollfd, 2> watched{pollfd{wake_.fd(), POLLIN, 0}, pollfd{living_read_.fd(), 0, 0}};
    ::poll(&watched[1], 1, 0);
    const bool hung_up = watched[1].revents & POLLHUP;
    ::poll(watched.data(), hung_up ? 1 : 2, hung_up ? ask_again_ms : -1);
    if (!heed_wake()) return false;
  }
  // Children from now on watch this process; without descriptors left they ask again and again.
  const std::lock_guard locked(mutex_);
  if (!living_write_) open_living();
  return true;
}

bool relay::wait_for_work() {
  std::array<pollfd, max_readers + 2> watched;
  {
    const std::lock_guard locked(mutex_);
    for (std::size_t reader = 0; reader < max_readers; ++reader) {
      const auto& to = readers_[reader];
      const bool matters = to && to->events() != 0;  // poll passes over -1
      watched[reader] = {matters ? to->fd() : -1, matters ? to->events() : short{0}, 0};
    }
  }
  watched[max_readers] = {wake_.fd(), POLLIN, 0};
  watched[max_readers + 1] = {source_.fd(), POLLIN, 0};
  ::poll(watched.data(), watched.size(), -1);
  for (std::size_t reader = 0; reader < max_readers; ++reader) {
    sent_back_[reader] = (watched[reader].revents & (POLLIN | POLLHUP | POLLERR)) != 0;
  }
  return heed_wake();
}

bool relay::heed_wake() {
  eventfd_t times;
  ::eventfd_read(wake_.fd(), &times);
  return !stopping_;
}

void relay::forward(std::span<std::byte> datagram) {
  try {
    const auto whose = route_(datagram);
    if (!whose || !readers_[*whose]) return;
    readers_[*whose]->post(datagram);
  } catch (const std::bad_alloc&) {
    // Like a receive buffer that is full; the packet waits in the kernel until the queue is closed.
  }
}

/// Of a process that has ended between receiving and forwarding: a message says its own length, in its first bytes.
void relay::forward_what_was_left() {
  const std::lock_guard locked(mutex_);
  const auto length = wire::load<std::uint32_t>(in_hand_->data());
  if (length < wire::nlmsg_header_size) return;
  forward(std::span(*in_hand_).first(std::min<std::size_t>(length, in_hand_->size())));
  wire::store(in_hand_->data(), std::uint32_t{0});
}

void relay::send_out(outbox& from) {
  for (int taken = 0; taken < 64; ++taken) {
    const auto received = from.take_back(buffer_);
    if (!received) return;
    static_cast<void>(source_.send(std::span<const std::byte>(buffer_).first(received->length)));
  }
}

result<socket> relay::open_reader(std::size_t reader_index) {
  auto opened = outbox::open();
  if (!opened) return std::unexpected(opened.error());
  const std::lock_guard locked(mutex_);
  readers_[reader_index].emplace(std::move(opened->first));
  return std::move(opened->second);
}

void relay::close_reader(std::size_t reader_index) {
  const std::lock_guard locked(mutex_);
  readers_[reader_index].reset();
}

void relay::deliver(std::span<std::byte> datagram) {
  const signals_off no_handlers;  // one that forks takes the mutex
  const std::lock_guard locked(mutex_);
  forward(datagram);
  // What did not fit is the thread's to flush, and it may be asleep.
  ::eventfd_write(wake_.fd(), 1);
}

void relay::before_fork() {
  mutex_.lock();
}

void relay::after_fork_in_parent() {
  mutex_.unlock();
}

void relay::after_fork_in_child() {
  mutex_.unlock();
  thread_ = pthread_t{};
  serves_ = false;
  living_write_ = descriptor();
  wake_ = descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  // The lock is the parent's as long as it lives, so this thread waits for its turn; exec and exit end it there.
  // If it can't be started, the child has what the parent forwards.
  if (!wake_) return;
  const auto started = start();
  static_cast<void>(started);
}

}  // namespace ipq::netlink
