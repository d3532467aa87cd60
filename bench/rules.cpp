// SPDX-License-Identifier: MIT
// Rules and address sets without the kernel: a thousand rules beside one, and a million addresses in a set.
#include <arpa/inet.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <ipq/packet.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <string>

#include "failure.hpp"
#include "rules/address_set.hpp"
#include "rules/engine.hpp"
#include "scenario.hpp"

namespace bench {
namespace {

namespace rules = ipq::tool::rules;

rules::ruleset compile(unsigned count) {
  std::string text;
  for (unsigned port = 1; port <= count; ++port) text += "drop : udp dst port " + std::to_string(port) + "\n";
  auto made = rules::ruleset::compile(rules::source{"bench", count == 0 ? "accept\n" : text});
  if (!made) throw failure(rules::render(made.error()));
  return *std::move(made);
}

// UDP over IPv4 to ports of which the rules name a third.
class datagrams {
 public:
  datagrams() {
    std::mt19937 numbers(1);
    for (auto& each : bytes_) {
      each = {std::byte{0x45}};
      each[3] = static_cast<std::byte>(each.size());
      each[8] = std::byte{64};
      each[9] = std::byte{17};
      const std::uint16_t port = htons(static_cast<std::uint16_t>(numbers() % 3000 + 1));
      std::memcpy(each.data() + 22, &port, sizeof port);
      ipq::packet packet{};
      packet.payload = each;
      packet.original_length = static_cast<std::uint32_t>(each.size());
      packets_.push_back(packet);
    }
  }
  const ipq::packet& operator[](std::size_t at) const { return packets_[at % packets_.size()]; }

 private:
  std::array<std::array<std::byte, header_bytes + 64>, 512> bytes_{};
  std::vector<ipq::packet> packets_;
};

class judging final : public scenario {
 public:
  judging(description what, const ground& on) : scenario(std::move(what)), judged_(on.packets * 10) {
    for (const unsigned count : {0u, 1u, 1000u}) engines_.emplace_back(compile(count));
  }

  sample run(std::size_t index) override {
    auto& engine = engines_[index];
    std::uint64_t dropped = 0;
    const stopwatch watch;
    for (std::uint64_t each = 0; each < judged_; ++each) {
      const auto& made = engine.judge(datagrams_[each], std::chrono::nanoseconds(each));
      dropped += made.verdict.what() == ipq::verdict::action::drop;
    }
    const expense spent = watch.stop();
    if ((dropped > judged_ / 4) != (index == 2)) throw failure("the rules did not match what they should");
    return {.packets = judged_,
            .figures = {spent.cpu_seconds / static_cast<double>(judged_) * 1e9},
            .allocations = spent.allocations};
  }

 private:
  std::uint64_t judged_;
  datagrams datagrams_;
  std::vector<rules::engine> engines_;
};

template <class Address>
Address random_address(std::mt19937_64& numbers) {
  Address made;
  for (auto& byte : made.bytes) byte = static_cast<std::uint8_t>(numbers());
  return made;
}

// A file without a name that is a list of addresses. It is written in pieces: memory that was freed here would do for
// the set, and not be seen to grow.
template <class Address>
file_descriptor write_list(std::uint64_t entries, const std::string& prefix) {
  file_descriptor list(memfd_create("addresses", MFD_CLOEXEC));
  if (list.get() < 0) throw failure(with_errno("memfd_create"));
  std::mt19937_64 numbers(2);
  std::string piece;
  for (std::uint64_t each = 0; each < entries; ++each) {
    const auto address = random_address<Address>(numbers).to_string();
    piece += prefix + address + (prefix.empty() ? "" : "-" + address) + '\n';
    if (piece.size() < 60'000 && each + 1 < entries) continue;
    if (write(list.get(), piece.data(), piece.size()) != static_cast<ssize_t>(piece.size())) {
      throw failure(with_errno("cannot write a list of addresses"));
    }
    piece.clear();
  }
  return list;
}

struct set_cost {
  double load_seconds = 0, megabytes = 0, lookup_ns = 0;
  std::uint64_t found = 0;
};

template <class Address>
set_cost cost_of_set(int list, std::uint64_t entries) {
  const auto peak = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_maxrss) / 1000;
  };
  set_cost made;
  const double before = peak();
  const stopwatch loading;
  const auto set = rules::address_set::read("/proc/self/fd/" + std::to_string(list));
  made.load_seconds = loading.stop().cpu_seconds;
  made.megabytes = peak() - before;
  if (!set) throw failure(rules::render(set.error()));

