// SPDX-License-Identifier: MIT
// The namespace, its loopback and its one rule.
#include "private_network.hpp"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <vector>

#include "failure.hpp"

namespace bench {
namespace {

void write_map(const char* path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  if (!file) throw unavailable(with_errno(std::string("cannot set up the user namespace: write ") + path));
}

void unshare_network() {
  if (unshare(CLONE_NEWNET) == 0) return;
  const auto uid = std::to_string(geteuid()), gid = std::to_string(getegid());
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    throw unavailable(with_errno("cannot make a private network namespace") +
                      " (run as root, or allow user namespaces: sysctl user.max_user_namespaces, "
                      "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)");
  }
  write_map("/proc/self/setgroups", "deny");
  write_map("/proc/self/uid_map", "0 " + uid + " 1");
  write_map("/proc/self/gid_map", "0 " + gid + " 1");
}

void bring_loopback_up() {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw unavailable(with_errno("cannot open a UDP socket"));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  const int outcome = ioctl(fd, SIOCSIFFLAGS, &request);
  close(fd);
  if (outcome != 0) throw unavailable(with_errno("cannot bring loopback up"));
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 512> part;
  for (ssize_t length; (length = read(fd, part.data(), part.size())) > 0;) {
    text.append(part.data(), static_cast<std::size_t>(length));
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

void enter_private_network() {
  const char* path = std::getenv("PATH");
  setenv("PATH", (std::string(path != nullptr ? path : "/usr/bin:/bin") + ":/usr/sbin:/sbin").c_str(), 1);
  unshare_network();
  bring_loopback_up();
}

void queue_udp(std::uint16_t port) {
  run_program({"iptables-legacy", "-A", "OUTPUT", "-p", "udp", "--dport", std::to_string(port), "-j", "QUEUE"},
              "the kernel needs the filter table of iptables-legacy");
}

void run_program(const std::vector<std::string>& words, const std::string& needs) {
  // iptables takes a lock on a file of the machine, where an ordinary user may not write: give it one without a name.
  const int lock = memfd_create("xtables.lock", 0);
  if (lock < 0) throw failure(with_errno("memfd_create"));
  setenv("XTABLES_LOCKFILE", ("/proc/self/fd/" + std::to_string(lock)).c_str(), 1);

  std::string command;
  std::vector<char*> arguments;
  for (const auto& word : words) {
    command += (command.empty() ? "" : " ") + word;
    arguments.push_back(const_cast<char*>(word.c_str()));
  }
  arguments.push_back(nullptr);

  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw failure(with_errno("pipe"));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  pid_t child = 0;
  errno = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  const int spawned = errno;
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  const std::string said = read_all(ends[0]);
  close(ends[0]);
  int status = 0;
  if (spawned == 0) waitpid(child, &status, 0);
  close(lock);

  if (spawned == ENOENT) throw unavailable(words[0] + " is missing (Debian, Ubuntu: apt install iptables iproute2)");
  if (spawned != 0) throw failure("cannot start " + words[0] + ": " + std::string(std::strerror(spawned)));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw unavailable(command + ": " + said + " (" + needs + ")");
  }
}

std::optional<queue_counters> read_queue_counters(std::uint16_t queue) {
  std::ifstream file("/proc/thread-self/net/netfilter/nfnetlink_queue");
  if (!file) return std::nullopt;
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::uint64_t number = 0, portid = 0, mode = 0, range = 0;
    queue_counters counters;
    fields >> number >> portid >> counters.waiting >> mode >> range >> counters.dropped_full >> counters.dropped_user;
    if (fields && number == queue) return counters;
  }
  throw failure("queue " + std::to_string(queue) + " is missing in /proc/net/netfilter/nfnetlink_queue");
}

}  // namespace bench
