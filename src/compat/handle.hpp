// SPDX-License-Identifier: MIT
// A handle of libipq, wherever its packets come from: its settings, its errors and its counters.
#pragma once

#include <libipq/libipq.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "compat/counter.hpp"
#include "compat/error.hpp"
#include "compat/settings.hpp"
#include "ipq/error.hpp"

namespace ipq::compat {

class kernel_queue;
class capture_queue;

/// What a mode asks for of each packet.
struct copy_parameters {
  std::uint8_t mode = 0;    ///< IPQ_COPY_*
  std::uint32_t range = 0;  ///< bytes, 0 but for IPQ_COPY_PACKET
};

/// What handles may share, which has a mutex; around fork(2) the thread that forks calls these.
class shared_between_handles {
 public:
  virtual void before_fork() = 0;
  virtual void after_fork_in_parent() = 0;
  virtual void after_fork_in_child() = 0;

 protected:
  ~shared_between_handles() = default;
};

/// The public struct is its beginning. Any number of threads may read and give verdicts at once. The functions return
/// what the C functions return, and have set errors and errno as those do.
class handle : public ipq_handle {
 public:
  /// Throws std::bad_alloc.
  handle(bool ipv6, const settings& initial);
  virtual ~handle() = default;
  handle(const handle&) = delete;
  handle& operator=(const handle&) = delete;

  static handle& of(const ipq_handle* h) noexcept { return static_cast<handle&>(*const_cast<ipq_handle*>(h)); }

  [[nodiscard]] bool ipv6() const noexcept { return ipv6_; }
  [[nodiscard]] const settings& options() const noexcept { return options_; }
  [[nodiscard]] const last_error& last() const noexcept { return last_; }
  void count_wrong_family() noexcept { counters_.wrong_family.add(); }

  /// Opens the queue of this number, leaving the one it had; it may be the one that `other` has, the handle of the
  /// other family. The number of an fd that there is stays. The caller sees to it that open and leave come one at a
  /// time.
  [[nodiscard]] virtual result<void> open(std::uint16_t number, handle* other) = 0;
  virtual void leave() = 0;

  /// What it may share with the handle of the other family; null where it is of another kind.
  [[nodiscard]] virtual std::shared_ptr<kernel_queue> through_kernel() const noexcept { return nullptr; }
  [[nodiscard]] virtual std::shared_ptr<capture_queue> through_capture() const noexcept { return nullptr; }
  [[nodiscard]] virtual shared_between_handles* shared() const noexcept = 0;

  /// In a child of fork(2), where nothing else runs yet.
  virtual void after_fork_in_child() noexcept { last_.after_fork_in_child(); }

  virtual ssize_t read(std::span<unsigned char> into, int timeout) = 0;
  virtual int set_mode(std::uint8_t mode, std::size_t range) = 0;
  virtual int set_verdict(ipq_id_t id, unsigned int value, std::optional<std::uint32_t> mark, std::size_t data_len,
                          const unsigned char* data) = 0;

  int set_max_length(unsigned int packets);
  int set_fail_open(int on);
  int set_debug(int on);
  /// Whether a setting may still change, which it may before the first mode; sets the error if not.
  bool may_change_settings(const char* operation) noexcept;
  int refuse_setting(const char* operation, int error, std::string_view why) noexcept;

  [[nodiscard]] virtual ipq_status status() const = 0;
  [[nodiscard]] virtual ipq_stats stats() const = 0;

 protected:
  struct counters {
    counter received, accepted, dropped, other_verdicts, refused, wrong_family;
  };
  counter& counter_of(std::uint32_t value, std::size_t data_len) noexcept;
  /// The part that does not depend on where packets come from.
  [[nodiscard]] ipq_stats counted() const noexcept;

  virtual void max_length_changed() noexcept {}
  void set_number(std::uint16_t number) noexcept { options_.queue = number; }

  /// `cause`: what else is known of it.
  [[gnu::cold]] int fail(int number, const char* operation, const char* cause = nullptr) noexcept;
  void describe_refused_verdict(std::uint32_t id, std::uint32_t value, int code) noexcept;
  /// Of what ipq_read() just returned, or will.
  void set_refusal(std::string_view said) noexcept;
  [[nodiscard]] bool debugging() const noexcept { return debug_.load(std::memory_order_relaxed); }
  [[gnu::cold, gnu::format(printf, 2, 3)]] void debug(const char* format, ...) const noexcept;

  // What no packet needs comes first, and lies far from what each does.
 private:
  settings options_;
  last_error last_;

 protected:
  std::atomic<bool> mode_set_ = false;
  std::atomic<copy_parameters> copies_{};
  counters counters_{};

 private:
  const bool ipv6_;
  std::atomic<bool> debug_;
};

/// A line for an error or for LIBIPQ_DEBUG, cut where it is too long.
using line = std::array<char, 200>;
[[gnu::format(printf, 1, 2)]] line write(const char* format, ...) noexcept;
[[nodiscard]] const char* describe(int system_error) noexcept;
[[nodiscard]] line describe_refused_mode(unsigned mode) noexcept;

/// The mode as ip_queue took it: 0 means all of the packet, and no packet is longer than this.
[[nodiscard]] copy_parameters parameters_of(std::uint8_t mode, std::size_t range) noexcept;

// NF_*: linux/netfilter.h of today no longer goes with the C library's own headers in one unit.
inline constexpr std::uint32_t verdict_drop = 0;
inline constexpr std::uint32_t verdict_accept = 1;
inline constexpr std::uint32_t verdict_stolen = 2;
inline constexpr std::uint32_t verdict_queue = 3;
inline constexpr std::uint32_t verdict_repeat = 4;
inline constexpr std::uint8_t hook_forward = 2;  // NF_INET_FORWARD

inline constexpr std::uint8_t family_ipv4 = 2;  // NFPROTO_*
inline constexpr std::uint8_t family_ipv6 = 10;

/// What ip_queue took for a packet: no less than a header.
[[nodiscard]] constexpr std::size_t least_replacement(bool ipv6) noexcept {
  return ipv6 ? 40 : 20;
}

}  // namespace ipq::compat
