// SPDX-License-Identifier: MIT
// ipq_read: timeouts, buffers that are too small, and when the handle's descriptor is readable.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/select.h>

#include <algorithm>
#include <cstring>
#include <future>

#include "child.hpp"
#include "flow.hpp"
#include "packet_bytes.hpp"
#include "process.hpp"

namespace kernel_tests {
namespace {

using ipq_read_ = flow_test;
using handle_fd = flow_test;

using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

TEST_F(ipq_read_, timeout_returns_0_and_touches_nothing) {
  for (auto protocol : {ipv4, ipv6}) {
    handle h{protocol, IPQ_COPY_PACKET};
    bytes buffer(2048, 0xa5);
    ssize_t length = -1;
    const auto start = clock::now();
    EXPECT_EQ(errno_after([&] { length = ipq_read(h, buffer.data(), buffer.size(), 60'000); }), untouched_errno);
    EXPECT_GE(clock::now() - start, milliseconds{60});
    EXPECT_EQ(length, 0);
    EXPECT_STREQ(ipq_errstr(), "Timeout");
    EXPECT_EQ(buffer, bytes(2048, 0xa5));
  }
}

TEST_F(ipq_read_, timeout_longer_than_a_second_is_not_cut) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  auto length = std::async(std::launch::async, [&] {
    bytes buffer(2048);
    return ipq_read(h, buffer.data(), buffer.size(), 10'000'000);
  });
  EXPECT_EQ(length.wait_for(milliseconds{1100}), std::future_status::timeout);
  flow4().send("x");
  EXPECT_EQ(length.get(), 112 + 32);
}

TEST_F(ipq_read_, negative_timeout_looks_once) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  for (int timeout : {-1, -1'000'000'000}) {
    bytes buffer(2048, 0xa5);
    ssize_t length = -1;
    EXPECT_EQ(errno_after([&] { length = ipq_read(h, buffer.data(), buffer.size(), timeout); }), untouched_errno);
    EXPECT_EQ(length, 0);
    EXPECT_STREQ(ipq_errstr(), "Timeout");
    EXPECT_EQ(buffer, bytes(2048, 0xa5));
    flow4().send("x");
    EXPECT_EQ(ipq_read(h, buffer.data(), buffer.size(), timeout), 112 + 32);
  }
}

TEST_F(ipq_read_, timeout_of_1_microsecond_finds_what_is_there) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  bytes buffer(2048);
  for (int round = 0; round < 50; ++round) {
    EXPECT_EQ(ipq_read(h, buffer.data(), buffer.size(), 1), 0);
    flow4().send("x");
    EXPECT_EQ(ipq_read(h, buffer.data(), buffer.size(), 1), 112 + 32);
    set_verdict(h, ipq_get_packet(buffer.data())->packet_id);
  }
}

TEST_F(ipq_read_, zero_waits_for_the_packet) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  std::promise<pid_t> thread;
  auto read = std::async(std::launch::async, [&] {
    thread.set_value(gettid());
    bytes buffer(2048);
    errno = untouched_errno;
    const ssize_t length = ipq_read(h, buffer.data(), buffer.size(), 0);
    return std::pair{length, errno};
  });
  wait_until_asleep(thread.get_future().get());
  EXPECT_EQ(read.wait_for(milliseconds{20}), std::future_status::timeout);
  flow4().send("x");
  EXPECT_EQ(read.get(), (std::pair<ssize_t, int>{112 + 32, untouched_errno}));
}

TEST_F(ipq_read_, packet_ends_a_wait_with_timeout_and_leaves_errno_alone) {
  flow6().rule();
  handle h{ipv6, IPQ_COPY_PACKET};
  std::promise<pid_t> thread;
  auto read = std::async(std::launch::async, [&] {
    thread.set_value(gettid());
    bytes buffer(2048);
    errno = untouched_errno;
    const ssize_t length = ipq_read(h, buffer.data(), buffer.size(), 10'000'000);
    return std::pair{length, errno};
  });
  wait_until_asleep(thread.get_future().get());
  flow6().send("x");
  EXPECT_EQ(read.get(), (std::pair<ssize_t, int>{112 + 52, untouched_errno}));
}

TEST_F(ipq_read_, success_leaves_errno_and_message_alone) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  EXPECT_EQ(ipq_create_handle(0, 17), nullptr);
  flow4().send("x");
  EXPECT_EQ(errno_after([&] { set_verdict(h, read_packet(h).id()); }), untouched_errno);
  set_verdict(h, 12345);
  EXPECT_EQ(errno_after([&] { read_error(h); }), untouched_errno);
  EXPECT_STREQ(ipq_errstr(), "Invalid protocol specified");
}

TEST_F(ipq_read_, buffer_under_20_bytes_is_invalid) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send("stays");
  ASSERT_TRUE(readable(h.fd(), 1000));
  for (size_t size : {0u, 1u, 16u, 19u}) {
    bytes buffer(64, 0xa5);
    ssize_t length = 0;
    EXPECT_EQ(errno_after([&] { length = ipq_read(h, buffer.data(), size, 0); }), untouched_errno);
    EXPECT_EQ(length, -1);
    EXPECT_STREQ(ipq_errstr(), "Receive buffer size invalid");
    EXPECT_EQ(buffer, bytes(64, 0xa5));
  }
  EXPECT_EQ(udp_payload(read_packet(h).payload()), "stays");
}

TEST_F(ipq_read_, message_larger_than_the_buffer_is_truncated_and_consumed) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  const std::string payload(200, 'p');
  for (size_t size : {20u, 24u, 64u, 112u, 150u, 112u + 224u}) {
    SCOPED_TRACE(size);
    flow4().send(payload);
    flow4().send("behind it");
    bytes buffer(1000, 0xa5);
    ssize_t length = 0;
    EXPECT_EQ(errno_after([&] { length = ipq_read(h, buffer.data(), size, 0); }), untouched_errno);
    EXPECT_EQ(length, -1);
    EXPECT_STREQ(ipq_errstr(), "Received message truncated");
    EXPECT_EQ(ipq_message_type(buffer.data()), IPQM_PACKET);
    EXPECT_EQ(reinterpret_cast<nlmsghdr*>(buffer.data())->nlmsg_len, 112u + 228u);
    EXPECT_EQ((bytes(buffer.begin() + static_cast<ptrdiff_t>(size), buffer.end())), bytes(1000 - size, 0xa5));
    if (size >= 112) {
      const ipq_packet_msg_t& packet = *ipq_get_packet(buffer.data());
      EXPECT_EQ(packet.data_len, 228u);
      EXPECT_EQ(packet.hook, 3u);
      for (size_t at = 112 + 28; at < size; ++at) EXPECT_EQ(buffer[at], 'p');
    }
    const message next = read_packet(h);
    EXPECT_EQ(udp_payload(next.payload()), "behind it");
    EXPECT_EQ(flow4().far_socket().receive_now(), std::nullopt);
    // The packet was not lost with its message: ids count up, so its own is known even where it did not fit.
    set_verdict(h, next.id() - 1);
    EXPECT_EQ(flow4().arrived(), payload);
    set_verdict(h, next.id());
    EXPECT_EQ(flow4().arrived(), "behind it");
    EXPECT_TRUE(nothing_to_read(h));
  }
}

