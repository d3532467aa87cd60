// SPDX-License-Identifier: MIT
// ipq demo: ipq run at work on real packets, in a network namespace of its own.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "command_line.hpp"
#include "commands.hpp"
#include "demo_capture.hpp"
#include "ipq/bytes.hpp"
#include "ipq/checksum.hpp"
#include "private_network.hpp"
#include "running_command.hpp"
#include "story.hpp"

namespace tool {
namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;
using milliseconds = std::chrono::duration<double, std::milli>;

class descriptor {
 public:
  explicit descriptor(int fd) : fd_(fd) {
    if (fd < 0) throw std::runtime_error(std::strerror(errno));
  }
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor() { ::close(fd_); }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

sockaddr_in address_of(const char* text, std::uint16_t port = 0) {
  sockaddr_in made{};
  made.sin_family = AF_INET;
  made.sin_port = htons(port);
  ::inet_pton(AF_INET, text, &made.sin_addr);
  return made;
}

const sockaddr* generic(const sockaddr_in& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// One ping. Nothing: no reply within the time.
std::optional<milliseconds> ping(const char* to, std::uint16_t sequence, std::chrono::milliseconds patience) {
  const descriptor raw(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP));
  std::array<std::byte, 64> request{};
  request[0] = std::byte{ICMP_ECHO};
  ipq::write_be16(request, 4, 0x1b90);
  ipq::write_be16(request, 6, sequence);
  ipq::write_be16(request, 2, ipq::checksum_of(request));
  const auto there = address_of(to);
  const auto start = steady::now();
  if (::sendto(raw.get(), request.data(), request.size(), 0, generic(there), sizeof there) < 0) {
    throw std::runtime_error(fmt::format("ping {}: {}", to, std::strerror(errno)));
  }
  while (wait_readable(raw.get(), start + patience)) {
    std::array<std::byte, 256> reply;
    const auto length = ::recv(raw.get(), reply.data(), reply.size(), 0);
    if (length < 28 || reply[20] != std::byte{ICMP_ECHOREPLY}) continue;
    if (ipq::read_be16(reply, 24) == 0x1b90 && ipq::read_be16(reply, 26) == sequence) return steady::now() - start;
  }
  return std::nullopt;
}

// "ipq.example A?" answered with an address; the address that the client got, "" if none.
std::string ask_name(const char* answer_with) {
  constexpr std::uint16_t port = 5353;
  const descriptor server(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
      client(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto at = address_of("127.0.0.1", port);
  if (::bind(server.get(), generic(at), sizeof at) != 0) throw std::runtime_error(std::strerror(errno));
  constexpr std::string_view query("\x12\x34\1\0\0\1\0\0\0\0\0\0\3ipq\7example\0\0\1\0\1", 29);
  ::sendto(client.get(), query.data(), query.size(), 0, generic(at), sizeof at);
  char buffer[512];
  sockaddr_in from{};
  socklen_t size = sizeof from;
  if (!wait_readable(server.get(), steady::now() + 2s)) return {};
  const auto asked = ::recvfrom(server.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &size);
  if (asked != static_cast<ssize_t>(query.size())) return {};
  std::string answer(buffer, static_cast<std::size_t>(asked));
  answer[2] = '\x81';
  answer[7] = 1;
  answer += std::string_view("\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4", 12);
  const auto address = address_of(answer_with).sin_addr;
  answer.append(reinterpret_cast<const char*>(&address), 4);
  ::sendto(server.get(), answer.data(), answer.size(), 0, generic(from), size);
  if (!wait_readable(client.get(), steady::now() + 2s)) return {};
  const auto got = ::recv(client.get(), buffer, sizeof buffer, 0);
  if (got != static_cast<ssize_t>(answer.size())) return {};
  char text[INET_ADDRSTRLEN];
  return ::inet_ntop(AF_INET, buffer + got - 4, text, sizeof text) == nullptr ? "" : text;
}

// Two pings each; how many were answered, and the shortest time.
class pinger {
 public:
  std::pair<int, milliseconds> operator()(const char* to, std::chrono::milliseconds patience = 3s) {
    int answered = 0;
    milliseconds shortest = 10s;
    for (int i = 0; i < 2; ++i) {
      if (const auto time = ping(to, ++sequence_, patience)) {
        fmt::print("    ping {}: reply after {:.1f} ms\n", to, time->count());
        shortest = std::min(shortest, *time);
        ++answered;
      } else {
        fmt::print("    ping {}: no reply\n", to);
      }
      std::fflush(stdout);
    }
    return {answered, shortest};
  }

 private:
  std::uint16_t sequence_ = 0;
};

const std::vector<std::string> rules{"count pings, continue : icmp", "drop : icmp and dst host 127.0.0.2",
                                     "delay 100ms : icmp and dst host 127.0.0.3",
                                     R"(replace "\xc6\x33\x64\x07" with "\xcb\x00\x71\x09" : udp src port 5353)"};

outcome<void> begin(running_command& command) {
  if (command.says("packets are selected by")) return {};
  const int status = command.end();
  std::string said = command.output();
  while (said.ends_with('\n')) said.pop_back();
  return fail(status == done ? failed : static_cast<exit_code>(status),
              fmt::format("a queue can't be served here, says ipq run; ipq doctor tells why\n{}", said));
}

outcome<void> tell(const story& to, running_command& command) {
  pinger pings;
  to.indented(command.output());

  to.heading("No rule matches 127.0.0.1, so its pings are accepted:");
  if (pings("127.0.0.1").first != 2) return fail(failed, "the accepted pings should have been answered");
  to.heading("Pings to 127.0.0.2 are dropped:");
  if (pings("127.0.0.2", 300ms).first != 0) return fail(failed, "the dropped pings should not have been answered");
  to.heading("Pings to 127.0.0.3 are delayed by 100 ms:");
  const auto [answered, shortest] = pings("127.0.0.3");
  if (answered != 2 || shortest < 100ms) return fail(failed, "the delayed pings should have taken 100 ms");

  to.heading("The answer of a name server is rewritten on its way, checksum and all:");
  const std::string got = ask_name("198.51.100.7");
  fmt::print("    the server says ipq.example is 198.51.100.7, the client reads {}\n", got.empty() ? "nothing" : got);
  if (got != "203.0.113.9") return fail(failed, "the client should have read 203.0.113.9");

  to.heading("Ctrl-C ends it:");
  const std::size_t before = command.output().size();
  if (command.end() != done) return fail(failed, "ipq run should have ended well\n" + command.output());
  to.indented(std::string_view(command.output()).substr(before));
  to.heading("The rules are gone with it, and 127.0.0.2 answers:");
  if (pings("127.0.0.2").first != 2) return fail(failed, "the pings should have been answered");
  fmt::print("\nNothing of this machine's network was touched.\n");
  return {};
}

}  // namespace

int demo_main(int argc, char** argv) {
  command_line line("demo",
                    "Shows ipq run at work on real packets, in a network namespace of its own, in some seconds. Where\n"
                    "the machine gives none, or no queue, it says why and judges a capture.");
  if (const auto end = line.parse(argc, argv)) return *end;
  const story to(has_colours(stdout));
  const auto instead = [&](const failure& why) {
    fmt::print("\nThe demo can't hold packets here: {}\nSo it judges a capture, which needs no rights.\n", why.message);
    return tell_on_capture(to, rules);
  };
  const auto told = [&]() -> outcome<void> {
    if (const auto entered = enter_private_network(); !entered) return instead(entered.error());
    std::vector<std::string> words{"run",      "--select", "output",        "icmp type echo-request",
                                   "--select", "output",   "udp sport 5353"};
    words.insert(words.end(), rules.begin(), rules.end());
    to.heading("Rules of the kernel send packets to a queue, and ipq run judges them:");
    to.command(words, rules.size());
    running_command command(words);
    if (const auto begun = begin(command); !begun) return instead(begun.error());
    return tell(to, command);
  }();
  if (told) return done;
  std::fflush(stdout);
  return report("demo", told.error());
}

}  // namespace tool
