// SPDX-License-Identifier: MIT
// Round trips: a request waits for its verdict, the answer does not, and only then comes the next request.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <limits>

#include "drain.hpp"
#include "failure.hpp"
#include "machine.hpp"
#include "private_network.hpp"

namespace bench {
namespace {

constexpr unsigned size = 64;

// Two UDP sockets that talk to each other; what the one sends is queued.
class talk {
 public:
  talk() : asking_(open_udp()), answering_(open_udp()) {
    const auto to_answering = address_of(answering_), to_asking = address_of(asking_);
    connect(asking_, to_answering);
    connect(answering_, to_asking);
    queue_udp(ntohs(to_answering.sin_port));
  }

  void exchange() {
    char text[size] = {};
    if (send(asking_.get(), text, sizeof text, 0) < 0 || recv(answering_.get(), text, sizeof text, 0) < 0 ||
        send(answering_.get(), text, sizeof text, 0) < 0 || recv(asking_.get(), text, sizeof text, 0) < 0) {
      throw failure(with_errno("an exchange over loopback"));
    }
  }

 private:
  static sockaddr_in address_of(const file_descriptor& socket) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    const timeval patience{patience_seconds / 2, 0};
    if (bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0 ||
        setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0) {
      throw failure(with_errno("cannot set up a UDP socket"));
    }
    return address;
  }
  static void connect(const file_descriptor& from, const sockaddr_in& to) {
    if (::connect(from.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
      throw failure(with_errno("cannot connect a UDP socket over loopback"));
    }
  }

  file_descriptor asking_, answering_;
};

class exchange final : public scenario {
 public:
  exchange(description what, const ground& on, std::vector<const contestant*> contestants)
      : scenario(std::move(what)), on_(on), contestants_(std::move(contestants)) {}

  sample run(std::size_t index) override {
    const auto loop = contestants_[index]->open({});
    const std::uint64_t exchanges = std::max<std::uint64_t>(on_.packets / 4, 100);
    std::vector<double> times(exchanges);
    companion talking({on_.other_cpu}, [&](const std::stop_token& end) {
      for (unsigned warming = 0; warming < 50; ++warming) talk_.exchange();
      for (auto& time : times) {
        const double before = now(CLOCK_MONOTONIC);
        talk_.exchange();
        time = (now(CLOCK_MONOTONIC) - before) * 1e6;
      }
      on_.sender.end_with_empty(end);
    });
    const watchdog watchdog;
    const stopwatch watch;
    const drained drained = loop->drain(std::numeric_limits<std::uint64_t>::max(), verdicts::accept, message_buffer());
    const expense spent = watch.stop();
    talking.join();

    std::sort(times.begin(), times.end());
    sample result{.packets = drained.packets, .arrived = exchanges};
    result.figures = {times[times.size() / 2], times[times.size() * 99 / 100],
                      spent.cpu_seconds / static_cast<double>(drained.packets) * 1e6};
    return result;
  }

 private:
  ground on_;
  std::vector<const contestant*> contestants_;
  talk talk_;
};

}  // namespace

void add_exchange(scenarios& to, const ground& on) {
  if (on.other_cpu < 0) return;
  std::vector<const contestant*> loops{&ipq_queue, &ipq_queue_latency, &ipq_queue_throughput, &libnetfilter_queue,
                                       &bare_batch};
  description what{.table = "libipq++", .name = "round trip of 64 bytes"};
  for (const auto* loop : loops) what.contestants.emplace_back(loop->name);
  what.figures = {{"median, us", "p50_us", 1},
                  {"99th percentile, us", "p99_us", 1},
                  {"reader's CPU per trip, us", "cpu_us_per_trip", 1}};
  what.goals = {{0, 0, 3, goal::kind::at_most, 1}, {1, 0, 3, goal::kind::at_most, 1}};
  to.push_back(std::make_unique<exchange>(std::move(what), on, std::move(loops)));
}

}  // namespace bench