TEST_F(ipq_read_, id_of_a_truncated_message_is_good) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send(std::string(500, 't'));
  alignas(nlmsghdr) unsigned char buffer[64];
  ASSERT_EQ(ipq_read(h, buffer, sizeof buffer, 0), -1);
  set_verdict(h, ipq_get_packet(buffer)->packet_id);
  EXPECT_EQ(flow4().arrived(), std::string(500, 't'));
}

TEST_F(ipq_read_, message_that_just_fits_is_whole) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send(std::string(200, 'p'));
  bytes buffer(112 + 228);
  EXPECT_EQ(ipq_read(h, buffer.data(), buffer.size(), 0), static_cast<ssize_t>(buffer.size()));
}

TEST_F(ipq_read_, error_larger_than_the_buffer_is_truncated_and_consumed) {
  handle h{ipv4, IPQ_COPY_PACKET};
  set_verdict(h, 4711);
  bytes buffer(64, 0xa5);
  EXPECT_EQ(ipq_read(h, buffer.data(), 40, 0), -1);
  EXPECT_STREQ(ipq_errstr(), "Received message truncated");
  EXPECT_EQ(ipq_message_type(buffer.data()), NLMSG_ERROR);
  EXPECT_EQ(ipq_get_msgerr(buffer.data()), ENOENT);
  EXPECT_EQ((bytes(buffer.begin() + 40, buffer.end())), bytes(24, 0xa5));
  EXPECT_TRUE(nothing_to_read(h));
}

