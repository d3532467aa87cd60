// SPDX-License-Identifier: MIT
// The benchmark program: its scenarios and their rounds.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <numeric>
#include <span>
#include <string_view>

#include "failure.hpp"
#include "machine.hpp"
#include "options.hpp"
#include "private_network.hpp"
#include "report.hpp"

namespace bench {
namespace {

class progress {
 public:
  ~progress() {
    if (terminal_) std::cerr << "\r\033[K" << std::flush;
  }
  void show(unsigned round, unsigned rounds, const std::string& what) const {
    if (terminal_) std::cerr << "\rround " << round + 1 << " of " << rounds << ", " << what << " \033[K" << std::flush;
  }

 private:
  bool terminal_ = isatty(STDERR_FILENO) == 1;
};

// The scenarios that the rounds are made of, as far as they are wanted and possible.
class programme {
 public:
  programme(const options& wanted, const ground& on, const std::vector<int>& cpus, circumstances& around)
      : wanted_(wanted), around_(around) {
    add([&](scenarios& to) { add_drains_of_libipq(to, on, wanted.sizes); });
    add([&](scenarios& to) { add_drains(to, on); });
    add([&](scenarios& to) { add_flood(to, on); });
    add([&](scenarios& to) { add_bulk(to, on, cpus); });
    add([&](scenarios& to) { add_exchange(to, on); });
    add([&](scenarios& to) { add_workers(to, on); });
    add([&](scenarios& to) { add_held(to, on); });
    add([&](scenarios& to) { add_decode(to, on); });
#ifdef IPQ_COMMAND
    add([&](scenarios& to) { add_command(to, on); });
    add([&](scenarios& to) { add_delay(to, on); });
    add([&](scenarios& to) { add_rules(to, on); });
#else
    around.left_out.emplace_back("the ipq command, which was not built");
#endif
    add([&](scenarios& to) { add_captures(to, on, wanted.capture); });
    if (scenarios_.empty()) throw std::invalid_argument("no scenario matches '" + wanted.scenario + "'");
    if (on.other_cpu < 0) around.left_out.emplace_back("what needs a second CPU");
  }

  std::vector<outcome> run() {
    std::vector<outcome> outcomes;
    for (const auto& scenario : scenarios_) {
      const auto chosen = choose(*scenario);
      if (chosen.empty()) continue;
      scenario->prepare(chosen);
      auto& outcome = outcomes.emplace_back();
      outcome.of = scenario.get();
      for (const auto index : chosen) outcome.runs.push_back({index, {}});
    }
    const progress progress;
    // Round 0 warms up and does not count.
    for (unsigned round = 0; round <= wanted_.rounds; ++round) {
      std::size_t at = 0;
      for (const auto& scenario : scenarios_) {
        if (choose(*scenario).empty()) continue;
        const unsigned most = scenario->what().most_rounds;
        if (most != 0 && (round == 0 || round > most)) {
          ++at;
          continue;
        }
        progress.show(round, wanted_.rounds + 1, scenario->what().name);
        auto& runs = outcomes[at++].runs;
        for (const auto index : order_of_round(runs.size(), round)) {
          auto sample = scenario->run(runs[index].contestant);
          if (round > 0) runs[index].samples.push_back(std::move(sample));
        }
      }
    }
    return outcomes;
  }

 private:
  template <class Add>
  void add(const Add& append) {
    scenarios found;
    try {
      append(found);
    } catch (const unavailable& reason) {
      around_.left_out.emplace_back(reason.what());
    }
    for (auto& one : found) {
      const auto name = one->what().table + ": " + one->what().name;
      if (name.find(wanted_.scenario) != std::string::npos) scenarios_.push_back(std::move(one));
    }
  }

  std::vector<std::size_t> choose(const scenario& scenario) const {
    const auto& names = scenario.what().contestants;
    std::vector<std::size_t> chosen;
    for (std::size_t index = 0; index < names.size(); ++index) {
      if (wanted_.only.empty() || names[index] == wanted_.only) chosen.push_back(index);
    }
    return chosen;
  }

  // In every round another order: who runs after whom must not matter. Six rounds see all orders of three.
  static std::vector<std::size_t> order_of_round(std::size_t count, unsigned round) {
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    for (unsigned step = 0; step < round; ++step) std::next_permutation(order.begin(), order.end());
    return order;
  }

  const options& wanted_;
  circumstances& around_;
  scenarios scenarios_;
};

int choose_cpu(const options& wanted, const std::vector<int>& allowed) {
  // The first one often serves the machine's interrupts.
  if (wanted.cpu < 0) return allowed.back();
  if (std::find(allowed.begin(), allowed.end(), wanted.cpu) == allowed.end()) {
    throw failure("CPU " + std::to_string(wanted.cpu) + " is not there, or not for us");
  }
  return wanted.cpu;
}

void measure(const options& wanted) {
  circumstances around;
  around.packets = wanted.packets;
  around.rounds = wanted.rounds;
  around.kernel = kernel_release();
  around.processor = processor();
  around.load_before = load();
  // What the caller's environment says to libipq programs must not bend the comparison.
  for (const char* name : {"LIBIPQ_QUEUE", "LIBIPQ_QUEUE_IPV6", "LIBIPQ_MAX_LENGTH", "LIBIPQ_FAIL_OPEN", "LIBIPQ_DEBUG",
                           "LIBIPQ_BATCH", "LIBIPQ_SOURCE"}) {
    unsetenv(name);
  }
  std::ofstream json;
  if (!wanted.json.empty()) {
    json.open(wanted.json);
    if (!json) throw failure(with_errno("cannot write " + wanted.json));
  }

  enter_private_network();
  const auto allowed = allowed_cpus();
  around.cpu = choose_cpu(wanted, allowed);
  run_on({around.cpu});
  const auto other = std::find_if(allowed.begin(), allowed.end(), [&](int cpu) { return cpu != around.cpu; });
  const sink sink;
  queue_udp(sink.port());
  sender sender(sink.port());
  const ground ground{sink, sender, wanted.packets, around.cpu, other == allowed.end() ? -1 : *other};
  programme programme(wanted, ground, allowed, around);
  const auto outcomes = programme.run();
  around.load_after = load();

  print_tables(std::cout, around, outcomes);
  if (json.is_open()) {
    print_json(json, around, outcomes);
    json.close();
    if (!json) throw failure(with_errno("cannot write " + wanted.json));
  }
}

}  // namespace
}  // namespace bench

int main(int count, char** words) {
  try {
    const std::span words_after(words + 1, words + count);
    if (count > 1 && std::string_view(words[1]) == bench::apart) return bench::judge_apart(words_after.subspan(1));
    const auto wanted = bench::read_options(count, words);
    if (wanted.help) {
      std::cout << bench::usage;
    } else {
      bench::measure(wanted);
    }
    return 0;
  } catch (const std::invalid_argument& error) {
    std::cerr << "bench_ipq: " << error.what() << "\n\n" << bench::usage;
    return 2;
  } catch (const bench::unavailable& error) {
    std::cerr << "bench_ipq: " << error.what() << '\n';
    return 77;
  } catch (const std::exception& error) {
    std::cerr << "bench_ipq: " << error.what() << '\n';
    return 1;
  }
}
