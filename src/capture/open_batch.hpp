// SPDX-License-Identifier: MIT
// The packets that were handed out last, until each has its verdict: what was said about them, and what becomes of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "capture/ledger.hpp"
#include "ipq/capture.hpp"

namespace ipq::capture {

class open_batch {
 public:
  static constexpr std::size_t most = 64;

  explicit open_batch(const verdict& unanswered);
  open_batch(const open_batch&) = delete;
  open_batch& operator=(const open_batch&) = delete;
  ~open_batch();

  /// Whether what passes is written, and to where; to be set before the first packet.
  [[nodiscard]] bool writes() const noexcept { return ledger_->writes(); }
  [[nodiscard]] ledger& written() noexcept { return *ledger_; }
  result<void> flush() { return ledger_->flush(); }

  /// Where the packets to come are from. Only without packets.
  void begin_section(std::shared_ptr<const section> next) noexcept { section_ = std::move(next); }

  /// A packet is added in parts, which take_back() undoes before complete().
  [[nodiscard]] packet& add_packet() { return packets_.emplace_back(); }
  [[nodiscard]] capture_frame& add_frame() { return frames_.emplace_back(); }
  void take_back() noexcept {
    packets_.resize(answers_.size());
    frames_.resize(answers_.size());
  }
  /// `as_it_was` is only looked at if writes().
  void complete(const original& as_it_was) {
    if (writes()) originals_.push_back(as_it_was);
    answers_.push_back(answer::undecided);
    ++undecided_;
  }
  [[nodiscard]] std::span<const packet> packets() const noexcept { return packets_; }

  /// What has no verdict gets `unanswered`, and the batch is empty; it is not after an error, that of writing.
  result<void> finish();

  // As capture_reader has them.
  result<void> set_verdict(const packet& which, const verdict& given);
  [[nodiscard]] result<held_packet> hold(const packet& which);
  result<void> duplicate(const packet& which, bytes copy);
  [[nodiscard]] const capture_frame* frame_of(const packet& which) const noexcept;

  /// Of all packets until now.
  [[nodiscard]] tally verdicts() const;

 private:
  enum class answer : std::uint8_t { undecided, decided, held };

  [[nodiscard]] std::optional<std::size_t> find(const packet& which) const noexcept;
  result<std::size_t> find_undecided(const packet& which, const char* operation) const noexcept;

  const verdict unanswered_;
  std::shared_ptr<ledger> ledger_;
  std::shared_ptr<const section> section_;
  std::vector<packet> packets_;
  std::vector<capture_frame> frames_;  ///< of packets_, each at the same index, as the next two
  std::vector<answer> answers_;
  std::vector<original> originals_;  ///< only where something is written
  std::size_t undecided_ = 0;
  tally tally_;
};

}  // namespace ipq::capture
