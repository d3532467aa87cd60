// SPDX-License-Identifier: MIT
// Two queues full of packets and a thread for each, beside one queue and one thread.
#include <barrier>

#include "drain.hpp"
#include "failure.hpp"
#include "machine.hpp"
#include "private_network.hpp"

namespace bench {
namespace {

constexpr unsigned size = 64;

class workers final : public scenario {
 public:
  workers(description what, const ground& on)
      : scenario(std::move(what)), on_(on), second_sender_(second_sink_.port()), first_(on.sink, on.sender) {
    run_program({"iptables-legacy", "-A", "OUTPUT", "-p", "udp", "--dport", std::to_string(second_sink_.port()), "-j",
                 "NFQUEUE", "--queue-num", "1"},
                "the kernel needs the target NFQUEUE of iptables-legacy");
  }

  void prepare(const std::vector<std::size_t>&) override {
    at_once_ = packets_at_once(first_, ipq_queue, on_.packets, size);
  }

  sample run(std::size_t index) override {
    const std::uint64_t each = index == 0 ? at_once_ : at_once_ / 2;
    const auto first = ipq_queue.open({.max_length = static_cast<unsigned>(each)});
    const auto arrived = first_.arrived() + second_.arrived();
    first_.fill(first->fd(), each, size);

    const watchdog watchdog;
    sample result;
    expense spent;
    if (index == 0) {
      const stopwatch watch;
      result.packets = first->drain(each, verdicts::accept, message_buffer()).packets;
      spent = watch.stop();
    } else {
      const auto second = ipq_queue.open({.max_length = static_cast<unsigned>(each), .queue = 1});
      second_.fill(second->fd(), each, size);
      std::barrier together(2);
      companion worker({on_.other_cpu}, [&](const auto&) {
        together.arrive_and_wait();
        second->drain(each, verdicts::accept, {});
        together.arrive_and_wait();
      });
      together.arrive_and_wait();
      const stopwatch watch;
      result.packets = each + first->drain(each, verdicts::accept, message_buffer()).packets;
      together.arrive_and_wait();
      spent = watch.stop();
      worker.join();
    }
    result.arrived = first_.arrived() + second_.arrived() - arrived;
    result.figures = {static_cast<double>(result.packets) / spent.wall_seconds,
                      spent.process_seconds / static_cast<double>(result.packets) * 1e9};
    return result;
  }

 private:
  ground on_;
  sink second_sink_;
  sender second_sender_;
  filler first_;
  filler second_{second_sink_, second_sender_, 1};
  std::uint64_t at_once_ = 0;
};

}  // namespace

void add_workers(scenarios& to, const ground& on) {
  if (on.other_cpu < 0) return;
  description what{
      .table = "libipq++",
      .name = "drain by several threads, accept, 64 bytes",
      .contestants = {"one queue", "two queues"},
      .figures = {{"packets per second", "packets_per_second"}, {"CPU per packet, ns", "cpu_ns_per_packet"}},
      .goals = {{0, 1, 0, goal::kind::at_least, 1.5}}};
  to.push_back(std::make_unique<workers>(std::move(what), on));
}

}  // namespace bench
