// SPDX-License-Identifier: MIT
// ipq run with a delay, under a steady stream: how far from the time that was asked for packets go on.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>

#include "failure.hpp"
#include "machine.hpp"
#include "private_network.hpp"
#include "process.hpp"
#include "scenario.hpp"

namespace bench {
namespace {

constexpr double delay_seconds = 50e-3;
constexpr std::size_t size = 64;

// Where packets arrive, each with the time at which the kernel delivered it.
class arrivals {
 public:
  arrivals() : socket_(open_udp()) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* general = reinterpret_cast<sockaddr*>(&address);
    // Whoever sends reads too, and may be late with it: as many as may be had wait here.
    const int on = 1, room = 64 << 20;
    if (setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0) {
      setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    }
    if (setsockopt(socket_.get(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0 ||
        bind(socket_.get(), general, sizeof address) != 0 || getsockname(socket_.get(), general, &length) != 0) {
      throw failure(with_errno("cannot set up the receiving UDP socket"));
    }
    port_ = ntohs(address.sin_port);
  }

  std::uint16_t port() const { return port_; }

  // Appends how long each that has arrived was on its way, in seconds.
  void take(std::vector<double>& durations) const {
    for (;;) {
      double sent = 0;
      iovec part{&sent, sizeof sent};
      alignas(cmsghdr) std::array<char, 64> control;
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      if (recvmsg(socket_.get(), &message, MSG_DONTWAIT) < 0) {
        if (errno == EAGAIN) return;
        throw failure(with_errno("cannot receive a UDP packet"));
      }
      const auto* stamp = CMSG_FIRSTHDR(&message);
      if (stamp == nullptr || stamp->cmsg_type != SCM_TIMESTAMPNS) throw failure("a packet without its time");
      timespec time;
      std::memcpy(&time, CMSG_DATA(stamp), sizeof time);
      durations.push_back(static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9 - sent);
    }
  }

 private:
  file_descriptor socket_;
  std::uint16_t port_ = 0;
};

class delay final : public scenario {
 public:
  delay(description what, const ground& on, double seconds_apart)
      : scenario(std::move(what)), on_(on), sender_(arrivals_.port()), seconds_apart_(seconds_apart) {
    queue_udp(arrivals_.port());
  }

  sample run(std::size_t) override {
    process server("ipq run", on_.cpu, std::vector<std::string>{IPQ_COMMAND, "run", "delay 50ms"});
    std::vector<double> durations;
    durations.reserve(on_.packets);
    companion traffic({on_.other_cpu}, [&](const auto&) { stream(durations); });
    traffic.join();
    const double spent = server.cpu_seconds();
    server.end();

    sample result{.packets = durations.size(), .arrived = durations.size(), .lost = on_.packets - durations.size()};
    if (durations.empty()) throw failure("no delayed packet arrived");
    for (double& each : durations) each = std::abs(each - delay_seconds) * 1e3;
    std::sort(durations.begin(), durations.end());
    const auto at = [&](double part) {
      return durations[static_cast<std::size_t>(part * static_cast<double>(durations.size() - 1))];
    };
    result.figures = {at(0.99), at(0.5), 100 * static_cast<double>(result.lost) / static_cast<double>(on_.packets),
                      spent / static_cast<double>(on_.packets) * 1e9};
    return result;
  }

 private:
  void stream(std::vector<double>& durations) {
    // As many as are on their way, twice.
    sender_.prepare(static_cast<std::uint64_t>(2 * delay_seconds / seconds_apart_), size);
    std::array<char, size> payload{};
    double due = now(CLOCK_MONOTONIC);
    for (std::uint64_t each = 0; each < on_.packets; ++each, due += seconds_apart_) {
      while (now(CLOCK_MONOTONIC) < due) arrivals_.take(durations);
      const double sent = now(CLOCK_REALTIME);
      std::memcpy(payload.data(), &sent, sizeof sent);
      sender_.send_one(each, payload);
    }
    const double deadline = now(CLOCK_MONOTONIC) + 20 * delay_seconds;
    while (durations.size() < on_.packets && now(CLOCK_MONOTONIC) < deadline) arrivals_.take(durations);
  }

  ground on_;
  arrivals arrivals_;
  sender sender_;
  double seconds_apart_;
};

}  // namespace

void add_delay(scenarios& to, const ground& on) {
  if (on.other_cpu < 0) return;
  description what{
      .table = "ipq",
      .name = "delay 50ms, 50 000 packets a second",
      .contestants = {"ipq run"},
      .figures = {{"timing error, 99th percentile, ms", "error_p99_ms", 3},
                  {"timing error, median, ms", "error_median_ms", 3},
                  {"packets lost, %", "lost_percent", 2},
                  {"CPU per packet, ns", "cpu_ns_per_packet"}},
      .goals = {{0, 0, std::nullopt, goal::kind::at_most, 2}, {2, 0, std::nullopt, goal::kind::at_most, 0}}};
  to.push_back(std::make_unique<delay>(std::move(what), on, 20e-6));
}

}  // namespace bench