  // Half of these are in the set.
  std::vector<Address> wanted;
  std::mt19937_64 again(2), others(3);
  for (std::uint64_t each = 0; each < entries; ++each) {
    const auto inside = random_address<Address>(again);
    wanted.push_back(each % 2 == 0 ? inside : random_address<Address>(others));
  }
  std::shuffle(wanted.begin(), wanted.end(), others);
  const stopwatch searching;
  for (const auto& each : wanted) made.found += set->contains(each);
  made.lookup_ns = searching.stop().cpu_seconds / static_cast<double>(entries) * 1e9;
  return made;
}

// The peak of memory belongs to a process, so each run has its own.
class address_sets final : public scenario {
 public:
  address_sets(description what, std::uint64_t entries) : scenario(std::move(what)), entries_(entries) {}

  void prepare(const std::vector<std::size_t>&) override {
    lists_.push_back(write_list<ipq::ipv4_address>(entries_, "An Organisation, its name:"));
    lists_.push_back(write_list<ipq::ipv6_address>(entries_, ""));
  }

  sample run(std::size_t index) override {
    std::array<int, 2> ends;
    if (pipe(ends.data()) != 0) throw failure(with_errno("pipe"));
    const file_descriptor ours(ends[0]), theirs(ends[1]);
    const pid_t child = fork();
    if (child == 0) {
      int status = 1;
      try {
        const auto cost = index == 0 ? cost_of_set<ipq::ipv4_address>(lists_[0].get(), entries_)
                                     : cost_of_set<ipq::ipv6_address>(lists_[1].get(), entries_);
        if (write(theirs.get(), &cost, sizeof cost) == sizeof cost) status = 0;
      } catch (...) {
      }
      _exit(status);
    }
    if (child < 0) throw failure(with_errno("fork"));
    int status = 0;
    set_cost cost;
    waitpid(child, &status, 0);
    if (status != 0 || read(ours.get(), &cost, sizeof cost) != sizeof cost) throw failure("no set of addresses");
    // Of the random ones a few are in it by chance.
    if (cost.found < entries_ / 2 || cost.found > entries_ / 2 + entries_ / 1000) {
      throw failure("the set has " + std::to_string(cost.found) + " of the addresses that were looked for");
    }
    return {.packets = entries_, .figures = {cost.lookup_ns, cost.load_seconds, cost.megabytes}};
  }

 private:
  std::uint64_t entries_;
  std::vector<file_descriptor> lists_;
};

}  // namespace

void add_rules(scenarios& to, const ground& on) {
  description judged{.table = "ipq",
                     .name = "rules, without the kernel",
                     .contestants = {"accept", "1 port rule", "1000 port rules"},
                     .figures = {{"CPU per packet, ns", "cpu_ns_per_packet"}},
                     .goals = {{0, 2, 1, goal::kind::at_most, 3}},
                     .counts_allocations = true};
  to.push_back(std::make_unique<judging>(std::move(judged), on));

  const std::uint64_t entries = on.packets * 50;
  description sets{.table = "ipq",
                   .name = "set of " + std::to_string(entries) + " addresses",
                   .contestants = {"IPv4, PeerGuardian", "IPv6"},
                   .figures = {{"CPU per lookup, ns", "cpu_ns_per_lookup"},
                               {"loading it, s", "load_seconds", 2},
                               {"memory, MB", "megabytes", 1}}};
  for (const std::size_t family : {0uz, 1uz}) {
    sets.goals.push_back({0, family, std::nullopt, goal::kind::at_most, 200});
    sets.goals.push_back({1, family, std::nullopt, goal::kind::at_most, 2});
    sets.goals.push_back({2, family, std::nullopt, goal::kind::at_most, 64});
  }
  to.push_back(std::make_unique<address_sets>(std::move(sets), entries));
}

}  // namespace bench
