// SPDX-License-Identifier: MIT
// Sockets, as far as they need no rights: pairs, and netlink sockets that ask nothing of the kernel.
#include "netlink/socket.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
// A cancelled thread does not clean the shadow of its stack, which AddressSanitizer then uses for a signal stack's
// sake.
extern "C" __attribute__((visibility("default"))) const char* __asan_default_options() {
  return "use_sigaltstack=0";
}
#endif

namespace ipq::netlink {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto patience = 10s;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::pair<socket, socket> pair() {
  auto opened = open_pair();
  EXPECT_TRUE(opened);
  return *std::move(opened);
}

socket netlink_socket(int protocol = NETLINK_ROUTE, std::uint32_t groups = 0) {
  auto opened = kernel().open(protocol, groups);
  EXPECT_TRUE(opened) << opened.error().message();
  return *std::move(opened);
}

/// What one look finds, as text.
std::string received_now(const socket& from, std::size_t room = 100) {
  std::string buffer(room, '\0');
  const auto received = from.receive(std::as_writable_bytes(std::span(buffer)), waiting::not_at_all);
  if (!received) return received.error().message();
  buffer.resize(received->length);
  return buffer;
}

bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}
bool is_close_on_exec(int fd) {
  return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}
bool is_readable(int fd) {
  pollfd watched{fd, POLLIN, 0};
  return ::poll(&watched, 1, 0) == 1;
}

int option_of(const socket& of, int level, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  EXPECT_EQ(::getsockopt(of.fd(), level, option, &value, &size), 0);
  return value;
}

/// SIGUSR1 has a handler, with or without SA_RESTART, as long as this lives.
class handled_signal {
 public:
  explicit handled_signal(
      int flags, void (*handler)(int) = [](int) { ++count_; }) {
    count_ = 0;
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    ::sigaction(SIGUSR1, &action, &before_);
  }
  ~handled_signal() { ::sigaction(SIGUSR1, &before_, nullptr); }
  handled_signal(const handled_signal&) = delete;
  handled_signal& operator=(const handled_signal&) = delete;
  static int count() { return count_; }

 private:
  static inline std::atomic<int> count_ = 0;
  struct sigaction before_ {};
};

/// Sends SIGUSR1 to the thread that made it, again and again until it is gone.
class signaller {
 public:
  signaller()
      : thread_([this, target = ::pthread_self()] {
          while (!done_) {
            std::this_thread::sleep_for(2ms);
            ::pthread_kill(target, SIGUSR1);
          }
        }) {}
  ~signaller() {
    done_ = true;
    thread_.join();
  }
  signaller(const signaller&) = delete;
  signaller& operator=(const signaller&) = delete;

 private:
  std::atomic<bool> done_ = false;
  std::thread thread_;
};

// ---- opening and owning

TEST(socket, from_the_kernel_is_ready_for_a_queue) {
  const socket opened = netlink_socket(NETLINK_NETFILTER);
  EXPECT_TRUE(opened);
  EXPECT_NE(opened.port_id(), 0u);
  EXPECT_TRUE(is_close_on_exec(opened.fd()));
  EXPECT_EQ(option_of(opened, SOL_NETLINK, NETLINK_NO_ENOBUFS), 1);
  EXPECT_EQ(option_of(opened, SOL_NETLINK, NETLINK_CAP_ACK), 1);
  EXPECT_EQ(option_of(opened, SOL_NETLINK, NETLINK_EXT_ACK), 1);
  EXPECT_EQ(option_of(opened, SOL_SOCKET, SO_PROTOCOL), NETLINK_NETFILTER);
  EXPECT_EQ(opened.drops(), 0u);
}

