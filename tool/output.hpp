// SPDX-License-Identifier: MIT
// Standard output as the live commands use it: whole lines, taken from any thread, which never waits for their reader.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "failure.hpp"

namespace tool {

/// Lines wait in bounded memory for a thread that writes them to a descriptor: whoever judges packets does not wait,
/// since the way to the reader may lead through the very queue. What finds no room is left out and counted. An error
/// ends the writing, the reader of a pipe is gone or the disk is full: what comes then is left out, uncounted.
class output {
 public:
  static constexpr std::size_t room = std::size_t{8} << 20;  ///< bytes that may wait

  explicit output(int fd) noexcept : fd_(fd) {}
  output(const output&) = delete;
  output& operator=(const output&) = delete;
  /// As finish().
  ~output() { finish(); }

  /// Starts the thread. `failed` is called by it once, when writing has failed and error() says why. Failure: failed,
  /// the system has no more threads.
  [[nodiscard]] outcome<void> start(std::function<void()> failed);

  /// Takes all of `lines`, or none of them, and empties it. Does not wait. What is larger than `room` is taken where
  /// nothing waits.
  void write(fmt::memory_buffer& lines);

  /// Waits until all that was taken is written, or writing has failed.
  void finish() noexcept;

  /// The errno of the first write that failed; 0: none did.
  [[nodiscard]] int error() const noexcept { return error_; }
  /// Lines that found no room.
  [[nodiscard]] std::uint64_t left_out() const noexcept { return left_out_; }

 private:
  void work(const std::function<void()>& failed) noexcept;
  bool write_all(const fmt::memory_buffer& lines) noexcept;

  int fd_;
  std::mutex lock_;
  std::condition_variable news_;
  fmt::memory_buffer waiting_;  ///< under lock_
  bool ending_ = false;         ///< under lock_
  std::atomic<int> error_ = 0;
  std::atomic<std::uint64_t> left_out_ = 0;
  std::thread writer_;
};

/// Says on standard error how many lines found no room, if there are any.
void tell_left_out(const char* command, const output& of);

}  // namespace tool