// The loopback device has an MTU of 65536 today: a packet can be larger than the 64 KB that programs reserve.
TEST_F(ipq_read_, full_size_packet_of_loopback_does_not_fit_64_kb) {
  iptables("-A OUTPUT -o lo -p udp -j QUEUE");
  handle h{ipv4, IPQ_COPY_PACKET};
  udp_socket sender{near_ns(), "127.0.0.1"}, receiver{near_ns(), "127.0.0.1"};
  sender.send("127.0.0.1", receiver.port(), std::string(65507, 'l'));
  bytes buffer(0x10000);
  EXPECT_EQ(ipq_read(h, buffer.data(), buffer.size(), 0), -1);
  EXPECT_STREQ(ipq_errstr(), "Received message truncated");
  set_verdict(h, ipq_get_packet(buffer.data())->packet_id);
  EXPECT_EQ(receiver.receive().size(), 65507u);
}

TEST_F(ipq_read_, small_loopback_mtu_makes_tcp_fit_64_kb) {
  must_run("ip link set lo mtu 16436");
  iptables("-A OUTPUT -o lo -p tcp -j QUEUE");
  handle h{ipv4, IPQ_COPY_PACKET};
  std::atomic<bool> all_received = false;
  auto largest = std::async(std::launch::async, [&] {
    bytes buffer(0x10000);
    ssize_t most = 0;
    while (!all_received) {
      const ssize_t length = ipq_read(h, buffer.data(), buffer.size(), 10'000);
      if (length < 0) throw std::runtime_error(last_error());
      if (length == 0) continue;
      most = std::max(most, length);
      set_verdict(h, ipq_get_packet(buffer.data())->packet_id);
    }
    return most;
  });
  tcp_listener listener{near_ns(), "127.0.0.1", 6000};
  descriptor here = tcp_connect(near_ns(), "127.0.0.1", 6000), there = listener.accept();
  const std::string sent(300'000, 's');
  std::string received(sent.size(), '\0');
  auto sending = std::async(std::launch::async, [&] { return write(here.get(), sent.data(), sent.size()); });
  EXPECT_EQ(recv(there.get(), received.data(), received.size(), MSG_WAITALL), static_cast<ssize_t>(sent.size()));
  EXPECT_EQ(sending.get(), static_cast<ssize_t>(sent.size()));
  all_received = true;
  EXPECT_GT(largest.get(), 16000);
}

TEST_F(handle_fd, is_readable_exactly_while_there_is_something_to_read) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow& packets = flow_of(protocol).rule();
    handle h{protocol};
    EXPECT_FALSE(readable(h.fd()));
    ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_PACKET, 0), sent_mode);
    EXPECT_FALSE(readable(h.fd())) << "a mode that was taken says nothing";
    packets.send("one");
    packets.send("two");
    EXPECT_TRUE(readable(h.fd(), 1000));
    const auto first = read_packet(h).id();
    EXPECT_TRUE(readable(h.fd()));
    const auto second = read_packet(h).id();
    EXPECT_FALSE(readable(h.fd()));
    set_verdict(h, first);
    set_verdict(h, second, NF_DROP);
    EXPECT_FALSE(readable(h.fd())) << "a verdict that was taken says nothing";
    set_verdict(h, second);
    EXPECT_TRUE(readable(h.fd(), 1000)) << "a refusal is something to read";
    read_error(h);
    EXPECT_FALSE(readable(h.fd()));
  }
}