TEST(socket, that_hears_announcements_is_told_of_a_loss) {
  const socket opened = netlink_socket(NETLINK_ROUTE, RTMGRP_LINK);
  EXPECT_EQ(option_of(opened, SOL_NETLINK, NETLINK_NO_ENOBUFS), 0);
  sockaddr_nl address{};
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(opened.fd(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  EXPECT_EQ(address.nl_groups, std::uint32_t{RTMGRP_LINK});
}

/// Whether a socket of this protocol can still be bound to the port id.
bool is_free(int protocol, std::uint32_t port_id) {
  const socket another(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  sockaddr_nl address{.nl_family = AF_NETLINK, .nl_pad = 0, .nl_pid = port_id, .nl_groups = 0};
  return ::bind(another.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

TEST(socket, that_is_no_queues_leaves_the_process_id_to_the_program) {
  const auto own = static_cast<std::uint32_t>(::getpid());
  const socket questions = netlink_socket(NETLINK_ROUTE), announcements = netlink_socket(NETLINK_ROUTE, RTMGRP_LINK);
  EXPECT_GE(questions.port_id(), 0x8000'0000u) << "no process has such a number";
  EXPECT_NE(questions.port_id(), announcements.port_id());
  EXPECT_FALSE(is_free(NETLINK_ROUTE, questions.port_id()));
  EXPECT_TRUE(is_free(NETLINK_ROUTE, own));
  EXPECT_EQ(netlink_socket(NETLINK_NETFILTER).port_id(), own) << "as the original's h->local.nl_pid";
}

TEST(socket, takes_another_port_id_where_its_own_is_taken) {
  // The numbers that sockets are told apart by are handed out in order, to each processor its own.
  cpu_set_t before, here;
  ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
  CPU_ZERO(&here);
  CPU_SET(static_cast<unsigned>(::sched_getcpu()), &here);
  ASSERT_EQ(::sched_setaffinity(0, sizeof here, &here), 0);
  const auto first_choice = [](const socket& of, std::uint64_t more = 0) {
    return 0x8000'0000 | (static_cast<std::uint32_t>(of.identity() + more) & 0x3fff'ffff);
  };
  bool met = false;
  for (int attempt = 0; attempt < 100 && !met; ++attempt) {
    std::vector<socket> taken;
    for (int i = 0; i < 200; ++i) taken.emplace_back(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    for (std::size_t i = 0; i < taken.size(); ++i) {
      sockaddr_nl address{};
      address.nl_family = AF_NETLINK;
      address.nl_pid = first_choice(taken.back(), i + 1);
      static_cast<void>(::bind(taken[i].fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address));
    }
    errno = EXDEV;
    const socket opened = netlink_socket(NETLINK_ROUTE);
    EXPECT_EQ(errno, EXDEV);
    EXPECT_GE(opened.port_id(), 0x8000'0000u);
    met = opened.port_id() != first_choice(opened);
  }
  EXPECT_TRUE(met);
  ASSERT_EQ(::sched_setaffinity(0, sizeof before, &before), 0);
}

TEST(socket, of_an_unknown_protocol_is_an_error_with_its_operation) {
  const auto opened = kernel().open(31);
  ASSERT_FALSE(opened);
  EXPECT_TRUE(opened.error().is(EPROTONOSUPPORT));
  EXPECT_EQ(opened.error().message(), "open netlink socket: Protocol not supported");
}

TEST(socket, opening_leaves_errno_alone) {
  errno = EXDEV;
  const socket opened = netlink_socket(NETLINK_NETFILTER);
  EXPECT_EQ(errno, EXDEV);
}

TEST(socket, empty_one_is_none) {
  const socket none;
  EXPECT_FALSE(none);
  EXPECT_EQ(none.fd(), -1);
  errno = EXDEV;
  EXPECT_EQ(none.port_id(), 0u);
  EXPECT_EQ(none.drops(), 0u);
  EXPECT_EQ(none.receive_buffer(), 0u);
  EXPECT_EQ(errno, EXDEV);
}

TEST(socket, closes_what_it_owns_and_keeps_errno) {
  int fd = -1;
  errno = EXDEV;
  {
    const auto [one, other] = pair();
    fd = one.fd();
    EXPECT_TRUE(is_open(fd));
  }
  EXPECT_EQ(errno, EXDEV);
  EXPECT_FALSE(is_open(fd));
}

TEST(socket, moves) {
  auto [one, other] = pair();
  const int fd = one.fd(), other_fd = other.fd();
  socket moved = std::move(one);
  EXPECT_EQ(moved.fd(), fd);
  EXPECT_FALSE(one);
  moved = std::move(other);
  EXPECT_EQ(moved.fd(), other_fd);
  EXPECT_TRUE(is_open(other_fd));
}

TEST(socket, assignment_closes_what_was_there) {
  auto [one, other] = pair();
  const int fd = one.fd();
  one = socket();
  EXPECT_FALSE(is_open(fd));
  EXPECT_FALSE(one);
}

TEST(socket, duplicate_refers_to_the_same) {
  auto [one, other] = pair();
  {
    const auto copy = one.duplicate();
    ASSERT_TRUE(copy);
    EXPECT_NE(copy->fd(), one.fd());
    EXPECT_TRUE(is_close_on_exec(copy->fd()));
    ASSERT_TRUE(other.send(bytes_of("hello")));
    EXPECT_EQ(received_now(*copy), "hello");
  }
  ASSERT_TRUE(other.send(bytes_of("still")));
  EXPECT_EQ(received_now(one), "still");
  const socket netlink = netlink_socket();
  EXPECT_EQ(netlink.duplicate()->port_id(), netlink.port_id());
}

TEST(socket, duplicate_of_none_is_an_error) {
  const auto copy = socket().duplicate();
  ASSERT_FALSE(copy);
  EXPECT_TRUE(copy.error().is(EBADF));
}

TEST(socket, replace_keeps_the_number_and_changes_the_meaning) {
  auto [one, other] = pair();
  auto [two, another] = pair();
  const int fd = one.fd(), used_up = two.fd();
  ASSERT_TRUE(one.replace(std::move(two)));
  EXPECT_EQ(one.fd(), fd);
  EXPECT_TRUE(is_close_on_exec(fd));
  EXPECT_FALSE(two);
  EXPECT_FALSE(is_open(used_up));
  ASSERT_TRUE(another.send(bytes_of("new")));
  EXPECT_EQ(received_now(one), "new");
  const auto lost = other.send(bytes_of("old"));
  ASSERT_FALSE(lost);
  EXPECT_TRUE(lost.error().is(EPIPE));
}

TEST(socket, replace_by_none_is_an_error_and_changes_nothing) {
  auto [one, other] = pair();
  const auto replaced = one.replace(socket());
  ASSERT_FALSE(replaced);
  EXPECT_TRUE(replaced.error().is(EBADF));
  ASSERT_TRUE(other.send(bytes_of("hello")));
  EXPECT_EQ(received_now(one), "hello");
}

TEST(socket, pair_keeps_the_bounds_of_messages) {
  const auto [one, other] = pair();
  EXPECT_TRUE(is_close_on_exec(one.fd()));
  EXPECT_TRUE(is_close_on_exec(other.fd()));
  EXPECT_EQ(one.port_id(), 0u);
  ASSERT_TRUE(one.send(bytes_of("first")));
  ASSERT_TRUE(one.send(bytes_of("second")));
  EXPECT_EQ(received_now(other), "first");
  EXPECT_EQ(received_now(other), "second");
  EXPECT_EQ(received_now(other), "receive: Resource temporarily unavailable");
}

// ---- sending

TEST(socket, parts_make_one_datagram) {
  const auto [one, other] = pair();
  std::string head = "head,", body = "body,", tail = "tail";
  const std::array parts{iovec{head.data(), head.size()}, iovec{body.data(), body.size()},
                         iovec{tail.data(), tail.size()}};
  ASSERT_TRUE(one.send(parts));
  EXPECT_EQ(received_now(other), "head,body,tail");
}

TEST(socket, datagram_larger_than_the_send_buffer_is_refused) {
  const socket netlink = netlink_socket();
  const std::vector<std::byte> large(static_cast<std::size_t>(option_of(netlink, SOL_SOCKET, SO_SNDBUF)) + 1);
  const auto sent = netlink.send(large);
  ASSERT_FALSE(sent);
  EXPECT_TRUE(sent.error().is(EMSGSIZE));
  EXPECT_EQ(sent.error().message(), "send: Message too long");
}

TEST(socket, sending_to_nobody_is_no_signal) {
  auto [one, other] = pair();
  other = socket();
  const auto sent = one.send(bytes_of("x"));
  ASSERT_FALSE(sent);
  EXPECT_TRUE(sent.error().is(EPIPE));
}

TEST(socket, signals_do_not_end_sending) {
  for (const bool in_parts : {false, true}) {
    auto [one, other] = pair();
    const handled_signal handled(0);
    std::thread reader;
    std::vector<std::byte> datagram(1000);
    const iovec whole{datagram.data(), datagram.size()};
    int sent = 0;
    {
      const signaller signals;
      reader = std::thread([from = &other] {
        std::this_thread::sleep_for(30ms);
        std::byte buffer[1000];
        for (int i = 0; i < 1000; ++i) EXPECT_TRUE(from->receive(buffer, waiting::until_something_comes));
      });
      // More than fits: it waits among signals.
      while (sent < 1000 && (in_parts ? one.send(std::span(&whole, 1)) : one.send(datagram))) ++sent;
    }
    one = socket();  // lets the reader end in any case
    reader.join();
    EXPECT_EQ(sent, 1000);
    EXPECT_GT(handled_signal::count(), 0);
  }
}

// A receive that waits held a lock that send wanted.
TEST(regress, mdlayher_netlink_waiting_receive_does_not_block_send) {
  const auto [one, other] = pair();
  std::atomic<bool> received = false;
  std::thread waiter([&, from = &one] {
    std::byte buffer[100];
    received = from->receive(buffer, waiting::until_something_comes).has_value();
  });
  std::this_thread::sleep_for(20ms);  // lets it wait; if it does not yet, the test is merely weaker
  EXPECT_TRUE(one.send(bytes_of("sent meanwhile")));
  EXPECT_EQ(received_now(other), "sent meanwhile");
  EXPECT_FALSE(received);
  ASSERT_TRUE(other.send(bytes_of("end")));
  waiter.join();
  EXPECT_TRUE(received);
}

// ---- receiving

TEST(regress, datagram_that_is_cut_short_is_told) {
  const auto [one, other] = pair();
  ASSERT_TRUE(one.send(bytes_of("longer than the buffer")));
  ASSERT_TRUE(one.send(bytes_of("fits")));
  std::array<std::byte, 6> buffer{};
  const auto cut = other.receive(buffer, waiting::not_at_all);
  ASSERT_TRUE(cut);
  EXPECT_TRUE(cut->truncated);
  EXPECT_EQ(cut->length, 6u);
  const auto whole = other.receive(buffer, waiting::not_at_all);
  ASSERT_TRUE(whole);
  EXPECT_FALSE(whole->truncated);
  EXPECT_EQ(whole->length, 4u);
}

// A reader that reads ahead lets select() sleep on a descriptor whose packets it holds.
TEST(regress, receive_takes_one_datagram_and_leaves_the_rest_to_select) {
  const auto [one, other] = pair();
  for (const char* text : {"1", "2", "3"}) ASSERT_TRUE(one.send(bytes_of(text)));
  for (const char* text : {"1", "2", "3"}) {
    EXPECT_TRUE(is_readable(other.fd()));
    EXPECT_EQ(received_now(other), text);
  }
  EXPECT_FALSE(is_readable(other.fd()));
}

TEST(socket, end_of_the_other_side_is_a_length_of_0) {
  auto [one, other] = pair();
  ASSERT_TRUE(other.send(bytes_of("last words")));
  other = socket();
  EXPECT_EQ(received_now(one), "last words");
  std::byte buffer[10];
  for (const auto how : {waiting::not_at_all, waiting::until_something_comes}) {
    const auto ended = one.receive(buffer, how);
    ASSERT_TRUE(ended);
    EXPECT_EQ(ended->length, 0u);
  }
}

TEST(socket, signal_without_restart_ends_receiving) {
  const auto [one, other] = pair();
  const handled_signal handled(0);
  const signaller signals;
  std::byte buffer[10];
  const auto received = one.receive(buffer, waiting::until_something_comes);
  ASSERT_FALSE(received);
  EXPECT_TRUE(received.error().is(EINTR));
}

TEST(socket, signal_with_restart_does_not_end_receiving) {
  const auto [one, other] = pair();
  const handled_signal handled(SA_RESTART);
  const signaller signals;
  std::thread sender([&, to = &other] {
    std::this_thread::sleep_for(30ms);
    EXPECT_TRUE(to->send(bytes_of("at last")));
  });
  std::byte buffer[10];
  const auto received = one.receive(buffer, waiting::until_something_comes);
  sender.join();
  ASSERT_TRUE(received) << received.error().message();
  EXPECT_EQ(received->length, 7u);
  EXPECT_GT(handled_signal::count(), 0);
}

sigjmp_buf out_of_receive;

TEST(socket, signal_handler_may_leave_receiving_by_longjmp) {
  const auto [one, other] = pair();
  const handled_signal handled(0, [](int) { siglongjmp(out_of_receive, 1); });
  timer_t timer;
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR1;
  ASSERT_EQ(::timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
  if (sigsetjmp(out_of_receive, 1) == 0) {
    const itimerspec soon{{0, 0}, {0, 20'000'000}};
    ::timer_settime(timer, 0, &soon, nullptr);
    std::byte buffer[10];
    const auto received = one.receive(buffer, waiting::until_something_comes);
    ADD_FAILURE() << "receive returned " << received.has_value();
  }
  ::timer_delete(timer);
  ASSERT_TRUE(other.send(bytes_of("works")));
  EXPECT_EQ(received_now(one), "works");
}

TEST(socket, thread_may_be_cancelled_while_it_receives) {
  const auto [one, other] = pair();
  pthread_t thread;
  ASSERT_EQ(::pthread_create(
                &thread, nullptr,
                [](void* from) -> void* {
                  std::byte buffer[10];
                  const auto received =
                      static_cast<const socket*>(from)->receive(buffer, waiting::until_something_comes);
                  return received ? from : nullptr;
                },
                const_cast<socket*>(&one)),
            0);
  ::pthread_cancel(thread);
  void* ended_with = nullptr;
  ASSERT_EQ(::pthread_join(thread, &ended_with), 0);
  EXPECT_EQ(ended_with, PTHREAD_CANCELED);
  ASSERT_TRUE(other.send(bytes_of("works")));
  EXPECT_EQ(received_now(one), "works");
}

TEST(regress, message_that_did_not_come_from_the_kernel_is_refused) {
  const socket one = netlink_socket(NETLINK_USERSOCK), stranger = netlink_socket(NETLINK_USERSOCK);
  sockaddr_nl to{};
  to.nl_family = AF_NETLINK;
  to.nl_pid = one.port_id();
  constexpr std::string_view text = "I am the kernel";  // for this protocol it takes no rights to send that
  errno = 0;
  EXPECT_EQ(::sendto(stranger.fd(), text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  EXPECT_FALSE(is_readable(one.fd()));
  EXPECT_EQ(received_now(one), "receive: Resource temporarily unavailable");
}

TEST(socket, peek_leaves_the_datagram) {
  const auto [one, other] = pair();
  ASSERT_TRUE(one.send(bytes_of("beginning and end")));
  std::array<std::byte, 9> buffer{};
  for (int i = 0; i < 2; ++i) {
    const auto peeked = other.peek(buffer);
    ASSERT_TRUE(peeked);
    EXPECT_EQ(peeked->length, 9u);
    EXPECT_TRUE(peeked->truncated);
    EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(buffer.data()), 9), "beginning");
  }
  EXPECT_EQ(received_now(other), "beginning and end");
  const auto nothing = other.peek(buffer);
  ASSERT_FALSE(nothing);
  EXPECT_TRUE(nothing.error().is(EAGAIN));
}

// ---- waiting

TEST(socket, waits_until_something_comes) {
  const auto [one, other] = pair();
  std::thread sender([&, to = &other] {
    std::this_thread::sleep_for(20ms);
    EXPECT_TRUE(to->send(bytes_of("x")));
  });
  EXPECT_TRUE(one.wait_readable(steady_clock::now() + patience));
  EXPECT_TRUE(one.wait_readable(steady_clock::time_point::max()));
  sender.join();
}

TEST(socket, waits_no_longer_than_it_may) {
  const auto [one, other] = pair();
  const auto begin = steady_clock::now();
  for (const auto deadline :
       {begin + 30ms, begin, begin - 1h, steady_clock::time_point::min(), steady_clock::time_point{}}) {
    const auto ready = one.wait_readable(deadline);
    ASSERT_FALSE(ready);
    EXPECT_TRUE(ready.error().is(ETIMEDOUT));
  }
  EXPECT_GE(steady_clock::now() - begin, 30ms);
}

TEST(socket, past_deadline_still_looks) {
  const auto [one, other] = pair();
  ASSERT_TRUE(other.send(bytes_of("x")));
  EXPECT_TRUE(one.wait_readable(steady_clock::now() - 1s));
}

TEST(socket, any_signal_ends_waiting) {
  const auto [one, other] = pair();
  for (const int flags : {0, SA_RESTART}) {
    const handled_signal handled(flags);
    const signaller signals;
    const auto ready = one.wait_readable(steady_clock::now() + patience);
    ASSERT_FALSE(ready);
    EXPECT_TRUE(ready.error().is(EINTR));
  }
}

// ---- options

TEST(socket, receive_buffer_is_what_was_set) {
  const socket netlink = netlink_socket();
  const std::size_t set = netlink.set_receive_buffer(100'000);
  EXPECT_EQ(set, 100'000u);
  EXPECT_EQ(netlink.receive_buffer(), set);
  EXPECT_EQ(option_of(netlink, SOL_SOCKET, SO_RCVBUF), 100'000);
}

TEST(socket, send_buffer_is_what_was_set) {
  const socket netlink = netlink_socket();
  EXPECT_EQ(netlink.set_send_buffer(100'000), 100'000u);
  EXPECT_EQ(option_of(netlink, SOL_SOCKET, SO_SNDBUF), 100'000);
}

TEST(socket, buffer_of_any_size_may_be_asked_for) {
  const socket netlink = netlink_socket();
  const std::size_t large = netlink.set_receive_buffer(~std::size_t{0});
  EXPECT_GE(large, 212'992u);
  EXPECT_EQ(large, netlink.receive_buffer());
  const std::size_t small = netlink.set_receive_buffer(0);
  EXPECT_GT(small, 0u);
  EXPECT_LT(small, 212'992u);
}

TEST(socket, time_stamps_are_asked_for_by_an_option) {
  const socket netlink = netlink_socket(NETLINK_NETFILTER);
  EXPECT_EQ(option_of(netlink, SOL_SOCKET, SO_TIMESTAMP), 0);
  EXPECT_TRUE(netlink.set_timestamps(true));
  EXPECT_EQ(option_of(netlink, SOL_SOCKET, SO_TIMESTAMP), 1);
  EXPECT_TRUE(netlink.set_timestamps(false));
  EXPECT_EQ(option_of(netlink, SOL_SOCKET, SO_TIMESTAMP), 0);
  const auto none = socket().set_timestamps(true);
  ASSERT_FALSE(none);
  EXPECT_TRUE(none.error().is(EBADF));
}

int signalled_fd;

TEST(socket, replace_keeps_who_is_signalled_and_how) {
  auto [one, other] = pair();
  auto [two, another] = pair();
  const int signal = SIGRTMIN + 3;
  struct sigaction noting {
  }, before{};
  noting.sa_sigaction = [](int, siginfo_t* info, void*) { signalled_fd = info->si_fd; };
  noting.sa_flags = SA_SIGINFO;
  sigaction(signal, &noting, &before);
  const f_owner_ex owner{F_OWNER_TID, ::gettid()};
  ASSERT_EQ(::fcntl(one.fd(), F_SETOWN_EX, &owner), 0);
  ASSERT_EQ(::fcntl(one.fd(), F_SETSIG, signal), 0);
  ASSERT_EQ(::fcntl(one.fd(), F_SETFL, O_ASYNC | O_NONBLOCK), 0);
  const socket copy = one.duplicate().value();
  ASSERT_TRUE(one.replace(std::move(two)));
  f_owner_ex now{};
  ASSERT_EQ(::fcntl(one.fd(), F_GETOWN_EX, &now), 0);
  EXPECT_EQ(now.type, owner.type);
  EXPECT_EQ(now.pid, owner.pid);
  EXPECT_EQ(::fcntl(one.fd(), F_GETSIG), signal);
  EXPECT_EQ(::fcntl(one.fd(), F_GETFL) & (O_ASYNC | O_NONBLOCK), O_ASYNC | O_NONBLOCK);
  EXPECT_EQ(::fcntl(copy.fd(), F_GETFL) & O_ASYNC, 0) << "what is read elsewhere signals nobody";
  signalled_fd = -1;
  ASSERT_TRUE(another.send(bytes_of("new")));
  ::usleep(1);  // ThreadSanitizer runs handlers where something is waited for
  EXPECT_EQ(signalled_fd, one.fd());
  ::fcntl(one.fd(), F_SETFL, 0);
  sigaction(signal, &before, nullptr);
}

}  // namespace
}  // namespace ipq::netlink
