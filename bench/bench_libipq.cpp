// SPDX-License-Identifier: MIT
// The benchmark program: its rounds, and the machine it runs on.
#include <linux/netfilter.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <numeric>

#include "failure.hpp"
#include "options.hpp"
#include "private_network.hpp"
#include "report.hpp"

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

std::string load() {
  const auto line = first_line("/proc/loadavg", "");
  return line.substr(0, line.find(' '));
}

int pin_to_cpu(int wanted) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) throw failure(with_errno("sched_getaffinity"));
  if (wanted < 0) {
    // The first one often serves the machine's interrupts.
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &allowed)) wanted = cpu;
    }
  }
  if (wanted >= CPU_SETSIZE || !CPU_ISSET(wanted, &allowed)) {
    throw failure("CPU " + std::to_string(wanted) + " is not there, or not for us");
  }
  CPU_ZERO(&allowed);
  CPU_SET(wanted, &allowed);
  if (sched_setaffinity(0, sizeof allowed, &allowed) != 0) throw failure(with_errno("sched_setaffinity"));
  return wanted;
}

std::string kernel_release() {
  utsname names{};
  uname(&names);
  return names.release;
}

class progress {
 public:
  ~progress() {
    if (terminal_) std::cerr << "\r\033[K" << std::flush;
  }
  void show(unsigned round, unsigned rounds, unsigned size) const {
    if (terminal_)
      std::cerr << "\rround " << round + 1 << " of " << rounds << ", " << size << " bytes \033[K" << std::flush;
  }

 private:
  bool terminal_ = isatty(STDERR_FILENO) == 1;
};

// In every round another order: who runs after whom must not matter. Six rounds see all orders of three.
std::vector<std::size_t> order_of_round(const std::vector<std::size_t>& all, unsigned round) {
  auto order = all;
  for (unsigned step = 0; step < round; ++step) std::next_permutation(order.begin(), order.end());
  return order;
}

std::vector<series> run_rounds(bench_bed& bed, const options& wanted, circumstances& around) {
  std::vector<std::size_t> all(contestants.size());
  std::iota(all.begin(), all.end(), 0);
  std::erase_if(all, [&](std::size_t index) { return !wanted.only.empty() && contestants[index].name != wanted.only; });

  std::vector<series> runs;
  for (const unsigned size : wanted.sizes) {
    for (const unsigned verdict : {0u + NF_DROP, 0u + NF_ACCEPT}) {
      auto at_once = wanted.packets;
      for (const auto index : all) {
        at_once = std::min(at_once, bed.packets_at_once(contestants[index], size));
        runs.push_back({{size, verdict}, index, {}});
      }
      around.packets_at_once.push_back(at_once);
    }
  }

  const progress progress;
  // Round 0 warms up and does not count.
  for (unsigned round = 0; round <= wanted.rounds; ++round) {
    for (std::size_t first = 0; first < runs.size(); first += all.size()) {
      const auto at_once = around.packets_at_once[first / all.size()];
      progress.show(round, wanted.rounds + 1, runs[first].what.size);
      for (const auto index : order_of_round(all, round)) {
        auto& series = *std::find_if(runs.begin() + static_cast<std::ptrdiff_t>(first), runs.end(),
                                     [&](const auto& one) { return one.contestant == index; });
        const auto sample = bed.run(contestants[index], series.what, at_once);
        if (round > 0) series.samples.push_back(sample);
      }
    }
  }
  return runs;
}

void measure(const options& wanted) {
  circumstances around;
  around.packets = wanted.packets;
  around.rounds = wanted.rounds;
  around.kernel = kernel_release();
  around.processor = first_line("/proc/cpuinfo", "model name");
  around.load_before = load();
  // What the caller's environment says to libipq programs must not bend the comparison.
  for (const char* name :
       {"LIBIPQ_QUEUE", "LIBIPQ_QUEUE_IPV6", "LIBIPQ_MAX_LENGTH", "LIBIPQ_FAIL_OPEN", "LIBIPQ_DEBUG"}) {
    unsetenv(name);
  }
  std::ofstream json;
  if (!wanted.json.empty()) {
    json.open(wanted.json);
    if (!json) throw failure(with_errno("cannot write " + wanted.json));
  }

  enter_private_network();
  around.cpu = pin_to_cpu(wanted.cpu);
  const sink sink;
  queue_udp(sink.port());
  bench_bed bed(sink, wanted.packets);
  const auto runs = run_rounds(bed, wanted, around);
  around.load_after = load();

  print_table(std::cout, around, runs);
  if (json.is_open()) {
    print_json(json, around, runs);
    json.close();
    if (!json) throw failure(with_errno("cannot write " + wanted.json));
  }
}

}  // namespace
}  // namespace bench

int main(int count, char** words) {
  try {
    const auto wanted = bench::read_options(count, words);
    if (wanted.help) {
      std::cout << bench::usage;
    } else {
      bench::measure(wanted);
    }
    return 0;
  } catch (const std::invalid_argument& error) {
    std::cerr << "bench_libipq: " << error.what() << "\n\n" << bench::usage;
    return 2;
  } catch (const bench::unavailable& error) {
    std::cerr << "bench_libipq: " << error.what() << '\n';
    return 77;
  } catch (const std::exception& error) {
    std::cerr << "bench_libipq: " << error.what() << '\n';
    return 1;
  }
}
