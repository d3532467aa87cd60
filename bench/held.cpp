// SPDX-License-Identifier: MIT
// Many packets are held, and decided in order of arrival or in reverse: what the kernel's search for an id costs.
#include <ipq/queue.hpp>

#include <algorithm>
#include <chrono>
#include <vector>

#include "drain.hpp"
#include "failure.hpp"

namespace bench {
namespace {

constexpr unsigned size = 64;

void must(const ipq::result<void>& outcome) {
  if (!outcome) throw failure(outcome.error().message());
}

class held final : public scenario {
 public:
  held(description what, const ground& on) : scenario(std::move(what)), on_(on) {}

  sample run(std::size_t index) override {
    const filler filler(on_.sink, on_.sender);
    auto queue = ipq::queue::open({.max_length = static_cast<std::uint32_t>(on_.packets)});
    if (!queue) throw failure(queue.error().message());
    std::vector<ipq::held_packet> packets;
    packets.reserve(on_.packets);
    // Few at a time: where the receive buffer is small the packets wait in the queue all the same, just read. Never one
    // read too many: to a reader that finds nothing the library sends held verdicts one by one.
    while (packets.size() < on_.packets) {
      constexpr std::uint64_t part = 64;
      const auto all = std::min(packets.size() + part, on_.packets);
      on_.sender.send(all - packets.size(), size);
      while (packets.size() < all) {
        const auto batch = queue->receive(ipq::queue::clock::now() + std::chrono::seconds(patience_seconds));
        if (!batch) throw failure(batch.error().message());
        for (const auto& packet : *batch) {
          auto taken = queue->hold(packet);
          if (!taken) throw failure(taken.error().message());
          packets.push_back(*std::move(taken));
        }
      }
    }
    if (index == 1) std::reverse(packets.begin(), packets.end());

    const watchdog watchdog;
    const stopwatch watch;
    for (auto& packet : packets) must(std::move(packet).set_verdict(ipq::verdict::drop()));
    must(queue->flush());
    const expense spent = watch.stop();

    filler.check_empty(queue->fd());
    sample result{.packets = packets.size(), .allocations = spent.allocations};
    result.figures = {spent.cpu_seconds / static_cast<double>(on_.packets) * 1e9};
    return result;
  }

 private:
  ground on_;
};

}  // namespace

void add_held(scenarios& to, const ground& on) {
  description what{.table = "libipq++",
                   .name = std::to_string(on.packets) + " packets held, then dropped",
                   .contestants = {"in order", "in reverse"},
                   .figures = {{"CPU per verdict, ns", "cpu_ns_per_verdict"}},
                   .goals = {{0, 1, 0, goal::kind::at_most, 1.5}},
                   .counts_allocations = true};
  to.push_back(std::make_unique<held>(std::move(what), on));
}

}  // namespace bench
