// SPDX-License-Identifier: MIT
#include "proof.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>

#include "failure.hpp"
#include "firewall/nftables.hpp"
#include "firewall/selection.hpp"
#include "ipq/queue.hpp"
#include "private_network.hpp"

namespace tool {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
using nlohmann::json;

constexpr std::uint16_t port = 4711;

class descriptor {
 public:
  explicit descriptor(int fd) : fd_(fd) {}
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

std::unexpected<failure> system_failure(const char* what) {
  return fail(errno == EPERM || errno == EACCES ? no_rights : failed,
              fmt::format("{}: {}", what, std::strerror(errno)));
}

/// A datagram through the queue to a socket, and back into our hands.
outcome<void> pass_packet(proof& found, const firewall::selector& to_port) {
  const auto start = clock::now();
  auto queue = ipq::queue::open({.number = 0});
  if (!queue) return std::unexpected(queue.error());
  const auto selected = firewall::selection::install({&to_port, 1}, {}, firewall::fail_policy::closed);
  if (!selected) return std::unexpected(selected.error());

  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto* const generic = reinterpret_cast<const sockaddr*>(&address);
  const descriptor sender(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const descriptor receiver(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (receiver.get() < 0 || ::bind(receiver.get(), generic, sizeof address) != 0)
    return system_failure("bind a socket");
  const auto sent = clock::now();
  if (::sendto(sender.get(), "ipq", 3, 0, generic, sizeof address) < 0) return system_failure("send a packet");
  char text[4] = {};
  if (::recv(receiver.get(), text, sizeof text, MSG_DONTWAIT) >= 0) return fail(failed, "the packet was not held");
  const auto batch = queue->receive(clock::now() + 5s);
  if (!batch) return fail(failed, fmt::format("the packet did not come to the queue: {}", batch.error().message()));
  for (const auto& packet : *batch) {
    if (const auto given = queue->set_verdict(packet, ipq::verdict::accept()); !given) {
      return std::unexpected(given.error());
    }
  }
  pollfd readable{receiver.get(), POLLIN, 0};
  if (::poll(&readable, 1, 5000) != 1 || ::recv(receiver.get(), text, sizeof text, 0) != 3 ||
      std::string(text) != "ipq") {
    return fail(failed, "the accepted packet did not arrive");
  }
  const std::chrono::duration<double, std::micro> way = clock::now() - sent;
  const std::chrono::duration<double, std::milli> all = clock::now() - start;
  const auto means = found.nft_queue ? std::string("nft") : "iptables-" + found.iptables.front();
  found.text = fmt::format("a packet was held, accepted and received in {:.0f} us; {:.0f} ms with its rule, by {}",
                           way.count(), all.count(), means);
  return {};
}

proof try_here() {
  using by = firewall::selection::by;
  proof found;
  const auto fill = [&](const failure& cause) {
    found.code = cause.code;
    found.text = cause.message;
    return found;
  };
  if (const auto entered = enter_private_network(); !entered) return fill(entered.error());
  const auto abilities = firewall::find_nft_abilities();
  found.nft_tables = abilities.tables;
  found.nft_queue = abilities.queue;
  const firewall::selector to_port{ipq::hook::output, fmt::format("udp dport {}", port)};
  for (const auto& [means, name] : {std::pair{by::iptables_legacy, "legacy"}, std::pair{by::iptables_nft, "nft"}}) {
    if (firewall::selection::install({&to_port, 1}, {}, firewall::fail_policy::closed, means)) {
      found.iptables.emplace_back(name);
    }
  }
  if (const auto passed = pass_packet(found, to_port); !passed) return fill(passed.error());
  found.passed = true;
  found.code = done;
  return found;
}

std::string to_line(const proof& found) {
  return json{{"passed", found.passed},    {"code", static_cast<int>(found.code)}, {"text", found.text},
              {"remedy", found.remedy},    {"nft_tables", found.nft_tables},       {"nft_queue", found.nft_queue},
              {"iptables", found.iptables}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

proof from_line(const std::string& line) {
  proof found;
  const auto parsed = json::parse(line, nullptr, false);
  if (!parsed.is_object()) {
    found.text = "the process that tries it has ended without a word, or took more than 20 seconds";
    return found;
  }
  found.passed = parsed.value("passed", false);
  found.code = static_cast<exit_code>(parsed.value("code", 1));
  found.text = parsed.value("text", "");
  found.remedy = parsed.value("remedy", "");
  found.nft_tables = parsed.value("nft_tables", false);
  found.nft_queue = parsed.value("nft_queue", false);
  found.iptables = parsed.value("iptables", std::vector<std::string>());
  return found;
}

}  // namespace

proof prove_queues() {
  int pipe[2];
  proof found;
  if (::pipe2(pipe, O_CLOEXEC) != 0) {
    found.text = fmt::format("make a pipe: {}", std::strerror(errno));
    return found;
  }
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    const std::string line = to_line(try_here());
    ::_exit(::write(pipe[1], line.data(), line.size()) == static_cast<ssize_t>(line.size()) ? 0 : 1);
  }
  const descriptor input(pipe[0]);
  ::close(pipe[1]);
  if (child < 0) {
    found.text = fmt::format("start a process: {}", std::strerror(errno));
    return found;
  }
  std::string line;
  const auto deadline = clock::now() + 20s;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock::now()).count();
    pollfd readable{input.get(), POLLIN, 0};
    const int ready = left > 0 ? ::poll(&readable, 1, static_cast<int>(left)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) break;
    char part[4096];
    const auto length = ::read(input.get(), part, sizeof part);
    if (length <= 0) break;
    line.append(part, static_cast<std::size_t>(length));
  }
  ::kill(child, SIGKILL);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) continue;
  return from_line(line);
}

}  // namespace tool
