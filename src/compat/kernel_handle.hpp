// SPDX-License-Identifier: MIT
// A handle whose packets come from the kernel: it reads messages in the form of ip_queue from its queue and sends modes
// and verdicts to it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "compat/cut_packets.hpp"
#include "compat/handle.hpp"
#include "compat/kernel_queue.hpp"
#include "compat/read_ahead.hpp"
#include "ipq/packet.hpp"
#include "netlink/interfaces.hpp"
#include "netlink/socket.hpp"
#include "wire/message.hpp"

namespace ipq::compat {

/// It waits for no lock to read or to give a verdict.
class kernel_handle final : public handle {
 public:
  /// Throws std::bad_alloc.
  kernel_handle(const netlink::socket_source& source, bool ipv6, const settings& initial)
      : handle(ipv6, initial),
        source_(source),
        ahead_(initial.batch ? std::make_unique<read_ahead>() : nullptr),
        interfaces_(source) {}

  [[nodiscard]] result<void> open(std::uint16_t number, handle* other) override;
  void leave() override;
  [[nodiscard]] std::shared_ptr<kernel_queue> through_kernel() const noexcept override { return queue_; }
  [[nodiscard]] shared_between_handles* shared() const noexcept override { return queue_.get(); }

  /// The descriptor leads to a relay from now on. Readers that were blocked before are counted by direct_reads.
  [[nodiscard]] result<void> read_from_relay(netlink::socket&& reader);
  void stop_reading_ahead();
  [[nodiscard]] bool direct_reads() const noexcept { return direct_reads_ != 0; }
  /// The packet that was read last without a relay, all earlier ones of this family having been read too.
  [[nodiscard]] std::optional<std::uint32_t> last_read_directly() const noexcept {
    const std::uint64_t last = last_read_directly_;
    return last != 0 ? std::optional(static_cast<std::uint32_t>(last)) : std::nullopt;
  }

  void after_fork_in_child() noexcept override;

  // Hot is what every packet goes through, so that it lies together.
  [[gnu::hot]] ssize_t read(std::span<unsigned char> into, int timeout) override;
  int set_mode(std::uint8_t mode, std::size_t range) override;
  [[gnu::hot]] int set_verdict(ipq_id_t id, unsigned int value, std::optional<std::uint32_t> mark, std::size_t data_len,
                               const unsigned char* data) override;

  [[nodiscard]] ipq_status status() const override;
  [[nodiscard]] ipq_stats stats() const override;

 private:
  class waiting_read;

  void max_length_changed() noexcept override { queue_->max_length_changed(*this); }

  [[gnu::cold]] void give_up_reading_ahead();
  /// nullopt: nothing for the program in it.
  [[gnu::hot]] std::optional<ssize_t> translate(std::span<std::byte> datagram, std::span<unsigned char> into);
  [[gnu::cold]] void pass_to_other_family(const packet& queued, std::span<std::byte> datagram);
  [[gnu::cold]] void note_cut(const packet& queued);
  [[gnu::cold]] void describe_packet(const packet& queued);
  [[gnu::cold]] std::optional<ssize_t> translate_refusal(const wire::message& message, std::span<std::byte> datagram,
                                                         std::span<unsigned char> into);
  ssize_t deliver(std::size_t length, std::span<unsigned char> into) noexcept;
  [[gnu::noinline]] int set_any_verdict(ipq_id_t id, unsigned int value, std::optional<std::uint32_t> mark,
                                        std::size_t data_len, const unsigned char* data);
  [[gnu::cold]] void describe_refusal(const request_note& note, int code, const wire::error_reply& reply);

  const netlink::socket_source& source_;
  std::shared_ptr<kernel_queue> queue_;
  netlink::socket readable_;
  std::atomic<bool> relayed_ = false;
  std::atomic<std::uint64_t> last_read_directly_ = 0;  ///< its id and 2^32; 0: none
  std::atomic<int> direct_reads_ = 0;  ///< reads that wait on the netlink socket; too many after a longjmp out of one
  const std::unique_ptr<read_ahead> ahead_;  ///< null without LIBIPQ_BATCH
  netlink::interfaces interfaces_;
  cut_packets cut_;
};

}  // namespace ipq::compat
