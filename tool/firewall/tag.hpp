// SPDX-License-Identifier: MIT
// The mark on rules that says which process they are for, and whether it still lives.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "failure.hpp"

namespace tool::firewall {

/// "ipq:PID:STARTTIME", of which there is one in the network namespace as long as this object, and its process, live.
/// The proof of life is an abstract unix socket of that name: the kernel keeps these names per network namespace, as
/// it does rules, so that a container's pids confuse nobody, and takes them back however a process ends.
class tag {
 public:
  /// For the calling process, in the network namespace of the calling thread.
  [[nodiscard]] static outcome<tag> make();
  tag(tag&& other) noexcept : name_(std::move(other.name_)), fd_(std::exchange(other.fd_, -1)) {}
  tag& operator=(tag&& other) noexcept {
    std::swap(name_, other.name_);
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~tag();

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// As an identifier of nft.
  [[nodiscard]] std::string table_name() const;

  /// Whether a text has the form of a tag.
  [[nodiscard]] static bool is_one(std::string_view text) noexcept;
  /// Whether somebody in the calling thread's network namespace has that tag. In doubt it is so.
  [[nodiscard]] static bool is_alive(std::string_view name) noexcept;

 private:
  tag(std::string name, int fd) noexcept : name_(std::move(name)), fd_(fd) {}
  std::string name_;
  int fd_ = -1;
};

}  // namespace tool::firewall
