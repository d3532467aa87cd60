// SPDX-License-Identifier: MIT
// One CPU sends, as fast as it can or at a steady pace, while the loop reads on another: here readers sleep and wake
// up.
#include <atomic>
#include <limits>

#include "drain.hpp"
#include "machine.hpp"

namespace bench {
namespace {

constexpr unsigned size = 64;
constexpr unsigned max_length = 1024;  // the kernel's own default

class flood final : public scenario {
 public:
  flood(description what, const ground& on, std::vector<const contestant*> contestants, std::uint64_t packets,
        double seconds_apart)
      : scenario(std::move(what)),
        on_(on),
        contestants_(std::move(contestants)),
        packets_(packets),
        seconds_apart_(seconds_apart) {}

  sample run(std::size_t index) override {
    const filler filler(on_.sink, on_.sender);
    const auto loop = contestants_[index]->open({.max_length = max_length});
    filler.fill(loop->fd(), 1, size);
    loop->drain(1, verdicts::drop, message_buffer());

    const auto arrived = filler.arrived();
    std::atomic<bool> begin = false;
    companion sending({on_.other_cpu}, [&](const std::stop_token& end) {
      on_.sender.prepare(2 * max_length, size);
      while (!begin) continue;
      on_.sender.flood(packets_, size, seconds_apart_);
      on_.sender.end_with_empty(end);
    });
    const watchdog watchdog;
    begin = true;
    const stopwatch watch;
    const drained drained = loop->drain(std::numeric_limits<std::uint64_t>::max(), verdicts::accept, message_buffer());
    const expense spent = watch.stop();
    sending.join();

    sample result{.packets = drained.packets, .lost = packets_ - drained.packets};
    result.arrived = filler.arrived() - arrived;
    result.figures = {spent.cpu_seconds / static_cast<double>(drained.packets) * 1e9,
                      static_cast<double>(drained.packets) / spent.wall_seconds,
                      100 * static_cast<double>(result.lost) / static_cast<double>(packets_)};
    return result;
  }

 private:
  ground on_;
  std::vector<const contestant*> contestants_;
  std::uint64_t packets_;
  double seconds_apart_;
};

}  // namespace

void add_flood(scenarios& to, const ground& on) {
  if (on.other_cpu < 0) return;
  const auto add = [&](std::string name, const std::vector<const contestant*>& loops, std::uint64_t packets,
                       double seconds_apart, std::vector<goal> goals) {
    description what{.table = "libipq++", .name = std::move(name)};
    for (const auto* loop : loops) what.contestants.emplace_back(loop->name);
    what.figures = {{"CPU per packet, ns", "cpu_ns_per_packet"},
                    {"packets per second", "packets_per_second"},
                    {"packets lost, %", "lost_percent", 2}};
    what.goals = std::move(goals);
    to.push_back(std::make_unique<flood>(std::move(what), on, loops, packets, seconds_apart));
  };
  const std::vector<const contestant*> all{&ipq_queue, &ipq_queue_throughput, &libnetfilter_queue, &bare_batch,
                                           &bare_batch_waiting};
  add("flood from another CPU, accept, 64 bytes", all, on.packets * 5, 0,
      {{0, 0, 2, goal::kind::at_most, 0.75},
       {0, 1, 2, goal::kind::at_most, 0.6},
       {2, 0, 2, goal::kind::no_more_than, 0},
       {2, 1, 2, goal::kind::no_more_than, 0}});
  add("flood from another CPU, recorded", {&ipq_queue_recording, &ipq_queue}, on.packets * 5, 0,
      {{0, 0, 1, goal::kind::at_most, 1.15}});
  add("50 000 packets a second, accept, 64 bytes", all, on.packets / 2, 20e-6, {});
}

}  // namespace bench
