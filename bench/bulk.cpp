// SPDX-License-Identifier: MIT
// A TCP stream to another network namespace, over veth with an MTU of 1500: whole segments as TCP makes them, or cut to
// packets for a loop that does not take them whole.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <limits>
#include <vector>

#include "drain.hpp"
#include "failure.hpp"
#include "machine.hpp"
#include "private_network.hpp"

namespace bench {
namespace {

constexpr std::uint16_t queued_port = 5001, free_port = 5002;
constexpr const char *near_address = "10.0.0.1", *far_address = "10.0.0.2";
constexpr std::size_t chunk = 256 * 1024;

void must_work(long outcome, const char* what) {
  if (outcome < 0) throw failure(with_errno(what));
}

sockaddr_in address(std::uint16_t port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(port);
  inet_pton(AF_INET, far_address, &result.sin_addr);
  return result;
}

file_descriptor open_tcp() {
  file_descriptor opened(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  must_work(opened.get(), "cannot open a TCP socket");
  return opened;
}

// A thread in a network namespace of its own that takes what is sent to it and answers with how much it was.
class far_end {
 public:
  explicit far_end(std::vector<int> cpus)
      : thread_(std::move(cpus), [this](const std::stop_token& end) { live(end); }) {
    const std::string needs = "the kernel needs CONFIG_VETH";
    const auto pid = there_.get_future().get();
    if (pid == 0) thread_.join();  // throws
    run_program({"ip", "link", "add", "bulk0", "mtu", "1500", "type", "veth", "peer", "name", "bulk1", "mtu", "1500",
                 "netns", std::to_string(pid)},
                needs);
    run_program({"ip", "address", "add", std::string(near_address) + "/24", "dev", "bulk0"}, needs);
    run_program({"ip", "link", "set", "bulk0", "up"}, needs);
    connected_.set_value();
    listens_.get_future().get();
  }

 private:
  void live(const std::stop_token& end) {
    try {
      if (unshare(CLONE_NEWNET) != 0) throw unavailable(with_errno("cannot make a second network namespace"));
    } catch (...) {
      there_.set_value(0);
      throw;
    }
    there_.set_value(gettid());
    connected_.get_future().get();
    try {
      run_program({"ip", "address", "add", std::string(far_address) + "/24", "dev", "bulk1"}, "");
      run_program({"ip", "link", "set", "bulk1", "up"}, "");
      const file_descriptor queued = listen_on(queued_port), free = listen_on(free_port);
      listens_.set_value();
      while (!end.stop_requested()) {
        std::array<pollfd, 2> both{pollfd{queued.get(), POLLIN, 0}, pollfd{free.get(), POLLIN, 0}};
        if (poll(both.data(), both.size(), 100) <= 0) continue;
        take(both[0].revents != 0 ? queued : free);
      }
    } catch (...) {
      listens_.set_exception(std::current_exception());
    }
  }

  static file_descriptor listen_on(std::uint16_t port) {
    file_descriptor opened = open_tcp();
    const auto here = address(port);
    must_work(bind(opened.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here), "bind");
    must_work(listen(opened.get(), 8), "listen");
    return opened;
  }

  void take(const file_descriptor& listener) {
    const file_descriptor stream(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (stream.get() < 0) return;
    std::uint64_t sum = 0;
    for (ssize_t length; (length = recv(stream.get(), buffer_.data(), buffer_.size(), 0)) > 0;) {
      sum += static_cast<std::uint64_t>(length);
    }
    static_cast<void>(!::send(stream.get(), &sum, sizeof sum, MSG_NOSIGNAL));
  }

  std::vector<char> buffer_ = std::vector<char>(chunk);
  std::promise<pid_t> there_;
  std::promise<void> connected_, listens_;
  companion thread_;
};

// Sends for that long. Returns bits per second, from the first to the last byte's arrival.
double transfer(std::uint16_t port, double seconds) {
  static const std::vector<char> bytes(chunk);
  const file_descriptor stream = open_tcp();
  const timeval patience{patience_seconds / 2, 0};
  must_work(setsockopt(stream.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), "SO_RCVTIMEO");
  const auto to = address(port);
  must_work(connect(stream.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to), "cannot connect over veth");
  const double begin = now(CLOCK_MONOTONIC);
  std::uint64_t sum = 0, arrived = 0;
  while (now(CLOCK_MONOTONIC) - begin < seconds) {
    const auto sent = send(stream.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    must_work(sent, "send over veth");
    sum += static_cast<std::uint64_t>(sent);
  }
  must_work(shutdown(stream.get(), SHUT_WR), "shutdown");
  must_work(recv(stream.get(), &arrived, sizeof arrived, MSG_WAITALL), "no answer over veth");
  const double elapsed = now(CLOCK_MONOTONIC) - begin;
  // Behind the other end's last segment, and with a reset: nothing is sent again later, to the next loop.
  char nothing;
  must_work(recv(stream.get(), &nothing, sizeof nothing, 0), "no end over veth");
  const linger at_once{1, 0};
  must_work(setsockopt(stream.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), "SO_LINGER");
  if (arrived != sum) {
    throw failure(std::to_string(arrived) + " bytes arrived over veth instead of " + std::to_string(sum));
  }
  return static_cast<double>(sum) * 8 / elapsed;
}

struct way {
  const char* name;
  const contestant* through;  // nullptr: not queued
  bool gso = false;
  std::uint32_t copy_range = 0xffff;
};

constexpr std::size_t whole = 0, beginnings = 1, peer = 2, unqueued = 4;
const std::vector<way> ways{{"libipq++", &ipq_queue, true},
                            {"libipq++, 128 bytes", &ipq_queue, true, 128},
                            {"libnetfilter_queue", &libnetfilter_queue},
                            {"bare batch", &bare_batch, true},
                            {"not queued", nullptr}};

class bulk final : public scenario {
 public:
  bulk(description what, const ground& on, std::vector<int> cpus)
      : scenario(std::move(what)), on_(on), far_end_(std::move(cpus)) {
    run_program({"iptables-legacy", "-A", "OUTPUT", "-p", "tcp", "--dport", std::to_string(queued_port), "-j", "QUEUE"},
                "the kernel needs the filter table of iptables-legacy");
  }

  sample run(std::size_t index) override {
    const way& chosen = ways[index];
    const double seconds = static_cast<double>(on_.packets) * 10e-6;
    double rate = 0;
    sample result;
    const watchdog watchdog;
    if (chosen.through == nullptr) {
      companion sending({on_.other_cpu}, [&](const auto&) { rate = transfer(free_port, seconds); });
      sending.join();
      result.figures = {rate * 1e-9, 0};
      return result;
    }
    const auto loop = chosen.through->open({.gso = chosen.gso, .copy_range = chosen.copy_range});
    companion sending({on_.other_cpu}, [&](const std::stop_token& end) {
      try {
        rate = transfer(queued_port, seconds);
      } catch (...) {
        on_.sender.send(1, 0);
        throw;
      }
      on_.sender.end_with_empty(end);
    });
    const stopwatch watch;
    const drained drained = loop->drain(std::numeric_limits<std::uint64_t>::max(), verdicts::accept, message_buffer());
    const expense spent = watch.stop();
    sending.join();
    result.packets = drained.packets;
    result.figures = {rate * 1e-9, static_cast<double>(drained.packets) / spent.wall_seconds};
    return result;
  }

 private:
  ground on_;
  far_end far_end_;
};

}  // namespace

void add_bulk(scenarios& to, const ground& on, const std::vector<int>& cpus) {
  if (on.other_cpu < 0) return;
  description what{.table = "libipq++", .name = "TCP over veth, MTU 1500"};
  for (const auto& each : ways) what.contestants.emplace_back(each.name);
  what.figures = {{"Gbit/s", "gigabits_per_second", 2}, {"messages per second", "messages_per_second"}};
  what.goals = {{0, whole, peer, goal::kind::at_least, 4},
                {0, whole, unqueued, goal::kind::at_least, 0.6},
                {0, beginnings, unqueued, goal::kind::at_least, 0.7}};
  to.push_back(std::make_unique<bulk>(std::move(what), on, cpus));
}

}  // namespace bench
