// SPDX-License-Identifier: MIT
#include "compat/registry.hpp"

#include <pthread.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <mutex>
#include <new>
#include <string>

namespace ipq::compat {
namespace {

/// The one mutable global of the library besides the threads' errors: "one handle a family" is a rule about the
/// process.
struct registry {
  std::mutex mutex;
  struct entry {
    handle* created = nullptr;
    pid_t creator = 0;
  };
  std::array<entry, 2> entries;  ///< IPv4, IPv6
};

constinit registry handles;

/// A child of fork() inherits handles, but they are not its own: it may create others.
handle* own(const registry::entry& entry) noexcept {
  return entry.creator == ::getpid() ? entry.created : nullptr;
}

registry::entry& entry_of(bool ipv6) noexcept {
  return handles.entries[ipv6 ? 1 : 0];
}

void before_fork() {
  handles.mutex.lock();
  const handle* forked = nullptr;
  for (const auto& entry : handles.entries) {
    if (entry.created == nullptr) continue;
    if (forked == nullptr || forked->through() != entry.created->through()) entry.created->through()->before_fork();
    forked = entry.created;
  }
}

template <void (queue::*Resume)()>
void after_fork() {
  const handle* resumed = nullptr;
  for (const auto& entry : handles.entries) {
    if (entry.created == nullptr) continue;
    if (resumed == nullptr || resumed->through() != entry.created->through()) (*entry.created->through().*Resume)();
    resumed = entry.created;
  }
  handles.mutex.unlock();
}

void watch_forks() noexcept {
  static const int registered =
      ::pthread_atfork(before_fork, after_fork<&queue::after_fork_in_parent>, after_fork<&queue::after_fork_in_child>);
  static_cast<void>(registered);
}

/// The queue of this number that the handle of the other family has, or a new one.
result<std::shared_ptr<queue>> find_queue(const handle& joining, const netlink::socket_source& source,
                                          std::uint16_t number) {
  const handle* const other = own(entry_of(!joining.ipv6()));
  if (other != nullptr && other->through()->number() == number) return other->through();
  return queue::open(source, number, joining.options().max_length);
}

result<void> join(handle& joining, const netlink::socket_source& source, std::uint16_t number) {
  auto found = find_queue(joining, source, number);
  if (!found) return std::unexpected(found.error());
  return joining.join(*std::move(found));
}

std::nullptr_t refuse(int number, int error) noexcept {
  set_thread_error(number);
  errno = error;
  return nullptr;
}

}  // namespace

handle* create_handle(std::uint32_t protocol, const netlink::socket_source& source, environment look_up) noexcept try {
  constexpr std::uint32_t ipv4 = 2, ipv6 = 10;  // NFPROTO_*, PF_*
  const int errno_before = errno;
  if (protocol != ipv4 && protocol != ipv6) return refuse(IPQ_ERR_PROTOCOL, errno_before);
  const auto options = read_settings(protocol == ipv6, look_up);
  if (!options) {
    set_thread_error(std::string_view(options.error()));
    errno = EINVAL;
    return nullptr;
  }
  watch_forks();
  const std::lock_guard locked(handles.mutex);
  registry::entry& entry = entry_of(protocol == ipv6);
  if (own(entry) != nullptr) return refuse(IPQ_ERR_BIND, EADDRINUSE);
  auto created = std::make_unique<handle>(source, protocol == ipv6, *options);
  if (const auto joined = join(*created, source, options->queue); !joined) {
    return refuse(IPQ_ERR_SOCKET, joined.error().code.value());
  }
  entry = {created.get(), ::getpid()};
  errno = errno_before;
  return created.release();
} catch (const std::bad_alloc&) {
  return refuse(IPQ_ERR_HANDLE, ENOMEM);
}

void destroy_handle(handle* destroyed) noexcept {
  const int errno_before = errno;
  {
    const std::lock_guard locked(handles.mutex);
    registry::entry& entry = entry_of(destroyed->ipv6());
    if (entry.created == destroyed) entry = {};
    destroyed->leave();
  }
  delete destroyed;
  errno = errno_before;
}

int set_queue(handle& changed, unsigned int number, const netlink::socket_source& source) {
  if (!changed.may_change_settings("set queue")) return -1;
  if (number > 0xffff) {
    return changed.refuse_setting("set queue", EINVAL, std::to_string(number) + ": expected a number from 0 to 65535");
  }
  const std::lock_guard locked(handles.mutex);
  if (changed.through()->number() == number) return 0;
  if (const auto joined = join(changed, source, static_cast<std::uint16_t>(number)); !joined) {
    return changed.refuse_setting("set queue", joined.error().code.value(), joined.error().code.message());
  }
  return 0;
}

}  // namespace ipq::compat
