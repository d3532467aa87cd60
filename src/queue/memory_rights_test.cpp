// SPDX-License-Identifier: MIT
// Memory stays what it is, however many packets go through: IPQ_TEST_PACKETS of them, 200,000 by default.
#include <malloc.h>
#include <sys/socket.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "kernel/live_queue.hpp"
#include "kernel/process.hpp"

namespace ipq::queue_tests {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
// They keep what is freed, and notes of every access.
constexpr std::size_t tolerated = 32 << 20;
#else
constexpr std::size_t tolerated = 64 << 10;
#endif

std::size_t wanted_packets() {
  const char* const said = std::getenv("IPQ_TEST_PACKETS");
  return said != nullptr ? std::strtoul(said, nullptr, 10) : 200'000;
}

/// Bytes of this process that no file stands behind and that are in memory.
std::size_t resident() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::size_t kibibytes = 0;
    if (word == "RssAnon:" && status >> kibibytes) return kibibytes << 10;
  }
  throw std::runtime_error("no RssAnon in /proc/self/status");
}

std::size_t allocated() {
  return ::mallinfo2().uordblks;
}

class memory : public live_queue {
 protected:
  /// Sends as fast as verdicts come: datagrams that wait count against the socket's buffer, which holds sending up.
  static void flood(std::size_t count) {
    const kernel_tests::descriptor from(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
    const kernel_tests::endpoint to("192.0.2.2", 5000);
    if (::connect(from.get(), to.address(), to.size()) != 0) throw std::runtime_error("connect");
    std::array<char, 1400> payload{};
    std::array<iovec, 64> parts;
    std::array<mmsghdr, 64> messages{};
    for (std::size_t i = 0; i < parts.size(); ++i) {
      parts[i] = {payload.data(), 1 + i * payload.size() / parts.size()};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    while (count > 0) {
      const int sent = ::sendmmsg(from.get(), messages.data(), std::min<unsigned>(64, static_cast<unsigned>(count)), 0);
      if (sent > 0) {
        count -= static_cast<std::size_t>(sent);
      } else if (errno != EPERM) {  // what was dropped may be told to the sender
        throw std::system_error(errno, std::generic_category(), "sendmmsg");
      }
    }
  }
};

TEST_F(memory, stays_what_it_is_over_any_number_of_packets) {
  const std::size_t packets = wanted_packets(), settled = packets / 10;
  queued();
  queue q = must_open({.number = number, .max_length = 4096});
  std::jthread sender(flood, packets);
  // The first batch is as large as one can be, so that all the memory there is for one has been in use.
  kernel_tests::wait_until("a full batch waits", [&] { return must_stats(q).in_kernel->waiting >= 64; });
  std::size_t seen = 0, resident_before = 0, allocated_before = 0;
  while (seen < packets) {
    const batch got = must(q.receive(soon()));
    for (const packet& each : got) {
      // Every kind of verdict that keeps something of its own: rewritten, with a mark, plain ones by turns.
      auto answer = each.id % 16 == 0 ? verdict::accept() : verdict::drop();
      if (each.id % 8 == 1) answer = answer.with_mark(each.id);
      if (each.id % 64 == 0) answer = answer.with_payload(each.payload);
      must(q.set_verdict(each, answer));
    }
    const std::size_t before = seen;
    seen += got.size();
    if (before < settled && seen >= settled) {
      resident_before = resident();
      allocated_before = allocated();
    }
  }
  must(q.flush());
  EXPECT_LE(resident(), resident_before + tolerated);
  EXPECT_LE(allocated(), allocated_before + tolerated);
  sender.join();
  const statistics s = must_stats(q);
  EXPECT_EQ(s.received, packets);
  EXPECT_EQ(s.in_kernel->lost_queue_full + s.in_kernel->lost_no_buffer, 0U);
  expect_sum(q);
}

}  // namespace
}  // namespace ipq::queue_tests
