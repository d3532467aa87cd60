// SPDX-License-Identifier: MIT
// Gives each of several readers its own share of what one socket receives, on descriptors of their own that are
// readable exactly when there is something for that reader. A thread does it.
#pragma once

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "ipq/error.hpp"
#include "netlink/descriptor.hpp"
#include "netlink/in_common.hpp"
#include "netlink/outbox.hpp"
#include "netlink/socket.hpp"
#include "wire/constants.hpp"

namespace ipq::netlink {

/// The thread blocks all signals, and survives the death of its process: a child of fork(2) starts one of its own,
/// which takes over when the parent has ended (a program that becomes a daemon after it opened its queue).
class relay {
 public:
  static constexpr std::size_t max_readers = 2;

  /// Tells whose a datagram is, and may shorten it; nullopt: nobody's, it has been dealt with. Called by the relay's
  /// thread, and by deliver's.
  using router = std::function<std::optional<std::size_t>(std::span<std::byte>& datagram)>;

  /// `source` outlives the relay. Errors: those of memfd_create(2), pipe(2) and eventfd(2).
  [[nodiscard]] static result<std::unique_ptr<relay>> create(const socket& source, router route);

  /// Stops the thread. Datagrams that nobody has read are lost.
  ~relay();
  relay(const relay&) = delete;
  relay& operator=(const relay&) = delete;

  /// Where this reader receives from now on: whole datagrams, as the source received them. SO_RCVBUF may be set on it.
  /// What is sent over it goes out over the source.
  [[nodiscard]] result<socket> open_reader(std::size_t reader);
  void close_reader(std::size_t reader);

  /// While the caller has this, with signals off, nothing is forwarded.
  [[nodiscard]] std::unique_lock<std::mutex> pause() { return std::unique_lock(mutex_); }

  /// Starts the thread. Errors: those of pthread_create(3).
  [[nodiscard]] result<void> start();

  /// Treats a datagram as if the source had just received it.
  void deliver(std::span<std::byte> datagram);

  /// Whether the thread of this process is the one that forwards; in a child of fork(2) it is not while the parent
  /// lives.
  [[nodiscard]] bool serves() const noexcept { return serves_.load(std::memory_order_relaxed); }

  /// To be called around fork(2), by the thread that forks. The child of a failed or successful fork goes on as above.
  void before_fork();
  void after_fork_in_parent();
  void after_fork_in_child();

 private:
  relay(const socket& source, router route) noexcept : source_(source), route_(std::move(route)) {}
  bool open_living();
  static void* run(void* self);
  void serve();
  [[nodiscard]] bool take_turn() const;
  bool wait_for_turn();
  bool wait_for_work();
  bool heed_wake();
  void forward(std::span<std::byte> datagram);
  void forward_what_was_left();
  void send_out(outbox& from);

  const socket& source_;
  const router route_;
  descriptor lock_;  ///< a file; the process whose thread serves holds a POSIX lock on it, which its death releases
  descriptor living_read_;  ///< a pipe that hangs up when the last process that served has died
  descriptor living_write_;
  descriptor wake_;  ///< readable when the thread of this process has a backlog to look at, or is to end
  std::atomic<bool> stopping_ = false;
  pthread_t thread_{};
  std::atomic<bool> serves_ = false;
  std::array<bool, max_readers> sent_back_{};  ///< the thread's: something came over the end of this reader
  std::mutex mutex_;  ///< guards what follows, and that a datagram is forwarded as a whole or not yet taken
  std::array<std::optional<outbox>, max_readers> readers_;
  in_common<std::array<std::byte, wire::max_datagram>>
      in_hand_;  ///< the datagram that is on its way, seen by children; its length is 0 if there is none. Who takes
                 ///< over forwards it: rather twice, where the process ended just behind forwarding it, than not at
                 ///< all.
  std::vector<std::byte> buffer_;  ///< for what is sent back
};

}  // namespace ipq::netlink