TEST_F(handle_fd, select_then_blocking_read_gets_every_pending_packet) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  constexpr int pending = 20;
  for (int number = 0; number < pending; ++number) flow4().send(std::to_string(number));
  for (int number = 0; number < pending; ++number) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(h.fd(), &set);
    timeval limit{10, 0};
    ASSERT_EQ(select(h.fd() + 1, &set, nullptr, nullptr, &limit), 1) << "packet " << number;
    bytes buffer(2048);
    ASSERT_GT(ipq_read(h, buffer.data(), buffer.size(), 0), 0);
    set_verdict(h, ipq_get_packet(buffer.data())->packet_id);
    EXPECT_EQ(flow4().arrived(), std::to_string(number));
  }
  EXPECT_FALSE(readable(h.fd()));
}

TEST_F(handle_fd, keeps_the_receive_buffer_that_the_program_asked_for) {
  for (auto protocol : {ipv4, ipv6}) {
    handle h{protocol};
    const int wanted = 70'000;
    ASSERT_EQ(setsockopt(h.fd(), SOL_SOCKET, SO_RCVBUF, &wanted, sizeof wanted), 0);
    ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_PACKET, 0), sent_mode);
    int size = 0;
    socklen_t length = sizeof size;
    ASSERT_EQ(getsockopt(h.fd(), SOL_SOCKET, SO_RCVBUF, &size, &length), 0);
    EXPECT_EQ(size, 2 * wanted);
  }
}

// How deep below this thread's function ipq_read goes.
size_t stack_of_read(const ipq_handle* h) {
  constexpr size_t size = 1 << 20;
  void* const stack = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack == MAP_FAILED) throw std::bad_alloc();
  auto* const lowest = static_cast<unsigned char*>(stack);
  memset(lowest, 0x5a, size);
  struct call {
    const ipq_handle* h;
    unsigned char* frame = nullptr;
    ssize_t length = 0;
    unsigned char buffer[512] = {};
  } made{h};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstack(&attributes, stack, size);
  pthread_t thread;
  if (pthread_create(
          &thread, &attributes,
          [](void* data) -> void* {
            auto& call_made = *static_cast<call*>(data);
            call_made.frame = static_cast<unsigned char*>(__builtin_frame_address(0));
            call_made.length = ipq_read(call_made.h, call_made.buffer, sizeof call_made.buffer, 10'000'000);
            return nullptr;
          },
          &made) != 0) {
    throw std::runtime_error("pthread_create");
  }
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  const auto* const touched = std::find_if(lowest, lowest + size, [](unsigned char byte) { return byte != 0x5a; });
  const auto depth = static_cast<size_t>(made.frame - touched);
  munmap(stack, size);
  EXPECT_GT(made.length, 0);
  return depth;
}

TEST_F(ipq_read_, needs_no_more_stack_than_the_manual_says) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr size_t documented = 4 * (80 << 10);  // with a sanitizer's frames and the room it has between variables
#else
  constexpr size_t documented = 80 << 10;
#endif
  flow4().rule("-A INPUT").rule("-A OUTPUT");
  const handle h{ipv4, IPQ_COPY_PACKET};
  flow4().send_back("names of interfaces are looked up");
  EXPECT_LE(stack_of_read(h), documented);
  set_verdict(h, 4711);
  EXPECT_LE(stack_of_read(h), documented);
  // The owner of a queue is looked for.
  child other{[&](const child::line& line) {
    const handle second{ipv4, IPQ_COPY_PACKET};
    const size_t depth = stack_of_read(second);
    line.say(depth <= documented ? "enough" : std::to_string(depth));
  }};
  EXPECT_EQ(other.hear(), "enough");
  const std::string said = standard_error_of([&] {
    ipq_set_debug(h, 1);
    flow4().send_back("a line for each");
    EXPECT_LE(stack_of_read(h), documented);
  });
  EXPECT_NE(said.find("packet"), std::string::npos);
}

}  // namespace
}  // namespace kernel_tests
