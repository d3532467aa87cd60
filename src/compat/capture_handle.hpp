// SPDX-License-Identifier: MIT
// A handle whose packets come from a capture file.
#pragma once

#include <memory>

#include "compat/capture_queue.hpp"
#include "compat/handle.hpp"
#include "netlink/socket.hpp"

namespace ipq::compat {

class capture_handle final : public handle {
 public:
  /// Throws std::bad_alloc.
  capture_handle(bool ipv6, const settings& initial) : handle(ipv6, initial) {}

  /// The number is a name only: all handles of a process read the same capture.
  [[nodiscard]] result<void> open(std::uint16_t number, handle* other) override;
  void leave() override;
  [[nodiscard]] std::shared_ptr<capture_queue> through_capture() const noexcept override { return queue_; }
  [[nodiscard]] shared_between_handles* shared() const noexcept override { return queue_.get(); }

  ssize_t read(std::span<unsigned char> into, int timeout) override;
  int set_mode(std::uint8_t mode, std::size_t range) override;
  int set_verdict(ipq_id_t id, unsigned int value, std::optional<std::uint32_t> mark, std::size_t data_len,
                  const unsigned char* data) override;

  [[nodiscard]] ipq_status status() const override;
  [[nodiscard]] ipq_stats stats() const override;

 private:
  class mark_again;

  ssize_t deliver(const netlink::datagram& received, std::span<unsigned char> into);
  int report_end();
  int report_cut_off() noexcept;

  std::shared_ptr<capture_queue> queue_;
  netlink::socket readable_;
};

}  // namespace ipq::compat
