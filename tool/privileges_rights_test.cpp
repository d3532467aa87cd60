// SPDX-License-Identifier: MIT
#include "privileges.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <functional>
#include <string>
#include <thread>

#include "ipq/queue.hpp"
#include "kernel/child.hpp"
#include "kernel/flow.hpp"

namespace tool {
namespace {

class few_rights : public kernel_tests::flow_test {};

struct attempt {
  const char* what;
  std::function<long()> call;  ///< -1 and errno
};

// Each attempt is made by a process with few rights; it says what came of it.
std::string try_all(const std::vector<attempt>& attempts) {
  kernel_tests::child tried([&](const kernel_tests::child::line& to) {
    if (!drop_capabilities() || !restrict_system_calls()) return to.say("could not give up rights");
    std::string said;
    for (const auto& [what, call] : attempts) {
      errno = 0;
      const long result = call();
      said += std::string(what) + (result == -1 ? errno == EPERM ? " refused; " : " error; " : " done; ");
    }
    to.say(said);
  });
  return tried.hear();
}

TEST_F(few_rights, other_calls_fail) {
  const pid_t self = getpid();
  const std::string said = try_all({
      {"execve", [] { return execl("/bin/true", "true", nullptr); }},
      {"fork", []() -> long { return fork(); }},
      {"socket", [] { return socket(AF_INET, SOCK_DGRAM, 0); }},
      {"connect",
       [] {
         sockaddr to{};
         return connect(0, &to, sizeof to);
       }},
      {"bind",
       [] {
         sockaddr to{};
         return bind(0, &to, sizeof to);
       }},
      {"open to write", [] { return open("/dev/null", O_WRONLY); }},
      {"create", [] { return open("/tmp/ipq_few_rights", O_RDONLY | O_CREAT, 0600); }},
      {"unlink", [] { return unlink("/tmp/ipq_few_rights"); }},
      {"mkdir", [] { return mkdir("/tmp/ipq_few_rights", 0700); }},
      {"kill", [self] { return kill(self, 0); }},
      {"tgkill", [self] { return tgkill(self, self, 0); }},
      {"ptrace", [self] { return ptrace(PTRACE_ATTACH, self, nullptr, nullptr); }},
      {"map code",
       [] {
         return mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1L : 0L;
       }},
      {"setuid", [] { return setuid(1); }},
      {"unshare", [] { return unshare(CLONE_NEWNET); }},
      {"chroot", [] { return chroot("/"); }},
  });
  EXPECT_EQ(
      said,
      "execve refused; fork refused; socket refused; connect refused; bind refused; open to write refused; create "
      "refused; unlink refused; mkdir refused; kill refused; tgkill refused; ptrace refused; map code refused; setuid "
      "refused; "
      "unshare refused; chroot refused; ");
}

TEST_F(few_rights, what_serving_takes_works) {
  EXPECT_EQ(try_all({
                {"open to read", [] { return open("/proc/self/status", O_RDONLY); }},
                {"thread",
                 [] {
                   std::thread([] {}).join();
                   return 0L;
                 }},
                {"signal to itself", [] { return tgkill(getpid(), gettid(), 0); }},
                {"memory", [] { return std::string(64 << 20, 'x').size() == 0 ? -1L : 0L; }},
            }),
            "open to read done; thread done; signal to itself done; memory done; ");
}

TEST_F(few_rights, queue_that_was_opened_before_is_served_by_any_thread) {
  kernel_tests::child server([](const kernel_tests::child::line& to) {
    auto queue = ipq::queue::open({.number = 5});
    if (!queue || !drop_capabilities() || !restrict_system_calls()) return to.say("could not begin");
    to.say("ready");
    std::thread([&] {
      static_cast<void>(ipq::serve(*queue, [served = 0, &queue](const ipq::packet&) mutable {
        if (++served == 2) queue->stop();
        return ipq::verdict::accept();
      }));
    }).join();
    to.say(std::to_string(queue->stats().accepted) + " accepted");
  });
  ASSERT_EQ(server.hear(), "ready");
  flow4().rule("-A OUTPUT", "NFQUEUE --queue-num 5");
  for (const char* each : {"one", "two"}) {
    flow4().send(each);
    EXPECT_EQ(flow4().arrived(), each);
  }
  EXPECT_EQ(server.hear(), "2 accepted");
}

// One filter for all threads, also those that are there already.
TEST_F(few_rights, threads_that_were_there_before) {
  EXPECT_EQ(try_all({{"second filter", [] { return restrict_system_calls() ? 0L : (errno = EPERM, -1L); }}}),
            "second filter refused; ");
  kernel_tests::child tried([](const kernel_tests::child::line& to) {
    std::atomic<bool> go = false;
    long result = 0;
    std::thread before([&] {
      while (!go) std::this_thread::yield();
      result = socket(AF_INET, SOCK_DGRAM, 0);
    });
    const bool restricted = drop_capabilities() && restrict_system_calls();
    go = true;
    before.join();
    to.say(restricted && result == -1 ? "refused" : "done");
  });
  EXPECT_EQ(tried.hear(), "refused");
}

}  // namespace
}  // namespace tool
