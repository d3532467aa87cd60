// SPDX-License-Identifier: MIT
#include "process.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "command.hpp"

namespace kernel_tests {
namespace {

// Files that are numbers, and the descriptor by which they were read.
std::vector<int> numbered_entries(const std::string& directory, int& own) {
  DIR* dir = opendir(directory.c_str());
  if (dir == nullptr) throw std::system_error(errno, std::generic_category(), directory);
  std::vector<int> numbers;
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_name[0] == '.') continue;
    int number = std::stoi(entry->d_name);
    numbers.push_back(number);
  }
  own = dirfd(dir);
  closedir(dir);
  return numbers;
}

std::string task_file(pid_t thread, const char* name) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

std::set<int> open_descriptors(pid_t process) {
  int looking = -1;
  const auto numbers = numbered_entries("/proc/" + (process == 0 ? "self" : std::to_string(process)) + "/fd", looking);
  std::set<int> descriptors(numbers.begin(), numbers.end());
  if (process == 0) descriptors.erase(looking);
  return descriptors;
}

std::vector<pid_t> threads() {
  int looking = -1;
  return numbered_entries("/proc/self/task", looking);
}

uint64_t blocked_signals(pid_t thread) {
  const std::string status = task_file(thread, "status");
  const auto at = status.find("SigBlk:");
  if (at == std::string::npos) throw std::runtime_error("no thread " + std::to_string(thread));
  return std::stoull(status.substr(at + 7), nullptr, 16);
}

void wait_until_asleep(pid_t thread) {
  wait_until("a sleeping thread", [&] {
    const std::string stat = task_file(thread, "stat");
    const auto at = stat.rfind(')');
    return at != std::string::npos && stat.substr(at + 2, 1) == "S";
  });
}

std::string standard_error_of(const std::function<void()>& f) {
  int file = memfd_create("standard error", MFD_CLOEXEC);
  int kept = fcntl(2, F_DUPFD_CLOEXEC, 3);
  if (file < 0 || kept < 0) throw std::system_error(errno, std::generic_category(), "redirect standard error");
  fflush(stderr);
  dup2(file, 2);
  std::exception_ptr failure;
  try {
    f();
  } catch (...) {
    failure = std::current_exception();
  }
  fflush(stderr);
  dup2(kept, 2);
  close(kept);
  std::string written(static_cast<size_t>(lseek(file, 0, SEEK_END)), '\0');
  if (pread(file, written.data(), written.size(), 0) != static_cast<ssize_t>(written.size()))
    throw std::system_error(errno, std::generic_category(), "read what was written to standard error");
  close(file);
  if (failure) std::rethrow_exception(failure);
  return written;
}

void drop_all_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2]{};
  if (syscall(SYS_capset, &header, none) != 0) throw std::runtime_error("capset");
}

void wait_until(const char* what, const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) throw std::runtime_error(std::string{"not in time: "} + what);
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
}

}  // namespace kernel_tests
