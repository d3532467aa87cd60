// SPDX-License-Identifier: MIT
#include "machine.hpp"

#include <sched.h>
#include <sys/utsname.h>

#include <fstream>
#include <string_view>

#include "failure.hpp"

namespace bench {
namespace {

std::string first_line(const char* path, std::string_view key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with(key)) continue;
    const auto colon = key.empty() ? std::string::npos : line.find(": ");
    return colon == std::string::npos ? line : line.substr(colon + 2);
  }
  return "unknown";
}

}  // namespace

std::vector<int> allowed_cpus() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) throw failure(with_errno("sched_getaffinity"));
  std::vector<int> result;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) result.push_back(cpu);
  }
  return result;
}

void run_on(const std::vector<int>& cpus) {
  cpu_set_t wanted;
  CPU_ZERO(&wanted);
  for (const int cpu : cpus) CPU_SET(cpu, &wanted);
  if (sched_setaffinity(0, sizeof wanted, &wanted) != 0) throw failure(with_errno("sched_setaffinity"));
}

std::string kernel_release() {
  utsname names{};
  uname(&names);
  return names.release;
}

std::string processor() {
  return first_line("/proc/cpuinfo", "model name");
}

std::string load() {
  const auto line = first_line("/proc/loadavg", "");
  return line.substr(0, line.find(' '));
}

companion::companion(std::vector<int> cpus, std::function<void(const std::stop_token&)> work)
    : thread_([this, cpus = std::move(cpus), work = std::move(work)](const std::stop_token& end) {
        try {
          run_on(cpus);
          work(end);
        } catch (...) {
          thrown_ = std::current_exception();
        }
      }) {}

void companion::join() {
  thread_.request_stop();
  thread_.join();
  if (thrown_) std::rethrow_exception(thrown_);
}

}  // namespace bench
