// SPDX-License-Identifier: MIT
#include "firewall/program.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace tool::firewall {
namespace {

/// A file without a name.
class memory_file {
 public:
  memory_file() : fd_(::memfd_create("ipq", MFD_CLOEXEC)) {}
  memory_file(const memory_file&) = delete;
  memory_file& operator=(const memory_file&) = delete;
  ~memory_file() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int fd() const { return fd_; }

  [[nodiscard]] bool write(std::string_view text) const {
    while (!text.empty()) {
      const auto written = ::write(fd_, text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(written));
    }
    return ::lseek(fd_, 0, SEEK_SET) == 0;
  }

  [[nodiscard]] std::string read() const {
    std::string text;
    char part[4096];
    for (;;) {
      const auto length = ::pread(fd_, part, sizeof part, static_cast<off_t>(text.size()));
      if (length < 0 && errno == EINTR) continue;
      if (length <= 0) return text;
      text.append(part, static_cast<std::size_t>(length));
    }
  }

 private:
  int fd_;
};

/// iptables takes a lock for the machine, in a file that root of a user namespace can't open. Its tables are its own,
/// so any file does.
bool machine_lock_is_usable() {
  const int fd = ::open("/run/xtables.lock", O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

/// execvp() says EACCES also where a folder before those of the program, or of all there are, can't be looked into.
bool is_in(std::string_view folders, const std::string& name) {
  while (!folders.empty()) {
    const auto folder = folders.substr(0, folders.find(':'));
    folders.remove_prefix(std::min(folder.size() + 1, folders.size()));
    if (::access(fmt::format("{}/{}", folder, name).c_str(), F_OK) == 0) return true;
  }
  return false;
}

}  // namespace

program_result run_program(const std::vector<std::string>& words, std::string_view input, int inherited) {
  const memory_file in, out;
  if (in.fd() < 0 || out.fd() < 0 || !in.write(input)) {
    return {126, fmt::format("no memory for what {} reads and writes: {}", words[0], std::strerror(errno))};
  }
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const char* path = std::getenv("PATH");
  const std::string folders = fmt::format("{}:/usr/sbin:/sbin:/usr/bin:/bin", path != nullptr ? path : "");
  const bool own_lock = std::getenv("XTABLES_LOCKFILE") == nullptr && !machine_lock_is_usable();

  const pid_t child = ::fork();
  if (child < 0) return {126, fmt::format("start {}: {}", words[0], std::strerror(errno))};
  if (child == 0) {
    // What runs under a lock is not to be torn by the terminal's Ctrl-C, which its parent deals with.
    ::setpgid(0, 0);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    const auto give_up = [&] {
      const int error = errno == EACCES && !is_in(folders, words[0]) ? ENOENT : errno;
      if (error != ENOENT) static_cast<void>(::dprintf(out.fd(), "%s", std::strerror(error)));
      ::_exit(error == ENOENT ? 127 : 126);
    };
    // Away from the numbers that are about to be taken.
    const int kept = inherited >= 0 && inherited < 3 ? ::fcntl(inherited, F_DUPFD, 3) : inherited;
    if (inherited >= 0 && kept < 0) give_up();
    ::dup2(in.fd(), 0);
    ::dup2(out.fd(), 1);
    ::dup2(out.fd(), 2);
    ::close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    if (kept >= 0) ::fcntl(kept, F_SETFD, 0);
    ::setenv("PATH", folders.c_str(), 1);
    ::setenv("LC_ALL", "C", 1);
    if (own_lock) ::setenv("XTABLES_LOCKFILE", "/proc/self/fd/0", 1);
    ::execvp(argv[0], argv.data());
    give_up();
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  program_result result{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), out.read()};
  if (result.status == 127 && result.output.empty()) result.output = not_installed;
  return result;
}

}  // namespace tool::firewall
