// SPDX-License-Identifier: MIT
// A handle of libipq: reads messages in the form of ip_queue from its queue and sends modes and verdicts to it.
#pragma once

#include <libipq/libipq.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "compat/cut_packets.hpp"
#include "compat/error.hpp"
#include "compat/queue.hpp"
#include "compat/settings.hpp"
#include "ipq/packet.hpp"
#include "netlink/interfaces.hpp"
#include "netlink/socket.hpp"
#include "wire/message.hpp"

namespace ipq::compat {

/// The public struct is its beginning. Any number of threads may read and give verdicts at once, without a lock. The
/// functions return what the C functions return, and have set errors and errno as those do.
class handle : public ipq_handle {
 public:
  handle(const netlink::socket_source& source, bool ipv6, const settings& initial) noexcept;

  static handle& of(const ipq_handle* h) noexcept { return static_cast<handle&>(*const_cast<ipq_handle*>(h)); }

  [[nodiscard]] bool ipv6() const noexcept { return ipv6_; }
  [[nodiscard]] const settings& options() const noexcept { return options_; }
  [[nodiscard]] const std::shared_ptr<queue>& through() const noexcept { return queue_; }
  [[nodiscard]] const last_error& last() const noexcept { return last_; }
  void count_wrong_family() noexcept { count(counters_.wrong_family); }

  /// Becomes a member of `joined`, leaving the queue it had. The number of an fd that there is stays.
  [[nodiscard]] result<void> join(std::shared_ptr<queue> joined);
  void leave();

  /// The descriptor leads to a relay from now on. Readers that were blocked before are counted by direct_reads.
  [[nodiscard]] result<void> read_from_relay(netlink::socket&& reader);
  [[nodiscard]] bool direct_reads() const noexcept { return direct_reads_ != 0; }

  ssize_t read(std::span<unsigned char> into, int timeout);
  int set_mode(std::uint8_t mode, std::size_t range);
  int set_verdict(ipq_id_t id, unsigned int value, std::optional<std::uint32_t> mark, std::size_t data_len,
                  const unsigned char* data);

  int set_max_length(unsigned int packets);
  int set_fail_open(int on);
  int set_debug(int on);
  /// Whether a setting may still change, which it may before the first mode; sets the error if not.
  bool may_change_settings(const char* operation) noexcept;
  int refuse_setting(const char* operation, int error, std::string_view why) noexcept;

  ipq_status status() const;
  ipq_stats stats() const;

 private:
  using counter = std::atomic<std::uint64_t>;
  struct counters {
    counter received, accepted, dropped, other_verdicts, refused, wrong_family;
  };
  static void count(counter& which) noexcept { which.fetch_add(1, std::memory_order_relaxed); }

  class waiting_read;

  /// nullopt: nothing for the program in it.
  std::optional<ssize_t> translate(std::span<std::byte> datagram, std::span<unsigned char> into);
  std::optional<ssize_t> translate_packet(const packet& queued, std::span<std::byte> datagram,
                                          std::span<unsigned char> into);
  std::optional<ssize_t> translate_refusal(const wire::error_reply& reply, std::span<std::byte> datagram,
                                           std::span<unsigned char> into);
  ssize_t deliver(std::size_t length, std::span<unsigned char> into) noexcept;
  void describe_refusal(const request_note& note, int code, const wire::error_reply& reply);
  counter& counter_of(std::uint32_t value, std::size_t data_len) noexcept;
  int fail(int number, const char* operation) noexcept;
  bool debugging() const noexcept { return debug_.load(std::memory_order_relaxed); }
  [[gnu::format(printf, 2, 3)]] void debug(const char* format, ...) const noexcept;

  const netlink::socket_source& source_;
  const bool ipv6_;
  settings options_;
  std::atomic<bool> debug_;
  std::shared_ptr<queue> queue_;
  netlink::socket readable_;
  std::atomic<bool> relayed_ = false;
  std::atomic<int> direct_reads_ = 0;  ///< reads that wait on the netlink socket; too many after a longjmp out of one
  std::atomic<bool> mode_set_ = false;
  std::atomic<copy_parameters> copies_{};
  counters counters_{};
  cut_packets cut_;
  last_error last_;
  netlink::interfaces interfaces_;
};

}  // namespace ipq::compat
