// SPDX-License-Identifier: MIT
// Interface indices become names and hardware types, as they are now: renames and re-creations are followed.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "ipq/error.hpp"
#include "netlink/cycle_counter.hpp"
#include "netlink/socket.hpp"

namespace ipq::netlink {

struct interface {
  std::array<char, 16> name{};  ///< NUL-terminated; empty if there is no such interface
  std::uint16_t type = 0;       ///< ARPHRD_*
};

/// Where an interface's name is wanted.
using name_room = std::span<char, 16>;

/// An interface as it is remembered, for readers that take no lock and write no memory.
class remembered_interface {
 public:
  /// Writes its name and returns its type; nullopt, and nothing written, if it is another index or is being written.
  [[nodiscard]] std::optional<std::uint16_t> load(std::uint32_t index, name_room name) const noexcept {
    const std::uint64_t head = head_.load(std::memory_order_acquire);
    if (static_cast<std::uint32_t>(head) != index) return std::nullopt;
    const std::uint64_t read[] = {name_[0].load(std::memory_order_acquire), name_[1].load(std::memory_order_acquire)};
    if (head_.load(std::memory_order_relaxed) != head) return std::nullopt;
    std::memcpy(name.data(), read, sizeof read);
    return static_cast<std::uint16_t>(head >> 32);
  }

  /// One thread at a time writes.
  void store(std::uint32_t index, const interface& what) noexcept {
    forget();
    std::uint64_t name[2];
    static_assert(sizeof name == sizeof what.name);
    std::memcpy(name, what.name.data(), sizeof name);
    name_[0].store(name[0], std::memory_order_release);  // behind the new generation, for everybody
    name_[1].store(name[1], std::memory_order_release);
    head_.store(head_.load(std::memory_order_relaxed) | std::uint64_t{what.type} << 32 | index,
                std::memory_order_release);
  }
  void forget() noexcept {
    head_.store(((head_.load(std::memory_order_relaxed) >> 48) + 1) << 48, std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t> head_ = 0;  ///< generation, type, index: 16, 16 and 32 bits; index 0 marks a free place
  std::array<std::atomic<std::uint64_t>, 2> name_{};
};

/// Remembers what the kernel said of each interface and forgets it when the kernel says that something changed. May be
/// called from several threads and from a signal handler: it takes no lock and allocates nothing, and who finds the
/// memory being written asks the kernel over a socket of its own instead. While it asks no handler runs, so that one
/// that leaves by longjmp leaves nothing unfinished.
class interfaces {
 public:
  explicit interfaces(const socket_source& source) noexcept : source_(&source) {}

  /// Opens the sockets now and from this source from now on; where that fails, the next find tries again. Not while
  /// another thread is here.
  void open(const socket_source& source);

  /// In a child of fork(2), before anything else: another thread of the parent may have been here.
  void after_fork_in_child() noexcept { in_use_.clear(std::memory_order_relaxed); }

  /// How long an answer may come from memory before the kernel's announcements are looked at again, at most; with
  /// counters of 3 GHz it is a third of that. Looking costs a system call, which a reader that drains thousands of
  /// packets can't spend on each.
  static constexpr std::chrono::nanoseconds max_age{1 << 19};

  /// The interface of this index, not 0, in the network namespace that the source gives sockets of: writes its name and
  /// returns its type. The name goes straight to where it is wanted: two halves that are copied on at once as one whole
  /// make the processor wait. errno stays.
  std::uint16_t find(std::uint32_t index, name_room name) {
    const auto looked = looked_.load(std::memory_order_acquire);  // first: what was forgotten then is not found
    const auto type = place_of(index).load(index, name);
    if (type && count_cycles() - looked < max_cycles) [[likely]]
      return *type;
    const interface found = look_up(index);
    std::memcpy(name.data(), found.name.data(), name.size());
    return found.type;
  }
  /// The same in one piece; index 0 is no interface.
  [[nodiscard]] interface find(std::uint32_t index) {
    interface found;
    if (index != 0) found.type = find(index, found.name);
    return found;
  }

 private:
  static constexpr std::uint64_t max_cycles = max_age.count();

  [[nodiscard]] remembered_interface& place_of(std::uint32_t index) noexcept {
    return remembered_[index % remembered_.size()];
  }
  [[gnu::noinline]] interface look_up(std::uint32_t index);
  interface look_up_alone(std::uint32_t index);
  bool open_sockets();
  bool open_sockets_again();
  /// False: the sockets are not there any more.
  bool forget_what_changed();
  void forget_all() noexcept;

  const socket_source* source_;
  std::atomic<std::uint64_t> looked_ = 0;  ///< in cycles
  std::array<remembered_interface, 32> remembered_;
  std::atomic_flag in_use_;  ///< guards what follows, and writing what is above
  unseen_socket announcements_;
  unseen_socket questions_;  ///< apart, so that no announcement stands before an answer
  std::uint64_t seen_ = 0;   ///< in cycles: when both were there
  std::uint32_t questions_asked_ = 0;
  pid_t opened_by_ = 0;
};

}  // namespace ipq::netlink
