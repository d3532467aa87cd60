// SPDX-License-Identifier: MIT
#include "live_command.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>

#include "ipq_command.hpp"
#include "kernel/process.hpp"

namespace tool_tests {
namespace {

std::string unique_name() {
  static int count = 0;
  return "ipq_test_" + std::to_string(getpid()) + "_" + std::to_string(++count);
}

int bind_manager(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (fd >= 0 && bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

std::vector<std::string> command_line(const std::string& name, const std::vector<std::string>& words,
                                      const std::vector<std::string>& prefix) {
  std::vector<std::string> made{"env", "NOTIFY_SOCKET=@" + name};
  made.insert(made.end(), prefix.begin(), prefix.end());
  made.push_back(command_path());
  made.insert(made.end(), words.begin(), words.end());
  return made;
}

}  // namespace

live_command::live_command(std::vector<std::string> words, std::vector<std::string> prefix)
    : name_(unique_name()),
      manager_(bind_manager(name_), "bind the manager's socket"),
      command_(command_line(name_, words, prefix)) {
  try {
    if (const auto said = notice(); said != "READY=1") throw std::runtime_error("it says " + said);
  } catch (const std::exception& wrong) {
    kill(command_.pid(), SIGKILL);
    throw std::runtime_error(std::string("not ready: ") + wrong.what() + "\n" + command_.wait().output);
  }
}

std::string live_command::notice() const {
  pollfd readable{manager_.get(), POLLIN, 0};
  char text[512];
  if (poll(&readable, 1, static_cast<int>(std::chrono::milliseconds(kernel_tests::patience).count())) != 1) {
    throw std::runtime_error("it says nothing");
  }
  const auto size = recv(manager_.get(), text, sizeof text, 0);
  if (size < 0) throw std::system_error(errno, std::generic_category(), "receive a notice");
  return std::string(text, static_cast<std::size_t>(size));
}

void live_command::signal(int number) const {
  if (kill(command_.pid(), number) != 0) throw std::system_error(errno, std::generic_category(), "kill");
  if (number == SIGSTOP) kernel_tests::wait_until("every thread has stopped", [this] { return is_stopped(); });
}

bool live_command::is_stopped() const {
  for (const auto& each : std::filesystem::directory_iterator("/proc/" + std::to_string(pid()) + "/task")) {
    std::ifstream file(each.path() / "stat");
    const std::string stat((std::istreambuf_iterator<char>(file)), {});
    if (stat.find(") T ") == std::string::npos) return false;
  }
  return true;
}

void live_command::stop() const {
  signal(SIGSTOP);
  siginfo_t stopped{};
  // The signal takes effect on its own time: until then its threads still work.
  while (waitid(P_PID, static_cast<id_t>(command_.pid()), &stopped, WSTOPPED) != 0) {
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "waitid");
  }
}

kernel_tests::outcome live_command::interrupt() {
  signal(SIGINT);
  return end();
}

std::string queue_rules() {
  using kernel_tests::run;
  return run({"sh", "-c",
              "for i in iptables-legacy ip6tables-legacy; do $i-save | grep NFQUEUE; done; nft list ruleset "
              "2>/dev/null | grep "
              "queue; true"})
      .output;
}

}  // namespace tool_tests
