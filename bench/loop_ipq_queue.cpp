// SPDX-License-Identifier: MIT
// The loop of the C++ library's guide: a batch, and a verdict for each packet of it.
#include <ipq/queue.hpp>
#include <ipq/recorder.hpp>

#include <optional>

#include "failure.hpp"
#include "loop.hpp"
#include "measurement.hpp"
#include "mixed_capture.hpp"

namespace bench {
namespace {

template <class T>
T must(ipq::result<T>&& outcome) {
  if (!outcome) throw failure(outcome.error().message());
  if constexpr (!std::is_void_v<T>) return *std::move(outcome);
}

ipq::queue_options with(const loop_options& options) {
  ipq::queue_options result{.number = options.queue, .max_length = options.max_length, .gso = options.gso};
  if (options.copy_range < 0xffff) result.copy_range = options.copy_range;
  result.receive_buffer = 2 * static_cast<std::size_t>(receive_buffer_for(options.max_length));
  return result;
}

class deciding {
 public:
  void operator()(const ipq::packet&, const ipq::verdict&) const noexcept {}
};

// Every packet with its verdict, into a file.
class recording {
 public:
  recording() : file_(folder_with_room(64 << 20)), to_(must(ipq::recorder::open(file_.path()))) {}
  recording(const recording&) = delete;
  recording& operator=(const recording&) = delete;
  ~recording() { static_cast<void>(to_.close()); }

  void operator()(const ipq::packet& packet, const ipq::verdict& verdict) {
    if (!to_.record(packet, verdict)) throw failure("libipq++: a packet is lost to the recording");
  }

 private:
  nameless_file file_;
  ipq::recorder to_;
};

template <class Observer>
class ipq_queue_loop final : public loop {
 public:
  explicit ipq_queue_loop(const ipq::queue_options& options) : queue_(must(ipq::queue::open(options))) {}

  int fd() const override { return queue_.fd(); }

  drained drain(std::uint64_t packets, verdicts given, std::span<unsigned char>) override {
    drained result;
    for (bool last = false; result.packets < packets && !last;) {
      const auto batch = must(queue_.receive());
      if (!batch.events().empty()) throw failure("libipq++: an event instead of a packet");
      for (const ipq::packet& packet : batch) {
        const bool accept = given == verdicts::accept || (given == verdicts::alternating && result.packets % 2 == 0);
        const auto verdict = accept ? ipq::verdict::accept() : ipq::verdict::drop();
        observe_(packet, verdict);
        must(queue_.set_verdict(packet, verdict));
        last = last || packet.payload.size() == header_bytes;
        if (last) continue;
        result.bytes += packet.payload.size();
        ++result.packets;
      }
    }
    return result;
  }

 private:
  ipq::queue queue_;
  Observer observe_;
};

template <ipq::queue_options::waiting when_idle, class Observer = deciding>
std::unique_ptr<loop> open(const loop_options& options) {
  auto wanted = with(options);
  wanted.when_idle = when_idle;
  return std::make_unique<ipq_queue_loop<Observer>>(wanted);
}

}  // namespace

using waiting = ipq::queue_options::waiting;
const contestant ipq_queue{"libipq++", open<waiting::adaptive>};
const contestant ipq_queue_latency{"libipq++, latency", open<waiting::latency>};
const contestant ipq_queue_recording{"libipq++, recording", open<waiting::adaptive, recording>};
const contestant ipq_queue_throughput{"libipq++, throughput", open<waiting::throughput>};

}  // namespace bench
