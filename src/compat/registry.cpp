// SPDX-License-Identifier: MIT
#include "compat/registry.hpp"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>

#include "compat/capture_handle.hpp"
#include "compat/kernel_handle.hpp"
#include "netlink/proc.hpp"
#include "netlink/signals_off.hpp"

namespace ipq::compat {
namespace {

/// The one mutable global of the library besides the threads' errors: "one handle a family" is a rule about the
/// process.
struct registry {
  std::mutex mutex;
  sigset_t mask{};  ///< of the thread that forks, from before
  struct entry {
    handle* created = nullptr;
    pid_t creator = 0;
  };
  std::array<entry, 2> entries;  ///< IPv4, IPv6
};

constinit registry handles;

/// Handlers may destroy handles, and fork: none runs in this thread while it holds the mutex.
class lock {
 private:
  const netlink::signals_off no_handlers_;
  const std::lock_guard<std::mutex> locked_{handles.mutex};
};

/// A child of fork() inherits handles, but they are not its own: it may create others.
handle* own(const registry::entry& entry) noexcept {
  return entry.creator == ::getpid() ? entry.created : nullptr;
}

/// Whether the process has ended; one that nobody has waited for yet still has its number.
bool has_ended(pid_t process) {
  const int errno_before = errno;
  const bool no_number = ::kill(process, 0) != 0 && errno == ESRCH;
  const auto stat = netlink::read_proc_file(("/proc/" + std::to_string(process) + "/stat").c_str());
  errno = errno_before;
  if (no_number || !stat) return no_number;
  const auto name_end = stat->rfind(") ");  // the state follows
  return name_end != std::string::npos && stat->compare(name_end, 3, ") Z") == 0;
}

/// The handle whose queue another one may join: also one of a process that is gone, as the parent of a daemon. It reads
/// nothing any more.
handle* partner(const registry::entry& entry) {
  return own(entry) != nullptr || (entry.created != nullptr && has_ended(entry.creator)) ? entry.created : nullptr;
}

registry::entry& entry_of(bool ipv6) noexcept {
  return handles.entries[ipv6 ? 1 : 0];
}

/// For each queue once, also where two handles have the same.
void for_each_queue(void (shared_between_handles::*what)()) {
  const shared_between_handles* done = nullptr;
  for (const auto& entry : handles.entries) {
    shared_between_handles* const shared = entry.created != nullptr ? entry.created->shared() : nullptr;
    if (shared == nullptr || shared == done) continue;
    (shared->*what)();
    done = shared;
  }
}

void before_fork() {
  // Until it has forked no handler runs: see lock.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  handles.mutex.lock();
  handles.mask = before;
  for_each_queue(&shared_between_handles::before_fork);
}

template <void (shared_between_handles::*Resume)()>
void after_fork() {
  for_each_queue(Resume);
  const sigset_t before = handles.mask;
  handles.mutex.unlock();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void after_fork_in_child() {
  for (const auto& entry : handles.entries) {
    if (entry.created != nullptr) entry.created->after_fork_in_child();
  }
  after_fork<&shared_between_handles::after_fork_in_child>();
}

void watch_forks() noexcept {
  static const int registered =
      ::pthread_atfork(before_fork, after_fork<&shared_between_handles::after_fork_in_parent>, after_fork_in_child);
  static_cast<void>(registered);
}

/// What tells paths apart is at their end, and what is wrong must have room behind it.
std::string shorten_path(const std::string& path) {
  constexpr std::size_t shown = 80;
  return path.size() <= shown ? path : "..." + path.substr(path.size() - shown);
}

/// "open in.pcap: No such file or directory": which of the two files it is about.
std::string describe(const error& why, const capture_settings& files) {
  constexpr std::string_view input = " capture", output = " output";
  const std::string_view operation = why.operation;
  const bool of_input = operation.ends_with(input);
  std::string said = why.message();
  if (!of_input && !operation.ends_with(output)) return said;
  const std::size_t length = (of_input ? input : output).size() - 1;
  return said.replace(operation.size() - length, length, shorten_path(of_input ? files.in : files.out));
}

std::nullptr_t refuse(int number, int error) noexcept {
  set_thread_error(number);
  errno = error;
  return nullptr;
}

}  // namespace

handle* create_handle(std::uint32_t flags, std::uint32_t protocol, const netlink::socket_source& source,
                      environment look_up) noexcept try {
  constexpr std::uint32_t ipv4 = 2, ipv6 = 10;  // NFPROTO_*, PF_*
  const int errno_before = errno;
  if (protocol != ipv4 && protocol != ipv6) return refuse(IPQ_ERR_PROTOCOL, errno_before);
  // As lock, and from the first that is allocated on: a handler that frees must not come in between.
  std::optional<netlink::signals_off> no_handlers(std::in_place);
  auto options = read_settings(protocol == ipv6, look_up);
  if (!options) {
    set_thread_error(std::string_view(options.error()));
    errno = EINVAL;
    return nullptr;
  }
  if (flags & IPQ_CREATE_BATCH) options->batch = true;
  watch_forks();
  // A pipe opens when somebody writes into it, and until then a signal must be able to end the program.
  if (options->capture) no_handlers.reset();
  const std::lock_guard locked(handles.mutex);
  registry::entry& entry = entry_of(protocol == ipv6);
  if (own(entry) != nullptr) return refuse(IPQ_ERR_BIND, EADDRINUSE);
  std::unique_ptr<handle> created;
  if (options->capture) {
    created = std::make_unique<capture_handle>(protocol == ipv6, *options);
  } else {
    created = std::make_unique<kernel_handle>(source, protocol == ipv6, *options);
  }
  if (const auto opened = created->open(options->queue, partner(entry_of(protocol != ipv6))); !opened) {
    if (!options->capture) return refuse(IPQ_ERR_SOCKET, opened.error().code.value());
    set_thread_error(std::string_view("LIBIPQ_SOURCE: " + describe(opened.error(), *options->capture)));
    errno = opened.error().code.value();
    return nullptr;
  }
  entry = {created.get(), ::getpid()};
  errno = errno_before;
  return created.release();
} catch (const std::bad_alloc&) {
  return refuse(IPQ_ERR_HANDLE, ENOMEM);
}

void destroy_handle(handle* destroyed) noexcept {
  const int errno_before = errno;
  // The allocator may be locked while it frees, and a handler that destroys another handle would wait for ever. What a
  // capture's handle closes may wait itself.
  std::optional<netlink::signals_off> no_handlers;
  if (!destroyed->options().capture) no_handlers.emplace();
  {
    const lock locked;
    registry::entry& entry = entry_of(destroyed->ipv6());
    if (entry.created == destroyed) entry = {};
    destroyed->leave();
  }
  delete destroyed;
  errno = errno_before;
}

int set_queue(handle& changed, unsigned int number) {
  if (!changed.may_change_settings("set queue")) return -1;
  if (number > 0xffff) {
    return changed.refuse_setting("set queue", EINVAL, std::to_string(number) + ": expected a number from 0 to 65535");
  }
  const lock locked;
  if (changed.options().queue == number) return 0;
  handle* const other = partner(entry_of(!changed.ipv6()));
  if (const auto opened = changed.open(static_cast<std::uint16_t>(number), other); !opened) {
    return changed.refuse_setting("set queue", opened.error().code.value(), opened.error().code.message());
  }
  return 0;
}

}  // namespace ipq::compat
