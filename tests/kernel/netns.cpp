// SPDX-License-Identifier: MIT
#include "netns.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "process.hpp"
#include "traffic.hpp"

namespace kernel_tests {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

void say_why_aborted(int signal, siginfo_t* info, void*) {
  static constexpr std::string_view late = "the watchdog of network_test: the test hangs\n";
  if (info->si_code == SI_TIMER) static_cast<void>(write(STDERR_FILENO, late.data(), late.size()));
  raise(signal);
}

bool write_file(const char* path, const std::string& text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(fd);
  return written;
}

bool may_force_buffers() {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  int size = 4096;
  bool forced = setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) == 0;
  close(fd);
  return forced;
}

std::string missing_because;

rights find_rights() {
  netns before = netns::current();
  if (unshare(CLONE_NEWNET) == 0) {
    if (setns(before.fd(), CLONE_NEWNET) != 0) fail("return to the first network namespace");
    return may_force_buffers() ? rights::global_root : rights::namespaced;
  }
  const std::string uid = std::to_string(geteuid()), gid = std::to_string(getegid());
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    missing_because = std::string{"no right to make a network namespace, nor a user namespace: "} + strerror(errno) +
                      "; run as root, or allow unprivileged user namespaces";
    return rights::missing;
  }
  if (!write_file("/proc/self/setgroups", "deny") || !write_file("/proc/self/uid_map", "0 " + uid + " 1") ||
      !write_file("/proc/self/gid_map", "0 " + gid + " 1")) {
    missing_because = std::string{"a user namespace, but no right to map ids in it: "} + strerror(errno);
    return rights::missing;
  }
  return rights::namespaced;
}

bool environment_says(const char* name) {
  const char* value = getenv(name);
  return value != nullptr && strcmp(value, "true") == 0;
}

// iptables wants one lock for the machine. Each process here has rule tables of its own, so it gets a lock of its own,
// in a file that a program with fewer rights can open, too.
class private_lock {
 public:
  private_lock() {
    const int file = mkstemp(path_);
    if (file < 0) fail("make a lock file for iptables");
    close(file);
    setenv("XTABLES_LOCKFILE", path_, 1);
  }
  private_lock(const private_lock&) = delete;
  private_lock& operator=(const private_lock&) = delete;
  ~private_lock() {
    if (getpid() == maker_) unlink(path_);
  }

 private:
  char path_[32] = "/tmp/ipq_xtables_lock_XXXXXX";
  pid_t maker_ = getpid();
};

void use_private_lock() {
  static const private_lock lock;
}

std::string link_script(const char* device, std::string_view mac, std::string_view address, std::string_view address6,
                        std::string_view peer, std::string_view peer6, std::string_view peer_mac) {
  const std::string name = device;
  std::string script = "link set lo up\n";
  script += "link set " + name + " address " + std::string{mac} + " addrgenmode none up\n";
  script += "addr add " + std::string{address} + "/24 dev " + name + "\n";
  script += "addr add " + std::string{address6} + "/64 dev " + name + " nodad\n";
  for (auto neighbour : {peer, peer6})
    script += "neigh add " + std::string{neighbour} + " lladdr " + std::string{peer_mac} + " nud permanent dev " +
              name + "\n";
  return script;
}

}  // namespace

netns netns::current() {
  int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("open /proc/thread-self/ns/net");
  return netns{fd};
}

netns netns::create() {
  netns before = current();
  if (unshare(CLONE_NEWNET) != 0) fail("make a network namespace");
  netns made = current();
  if (setns(before.fd(), CLONE_NEWNET) != 0) fail("return from the new network namespace");
  return made;
}

netns::~netns() {
  if (fd_ >= 0) close(fd_);
}

inside::inside(const netns& there) : back_(netns::current()) {
  if (setns(there.fd(), CLONE_NEWNET) != 0) fail("enter a network namespace");
}

inside::~inside() {
  if (setns(back_.fd(), CLONE_NEWNET) != 0) {
    perror("leave a network namespace");
    abort();
  }
}

rights rights_of_process() {
  static const rights found = find_rights();
  return found;
}

bool queue_counters_are_shown() {
  return access("/proc/thread-self/net/netfilter/nfnetlink_queue", R_OK) == 0;
}

const std::string& why_rights_are_missing() {
  return missing_because;
}

network_test::network_test() {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGABRT;
  if (timer_create(CLOCK_MONOTONIC, &event, &watchdog_) != 0) fail("make a timer");
  struct sigaction told {};
  told.sa_sigaction = say_why_aborted;
  told.sa_flags = SA_SIGINFO | static_cast<int>(SA_RESETHAND);
  sigaction(SIGABRT, &told, nullptr);
  // Before ctest loses its patience, which would not end children: after 50 s as a rule.
  const itimerspec once{{}, {3 * patience.count() + 5, 0}};
  timer_settime(watchdog_, 0, &once, nullptr);
}

network_test::~network_test() {
  timer_delete(watchdog_);
  if (origin_ && setns(origin_->fd(), CLONE_NEWNET) != 0) perror("leave the network of a test");
}

void network_test::SetUp() {
  if (rights_of_process() == rights::missing) {
    if (environment_says("CI")) FAIL() << why_rights_are_missing();
    GTEST_SKIP() << why_rights_are_missing();
  }
  use_private_lock();
  near_ = netns::create();
  far_ = netns::create();
  origin_ = netns::current();
  if (setns(near_->fd(), CLONE_NEWNET) != 0) fail("enter the near network namespace");
  const std::string far_path = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(far_->fd());
  must_run("ip -batch -",
           "link add near0 type veth peer name far0 netns " + far_path + "\n" +
               link_script("near0", near_mac, near_address, near_address6, far_address, far_address6, far_mac));
  in(*far_, [] {
    return must_run("ip -batch -",
                    link_script("far0", far_mac, far_address, far_address6, near_address, near_address6, near_mac));
  });
  wait_for_link();
}

void network_test::wait_for_path(const netns& from, std::string_view from_address, const netns& to,
                                 std::string_view to_address) {
  constexpr uint16_t discard = 9;
  const udp_socket sender{from, from_address, discard}, receiver{to, to_address, discard};
  wait_until("a path between the namespaces", [&] {
    sender.send(to_address, discard, "");
    return receiver.receive_now().has_value();
  });
}

void network_test::wait_for_link() const {
  for (auto [near, far] : {std::pair{near_address, far_address}, {near_address6, far_address6}}) {
    wait_for_path(*near_, near, *far_, far);
    wait_for_path(*far_, far, *near_, near);
  }
}

void network_test::iptables(std::string_view rule) {
  must_run("iptables-legacy -w " + std::string{rule});
}

void network_test::ip6tables(std::string_view rule) {
  must_run("ip6tables-legacy -w " + std::string{rule});
}

bool network_test::global_root(std::string_view what_for) {
  if (rights_of_process() == rights::global_root) return true;
  auto reason = "needs root outside of any user namespace: " + std::string{what_for};
  [&] {
    if (environment_says("CI") && !environment_says("IPQ_TEST_USER_NAMESPACE")) FAIL() << reason;
    GTEST_SKIP() << reason;
  }();
  return false;
}

}  // namespace kernel_tests
