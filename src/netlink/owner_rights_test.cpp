// SPDX-License-Identifier: MIT
// Who owns a queue, and who may, on the real kernel.
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <string>

#include "kernel/child.hpp"
#include "kernel/netns.hpp"
#include "netlink/counters.hpp"
#include "netlink/owner.hpp"
#include "netlink/request.hpp"
#include "unit/without_capability.hpp"
#include "wire/config.hpp"

namespace ipq::netlink {
namespace {

using kernel_tests::child;
using namespace std::chrono_literals;

/// A socket that owns the queue.
socket bound_socket(std::uint16_t queue) {
  auto opened = kernel().open(NETLINK_NETFILTER);
  if (!opened) throw std::runtime_error(opened.error().message());
  alignas(4) std::byte request[wire::max_config_size];
  const std::size_t length = wire::encode_config({.queue = queue,
                                                  .acknowledge = true,
                                                  .sequence = 1,
                                                  .command = wire::config_command::bind,
                                                  .copy = {{wire::copy_mode::packet, 1234}}},
                                                 request);
  stash others;
  const auto bound = execute(*opened, std::span(request).first(length), 1, "bind queue",
                             std::chrono::steady_clock::now() + 10s, others);
  if (!bound) throw std::runtime_error(bound.error().message());
  return *std::move(opened);
}

void become_nobody() {
  // The kernel's file is readable for the group of root as well.
  constexpr unsigned nobody = 65534;
  if (::setgroups(0, nullptr) != 0 || ::setresgid(nobody, nobody, nobody) != 0 ||
      ::setresuid(nobody, nobody, nobody) != 0) {
    throw std::runtime_error("can't become an ordinary user");
  }
}

using queue_ownership = kernel_tests::network_test;

TEST_F(queue_ownership, free_queue_has_no_owner) {
  if (!global_root("reading /proc/net/netfilter")) return;
  EXPECT_FALSE(find_queue_owner(0));
  const socket another = bound_socket(1);
  EXPECT_FALSE(find_queue_owner(0));
}

TEST_F(queue_ownership, own_queue_is_ours) {
  if (!global_root("reading /proc/net/netfilter")) return;
  const socket ours = bound_socket(3);
  const auto owner = find_queue_owner(3);
  ASSERT_TRUE(owner);
  EXPECT_EQ(owner->port_id, ours.port_id());
  EXPECT_EQ(owner->pid, ::getpid());
  char name[16];
  ASSERT_EQ(::prctl(PR_GET_NAME, name), 0);
  EXPECT_EQ(owner->command, name);
}

TEST_F(queue_ownership, another_process_is_named_until_it_ends) {
  if (!global_root("reading /proc/net/netfilter")) return;
  child holder([](const child::line& line) {
    ::prctl(PR_SET_NAME, "odd (name) 7");
    const socket theirs = bound_socket(65535);
    line.say(std::to_string(theirs.port_id()));
    line.wait_for_go();
  });
  const std::string port_id = holder.hear();
  const auto owner = find_queue_owner(65535);
  ASSERT_TRUE(owner);
  EXPECT_EQ(std::to_string(owner->port_id), port_id);
  EXPECT_EQ(owner->pid, holder.pid());
  EXPECT_EQ(owner->command, "odd (name) 7");
  holder.end_by(SIGKILL);
  EXPECT_FALSE(find_queue_owner(65535));
}

// Names end up on terminals, and root of a container gives his processes any.
TEST_F(queue_ownership, name_of_another_process_cannot_steer_a_terminal) {
  if (!global_root("reading /proc/net/netfilter")) return;
  child holder([](const child::line& line) {
    ::prctl(PR_SET_NAME, "a\x1b[31m\nb\xc2\x9b\x7f");
    const socket theirs = bound_socket(7);
    line.say("bound");
    line.wait_for_go();
  });
  ASSERT_EQ(holder.hear(), "bound");
  EXPECT_EQ(find_queue_owner(7)->command, "a?[31m?b???");
}

// Port ids are chosen per protocol: the same one may be another process's elsewhere.
TEST_F(queue_ownership, is_not_confused_with_a_socket_of_another_protocol) {
  if (!global_root("reading /proc/net/netfilter")) return;
  child holder([](const child::line& line) {
    const socket theirs = bound_socket(0);
    line.say(std::to_string(theirs.port_id()));
    line.wait_for_go();
  });
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_pid = static_cast<std::uint32_t>(std::stoul(holder.hear()));
  const socket routes(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  const socket generic(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC));
  for (const int fd : {routes.fd(), generic.fd()}) {
    ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  EXPECT_EQ(find_queue_owner(0)->pid, holder.pid());
}

TEST_F(queue_ownership, cannot_be_told_by_an_ordinary_user) {
  if (!global_root("becoming an ordinary user")) return;
  const socket ours = bound_socket(0);
  child ordinary([](const child::line& line) {
    become_nobody();
    line.say(find_queue_owner(0) ? "told" : "not told");
  });
  EXPECT_EQ(ordinary.hear(), "not told");
}

TEST_F(queue_ownership, counters_of_the_kernel_are_understood) {
  if (!global_root("reading /proc/net/netfilter")) return;
  EXPECT_TRUE(read_queue_counters()->empty());
  const socket one = bound_socket(2), other = bound_socket(40000);
  const auto queues = read_queue_counters();
  ASSERT_TRUE(queues);
  ASSERT_EQ(queues->size(), 2u);
  for (const auto& each : *queues) {
    EXPECT_EQ(each.port_id, each.queue == 2 ? one.port_id() : other.port_id());
    EXPECT_EQ(each.copy_mode, 2);
    EXPECT_EQ(each.copy_range, 1234u);
    EXPECT_EQ(each.waiting, 0u);
    EXPECT_EQ(each.last_id, 0u);
  }
}

TEST_F(queue_ownership, counters_are_those_of_the_threads_namespace) {
  if (!global_root("reading /proc/net/netfilter")) return;
  const socket near = bound_socket(5);
  const auto there = kernel_tests::in(far_ns(), [] { return read_queue_counters(); });
  ASSERT_TRUE(there);
  EXPECT_TRUE(there->empty());
}

TEST_F(queue_ownership, counters_are_root_s_alone) {
  if (!global_root("becoming an ordinary user")) return;
  child ordinary([](const child::line& line) {
    become_nobody();
    const auto queues = read_queue_counters();
    line.say(queues ? "read" : queues.error().code.message());
  });
  EXPECT_EQ(ordinary.hear(), "Permission denied");
}

using queue_access_rights = kernel_tests::network_test;

TEST_F(queue_access_rights, are_there) {
  EXPECT_TRUE(probe_queue_access(kernel()));
}

TEST_F(queue_access_rights, are_there_while_another_owns_the_queue_and_leave_it_alone) {
  const socket theirs = bound_socket(0);
  EXPECT_TRUE(probe_queue_access(kernel()));
  EXPECT_THROW(bound_socket(0), std::runtime_error);
}

TEST_F(queue_access_rights, are_missing_without_the_capability) {
  const unit_tests::without_net_admin ordinary;
  const auto access = probe_queue_access(kernel());
  ASSERT_FALSE(access);
  EXPECT_TRUE(access.error().is(EPERM));
}

TEST_F(queue_access_rights, are_missing_for_an_ordinary_user) {
  if (!global_root("becoming an ordinary user")) return;
  child ordinary([](const child::line& line) {
    become_nobody();
    const auto access = probe_queue_access(kernel());
    line.say(access ? "allowed" : access.error().message());
  });
  EXPECT_EQ(ordinary.hear(), "ask for access to queues: Operation not permitted");
}

// The capability in a user namespace of one's own is none in the network namespace of another; capget shows no
// difference.
TEST_F(queue_access_rights, follow_the_owner_of_the_namespace) {
  child starter([](const child::line& line) {
    // Not unshare: a process of several threads, as ThreadSanitizer makes it, may not change its own user namespace.
    const auto rootless = static_cast<pid_t>(::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    if (rootless < 0) throw std::runtime_error("no user namespace");
    if (rootless > 0) {
      ::waitpid(rootless, nullptr, 0);
      return;
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const auto old = probe_queue_access(kernel());
    line.say(old ? "allowed" : old.error().code.message());
    if (::unshare(CLONE_NEWNET) != 0) ::_exit(1);
    const auto own = probe_queue_access(kernel());
    line.say(own ? "allowed" : own.error().code.message());
    ::_exit(0);
  });
  EXPECT_EQ(starter.hear(), "Operation not permitted");
  EXPECT_EQ(starter.hear(), "allowed");
  EXPECT_EQ(starter.wait(), 0);
}

}  // namespace
}  // namespace ipq::netlink
