// SPDX-License-Identifier: MIT
// The ipq command beside the C++ library's loop, each in a process of its own: what judging by rules adds to a packet.
#include <unistd.h>
#include <ipq/queue.hpp>

#include <algorithm>

#include "drain.hpp"
#include "failure.hpp"
#include "machine.hpp"
#include "process.hpp"

namespace bench {
namespace {

constexpr unsigned size = 64;
constexpr unsigned max_length = 1024;  // the kernel's own length of a queue

std::vector<std::string> port_rules(unsigned count) {
  std::vector<std::string> rules;
  for (unsigned port = 1; port <= count; ++port) rules.push_back("drop : udp dst port " + std::to_string(port));
  return rules;
}

// The loop of the guide, for ever.
void accept_all(int ready) {
  auto queue = ipq::queue::open({.max_length = max_length});
  if (!queue) throw failure(queue.error().message());
  if (write(ready, "\n", 1) != 1) return;
  for (;;) {
    const auto batch = queue->receive();
    if (!batch && batch.error().is(EINTR)) continue;  // it was stopped, and goes on
    if (!batch) throw failure(batch.error().message());
    for (const ipq::packet& packet : *batch) {
      if (auto given = queue->set_verdict(packet, ipq::verdict::accept()); !given)
        throw failure(given.error().message());
    }
  }
}

// Queues full of packets wait for a process that is stopped, and then goes on.
class command final : public scenario {
 public:
  command(description what, const ground& on) : scenario(std::move(what)), on_(on) {}

  void prepare(const std::vector<std::size_t>&) override {
    at_once_ = packets_at_once({on_.sink, on_.sender}, ipq_queue, max_length, size);
  }

  sample run(std::size_t index) override {
    const filler filler(on_.sink, on_.sender);
    // The other CPU waits and fills, so that this one is the process's alone.
    if (on_.other_cpu >= 0) run_on({on_.other_cpu});
    auto server = start(index);
    fill(filler, *server, 1);
    const auto arrived = filler.arrived();
    const double begin = server->cpu_seconds();
    for (std::uint64_t left = on_.packets; left > 0;) {
      const auto packets = std::min(left, at_once_);
      fill(filler, *server, packets);
      left -= packets;
    }
    // It has answered the last packet, and is about to wait.
    usleep(2000);
    const double spent = server->cpu_seconds() - begin;
    if (index != library) server->end();
    run_on({on_.cpu});
    return {.packets = on_.packets,
            .arrived = filler.arrived() - arrived,
            .figures = {spent / static_cast<double>(on_.packets) * 1e9}};
  }

  // Indices of the columns.
  static constexpr std::size_t library = 0, accept = 1, one_rule = 2, many_rules = 3;

 private:
  std::unique_ptr<process> start(std::size_t index) const {
    const auto& name = what().contestants[index];
    if (index == library) {
      return std::make_unique<process>(name, on_.cpu, accept_all);
    }
    std::vector<std::string> words{IPQ_COMMAND, "run", "--max-length", std::to_string(max_length)};
    const auto rules = index == accept ? std::vector<std::string>{"accept"} : port_rules(index == one_rule ? 1 : 1000);
    words.insert(words.end(), rules.begin(), rules.end());
    return std::make_unique<process>(name, on_.cpu, words);
  }

  void fill(const filler& filler, const process& server, std::uint64_t packets) const {
    const auto before = filler.arrived();
    server.stop();
    on_.sender.send(packets, size);
    server.go_on();
    filler.check_arrivals(before, packets);
  }

  ground on_;
  std::uint64_t at_once_ = max_length;  // as far as receive buffers permit
};

}  // namespace

void add_command(scenarios& to, const ground& on) {
  description what{.table = "ipq", .name = "ipq run, accept, 64 bytes"};
  what.contestants = {"libipq++", "accept", "1 port rule", "1000 port rules"};
  what.figures = {{"CPU per packet, ns", "cpu_ns_per_packet"}};
  what.goals = {{0, command::accept, command::library, goal::kind::at_most, 1.15},
                {0, command::many_rules, command::one_rule, goal::kind::at_most, 3}};
  to.push_back(std::make_unique<command>(std::move(what), on));
}

}  // namespace bench
