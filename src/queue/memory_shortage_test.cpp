// SPDX-License-Identifier: MIT
// A kernel that for a moment has no memory for a message, and moments in a call of it: send(2) and recvmmsg(2) as this
// program has them fail or wait when a test wants it.
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <stdexcept>
#include <thread>
#include <utility>

#include "ipq/queue.hpp"
#include "netlink/scripted_kernel.hpp"
#include "queue/binding.hpp"
#include "wire/config.hpp"

namespace {
std::atomic<int> sends_that_fail = 0;
enum class stop { none, wanted, there };
std::atomic<stop> in_send = stop::none;
std::function<void()> before_reading;
}  // namespace

extern "C" __attribute__((visibility("default"))) ssize_t sendto(int fd, const void* bytes, size_t length, int flags,
                                                                 const sockaddr* to, socklen_t size) {
  if (auto wanted = stop::wanted; in_send.compare_exchange_strong(wanted, stop::there)) {
    while (in_send == stop::there) ::usleep(100);
  }
  if (sends_that_fail > 0 && sends_that_fail-- > 0) {
    errno = ENOBUFS;
    return -1;
  }
  return ::syscall(SYS_sendto, fd, bytes, length, flags, to, size);
}
extern "C" __attribute__((visibility("default"))) ssize_t send(int fd, const void* bytes, size_t length, int flags) {
  return ::sendto(fd, bytes, length, flags, nullptr, 0);
}
extern "C" __attribute__((visibility("default"))) int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags,
                                                               timespec* timeout) {
  if (const auto act = std::exchange(before_reading, nullptr)) act();
  return static_cast<int>(::syscall(SYS_recvmmsg, fd, messages, count, flags, timeout));
}

namespace ipq {
namespace {

constexpr std::uint16_t number = 3;

class memory_shortage : public testing::Test {
 protected:
  queue open() {
    auto socket = kernel.open(NETLINK_NETFILTER);
    if (!socket) throw std::runtime_error(socket.error().message());
    alignas(4) std::byte request[wire::max_config_size];
    const auto length = wire::encode_config(
        {.queue = number, .command = wire::config_command::bind, .copy = {{wire::copy_mode::packet, 0xffff}}}, request);
    if (!socket->send(std::span<const std::byte>(request, length))) throw std::runtime_error("bind");
    kernel.settle();
    auto made = queues::maker::make({.socket = *std::move(socket)}, {.number = number});
    if (!made) throw std::runtime_error(made.error().message());
    return *std::move(made);
  }
  bool readable(const queue& q) {
    kernel.settle();
    pollfd watched{.fd = q.fd(), .events = POLLIN, .revents = 0};
    return ::poll(&watched, 1, 0) == 1;
  }
  void arrive() {
    const netlink::byte_vector bytes(20, std::byte{0x45});
    ASSERT_TRUE(kernel.queue_packet({.queue = number, .family = 2, .payload = bytes}));
  }
  void TearDown() override { sends_that_fail = 0; }

  netlink::scripted_kernel kernel;
};

TEST_F(memory_shortage, stop_tries_again) {
  queue q = open();
  ASSERT_FALSE(q.try_receive());
  sends_that_fail = 1;
  q.stop();
  EXPECT_TRUE(readable(q));
}

TEST_F(memory_shortage, stop_that_woke_nobody_can_be_called_again) {
  queue q = open();
  ASSERT_FALSE(q.try_receive());
  sends_that_fail = 1000;
  q.stop();
  ASSERT_FALSE(readable(q));
  sends_that_fail = 0;
  q.stop();
  EXPECT_TRUE(readable(q));
  EXPECT_TRUE(q.try_receive().error().is(ECANCELED));
}

TEST_F(memory_shortage, serving_goes_on_and_the_verdict_is_sent_with_the_next_call) {
  queue q = open();
  arrive();
  int seen = 0;
  const auto served = serve(q, [&](const packet&) {
    if (++seen == 2) {
      q.stop();
    } else {
      arrive();
      sends_that_fail = 1;
    }
    return verdict::accept();
  });
  EXPECT_TRUE(served) << served.error().message();
  kernel.settle();
  EXPECT_EQ(kernel.verdicts().size(), 2u);
}

TEST_F(memory_shortage, closing_insists) {
  {
    queue q = open();
    arrive();
    const auto got = q.receive();
    ASSERT_TRUE(got);
    sends_that_fail = 2;
    EXPECT_FALSE(q.set_verdict((*got)[0], verdict::accept()));
  }
  kernel.settle();
  ASSERT_EQ(kernel.verdicts().size(), 1u);
  EXPECT_EQ(kernel.verdicts()[0].value, 1u);
}

TEST_F(memory_shortage, event_loop_that_holds_the_last_packet_need_not_call_again) {
  queue q = open();
  arrive();
  arrive();
  const auto got = q.try_receive();
  ASSERT_TRUE(got);
  ASSERT_EQ(got->size(), 2u);
  EXPECT_TRUE(q.set_verdict((*got)[0], verdict::accept()));
  sends_that_fail = 1;
  const auto held = q.hold((*got)[1]);
  ASSERT_TRUE(held);
  kernel.settle();
  EXPECT_EQ(kernel.verdicts().size(), 1u);
}

TEST_F(memory_shortage, stop_whose_answer_found_no_room_is_told_again) {
  queue q = open();
  ASSERT_FALSE(q.try_receive());
  kernel.set_handler([lost = false](const netlink::scripted_request& request) mutable
                     -> std::optional<netlink::scripted_kernel::answers> {
    if (request.type != wire::message_noop || std::exchange(lost, true)) return std::nullopt;
    return netlink::scripted_kernel::answers{};
  });
  arrive();
  before_reading = [&] {
    q.stop();
    kernel.settle();
  };
  const auto got = q.try_receive();
  ASSERT_TRUE(got);
  EXPECT_TRUE(q.set_verdict((*got)[0], verdict::accept()));
  EXPECT_TRUE(readable(q)) << "for whoever waits by it";
  EXPECT_TRUE(q.try_receive().error().is(ECANCELED));
}

// Its copy of the lock is that thread's, which it does not have.
TEST_F(memory_shortage, child_decides_though_a_thread_of_its_parent_was_sending) {
  queue q = open();
  for (int i = 0; i < 3; ++i) arrive();
  const auto got = q.receive();
  ASSERT_TRUE(got);
  ASSERT_EQ(got->size(), 3u);
  auto held = q.hold((*got)[0]);
  auto other = q.hold((*got)[1]);
  ASSERT_TRUE(held && other);
  in_send = stop::wanted;
  std::thread holder([&] {
    EXPECT_TRUE(std::move(*held).set_verdict(verdict::accept()));
    EXPECT_TRUE(q.flush());
  });
  while (in_send != stop::there) ::usleep(100);
  const pid_t child = ::fork();
  if (child == 0) {
    in_send = stop::none;
    ::alarm(10);
    const bool decided =
        q.set_verdict((*got)[2], verdict::accept()) && std::move(*other).set_verdict(verdict::accept());
    ::_exit(decided && q.stats().accepted == 2 ? 0 : 1);
  }
  int status = 1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  in_send = stop::none;
  holder.join();
  EXPECT_EQ(status, 0);
}

TEST_F(memory_shortage, serving_ends_where_it_lasts) {
  queue q = open();
  arrive();
  sends_that_fail = 1000;
  const auto served = serve(q, [](const packet&) { return verdict::accept(); });
  ASSERT_FALSE(served);
  EXPECT_TRUE(served.error().is(ENOBUFS)) << served.error().message();
}

}  // namespace
}  // namespace ipq
