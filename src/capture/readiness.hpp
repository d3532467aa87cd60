// SPDX-License-Identifier: MIT
// A descriptor that is readable exactly when a reader has something to give: at once, at a time, or when its input is.
#pragma once

#include <chrono>

#include "capture/descriptor.hpp"
#include "ipq/error.hpp"

namespace ipq::capture {

class readiness {
 public:
  using clock = std::chrono::steady_clock;

  /// `input` is watched while await_input() says so; -1: there is none to wait for. Errors: those of epoll_create(2),
  /// timerfd_create(2) and eventfd(2).
  [[nodiscard]] static result<readiness> create(int input) noexcept;

  void set_ready() noexcept { set(state::ready, {}); }
  void set_ready_at(clock::time_point when) noexcept { set(state::at_time, when); }
  void await_input() noexcept { set(state::input, {}); }

  /// Makes it readable for ever. From any thread, or a signal handler.
  void stop() const noexcept;

  /// Until it is readable. Errors: ETIMEDOUT, EINTR.
  [[nodiscard]] result<void> wait(clock::time_point deadline) const noexcept;
  [[nodiscard]] int fd() const noexcept { return all_.fd(); }

 private:
  enum class state { none, ready, at_time, input };
  readiness(descriptor all, descriptor timer, descriptor stopped, int input) noexcept
      : all_(std::move(all)), timer_(std::move(timer)), stopped_(std::move(stopped)), input_(input) {}
  void set(state wanted, clock::time_point when) noexcept;

  unseen_descriptor all_, timer_, stopped_;
  int input_;
  state now_ = state::none;
  clock::time_point when_{};
};

}  // namespace ipq::capture
