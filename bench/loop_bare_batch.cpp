// SPDX-License-Identifier: MIT
// The floor for many packets at a time: recvmmsg, and one batch verdict or one datagram of 64 verdicts for them.
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <ctime>
#include <memory>

#include "bare_queue.hpp"
#include "failure.hpp"

namespace bench {
namespace {

constexpr unsigned at_once = 64;
// Room for the largest packet, and an odd number of cache lines.
constexpr std::size_t slot = (1025 * 64) + 1024;

class bare_batch_loop final : public loop {
 public:
  bare_batch_loop(const loop_options& options, long wait_nanoseconds, bool merges)
      : queue_(options),
        wait_nanoseconds_(wait_nanoseconds),
        merges_(merges),
        memory_(std::make_unique_for_overwrite<unsigned char[]>(at_once * slot)) {
    for (unsigned i = 0; i < at_once; ++i) {
      parts_[i] = {memory_.get() + i * slot, slot};
      messages_[i].msg_hdr.msg_iov = &parts_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
    }
    for (auto& answer : answers_) answer.family.res_id = htons(options.queue);
    batch_.header.nlmsg_type = (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_VERDICT_BATCH;
    batch_.family.res_id = htons(options.queue);
  }

  int fd() const override { return queue_.fd(); }

  drained drain(std::uint64_t packets, verdicts given, std::span<unsigned char>) override {
    drained result;
    for (bool last = false; result.packets < packets && !last;) {
      if (wait_nanoseconds_ != 0) {
        const timespec time{0, wait_nanoseconds_};
        nanosleep(&time, nullptr);
      }
      const int received = recvmmsg(fd(), messages_.data(), at_once, MSG_WAITFORONE, nullptr);
      if (received < 0) throw failure(with_errno("recvmmsg"));
      const auto count = static_cast<unsigned>(received);
      answer(count, given, result.packets);
      for (unsigned i = 0; i < count && !last; ++i) {
        last = is_last(memory_.get() + i * slot, messages_[i].msg_len);
        if (last) break;
        result.bytes += messages_[i].msg_len;
        ++result.packets;
      }
    }
    return result;
  }

 private:
  void answer(unsigned count, verdicts given, std::uint64_t index) {
    if (merges_ && given != verdicts::alternating) {
      std::memcpy(&batch_.verdict.id, memory_.get() + (count - 1) * slot + id_offset, sizeof batch_.verdict.id);
      batch_.verdict.verdict = htonl(verdict_of(given, 0));
      if (send(fd(), &batch_, sizeof batch_, 0) < 0) throw failure(with_errno("send"));
      return;
    }
    for (unsigned i = 0; i < count; ++i) {
      auto& verdict = answers_[i].verdict;
      std::memcpy(&verdict.id, memory_.get() + i * slot + id_offset, sizeof verdict.id);
      verdict.verdict = htonl(verdict_of(given, index + i));
    }
    if (send(fd(), answers_.data(), count * sizeof(verdict_message), 0) < 0) throw failure(with_errno("send"));
  }

  bare_queue queue_;
  long wait_nanoseconds_;
  bool merges_;
  std::unique_ptr<unsigned char[]> memory_;
  std::array<iovec, at_once> parts_{};
  std::array<mmsghdr, at_once> messages_{};
  std::array<verdict_message, at_once> answers_{};
  verdict_message batch_;
};

template <long wait_nanoseconds, bool merges>
std::unique_ptr<loop> open(const loop_options& options) {
  return std::make_unique<bare_batch_loop>(options, wait_nanoseconds, merges);
}

}  // namespace

const contestant bare_batch{"bare batch", open<0, true>, false};
const contestant bare_batch_unmerged{"bare, not merged", open<0, false>, false};
const contestant bare_batch_waiting{"bare, waiting 30 us", open<30'000, true>, false};

}  // namespace bench
