// SPDX-License-Identifier: MIT
// What became of packets: verdicts are counted here, and what passes is written. Held packets speak to it from any
// thread, also when their reader is gone.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "capture/passed.hpp"
#include "ipq/source.hpp"

namespace ipq::capture {

/// Verdicts by kind.
struct tally {
  std::uint64_t accepted = 0, dropped = 0, repeated = 0, stopped = 0, requeued = 0, unanswered = 0;

  void count(const verdict& given) noexcept;
  void operator+=(const tally& other) noexcept;
};

class ledger final : public held_packet::keeper {
 public:
  explicit ledger(const verdict& unanswered) noexcept : unanswered_(unanswered) {}

  // For the reader. First of all, if anything is to be written:
  void write_to(passed writer) { passed_ = std::move(writer); }
  /// The section of the packets to come, as far as it is read.
  void begin(const std::shared_ptr<const section>& from);
  [[nodiscard]] bool writes() const noexcept { return passed_.has_value(); }
  result<void> write(const std::shared_ptr<const section>& from, const original& frame, const verdict& given);
  /// Adds the next record of the head, and writes it.
  void grow_head(const std::shared_ptr<section>& of, bytes record);
  void add(const std::shared_ptr<const section>& to, bytes record);
  /// False: what held packets bring along from their file would take too much memory, and this one is not held.
  [[nodiscard]] bool hold(std::uint32_t id, const std::shared_ptr<const section>& from, const original& frame);
  /// To be written behind a held packet, if that passes. Errors: ENODEV it is decided.
  result<void> add_copy(std::uint32_t id, bytes copy);
  result<void> flush();
  /// Whether much is waiting to be written.
  [[nodiscard]] bool is_full() const;
  /// Flushes if much is waiting, so that what can't be written does not grow without bounds.
  result<void> make_room();
  [[nodiscard]] tally of_held() const;
  void close() noexcept;

  result<void> set_held_verdict(std::uint32_t id, const verdict& given) override;
  void give_up_held(std::uint32_t id) noexcept override;

 private:
  struct held {
    std::shared_ptr<const section> from;
    original frame;
    std::vector<std::byte> record;
    std::vector<std::vector<std::byte>> copies = {};
  };
  /// Of a section with held packets: of their own they have a few bytes, and all together its head.
  struct kept_head {
    std::size_t packets = 0, bytes = 0;
  };
  void look_again_at(const section& grown);
  void forget(std::unordered_map<std::uint32_t, held>::iterator which);
  result<void> write_held(const held& kept, const verdict& given);
  result<void> write_locked(const std::shared_ptr<const section>& from, const original& frame, const verdict& given);

  mutable std::mutex mutex_;
  std::optional<passed> passed_;
  const verdict unanswered_;
  std::unordered_map<std::uint32_t, held> held_;
  std::unordered_map<const section*, kept_head> heads_;
  std::shared_ptr<const section> last_;  ///< that a packet was held of
  std::size_t brought_ = 0;              ///< bytes beside packets: heads, and options of frames
  tally tally_;                          ///< of held packets; the reader counts its own
  bool closed_ = false;
};

}  // namespace ipq::capture
