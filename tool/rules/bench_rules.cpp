// SPDX-License-Identifier: MIT
// What rules cost: one rule against a thousand, with and without the index, and address sets of a million entries.
// Ends with 1 if a promise is broken: a thousand port rules at most 3 times one, a set loaded in 2 s and 64 MB, a
// lookup in 200 ns.
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "address_set.hpp"
#include "compiled.hpp"
#include "engine.hpp"
#include "random.hpp"
#include "test_packets.hpp"

namespace ipq::tool::rules {
namespace {

// Processor time, since other programs may run.
double now_in_ns() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

bool kept = true;

void promise(bool is_kept, const std::string& what) {
  fmt::print("{} {}\n", is_kept ? "  ok  " : "BROKEN", what);
  kept = kept && is_kept;
}

// The median of several rounds, in nanoseconds a call.
template <class Call>
double measure(std::size_t calls, const Call& call) {
  std::vector<double> rounds;
  for (int round = 0; round < 9; ++round) {
    const double begin = now_in_ns();
    for (std::size_t each = 0; each < calls; ++each) call(each);
    rounds.push_back((now_in_ns() - begin) / static_cast<double>(calls));
  }
  std::ranges::nth_element(rounds, rounds.begin() + 4);
  return rounds[4];
}

ruleset compile(const std::string& text) {
  auto made = ruleset::compile(source{"bench", text});
  if (!made) {
    std::fputs(render(made.error()).c_str(), stderr);
    std::exit(1);
  }
  return std::move(*made);
}

// TCP and UDP over both families, to ports of which the rules name some.
std::vector<std::vector<std::byte>> make_traffic() {
  std::vector<std::vector<std::byte>> traffic;
  random numbers(1, 0);
  const std::string payload(400, 'x');
  for (int each = 0; each < 512; ++each) {
    packet_plan plan;
    if (each % 4 == 3) plan.source = "2001:db8::1", plan.destination = "2001:db8::2";
    plan.protocol = each % 2 == 0 ? ip_protocol::tcp : ip_protocol::udp;
    plan.source_port = static_cast<std::uint16_t>(30000 + numbers.below(30000));
    plan.destination_port = static_cast<std::uint16_t>(numbers.below(3000));
    plan.payload = payload;
    traffic.push_back(make_bytes(plan));
  }
  return traffic;
}

double judge_cost(const std::string& text, const std::vector<std::vector<std::byte>>& traffic) {
  engine judge(compile(text));
  std::vector<packet> packets;
  for (const auto& bytes : traffic) packets.push_back(make_packet(bytes));
  std::uint64_t drops = 0;
  const double cost = measure(200'000, [&](std::size_t each) {
    drops += judge.judge(packets[each % packets.size()], time(static_cast<time::rep>(each))).verdict.value() == 0;
  });
  if (drops == ~std::uint64_t{0}) std::puts("");
  return cost;
}

std::string port_rules(int count, const char* filter) {
  std::string text;
  for (int each = 0; each < count; ++each) {
    text += fmt::format("drop : {} {}\n", filter, each * 3 % 3001 + 1);
  }
  return text;
}

void compare_rules() {
  const auto traffic = make_traffic();
  for (const char* filter : {"port", "tcp dst port", "udp port"}) {
    const double one = judge_cost(port_rules(1, filter), traffic);
    const double thousand = judge_cost(port_rules(1000, filter), traffic);
    const double by_turns = [&] {
      std::vector<ruleset> each;
      const ruleset all = compile(port_rules(1000, filter));
      std::vector<packet> packets;
      for (const auto& bytes : traffic) packets.push_back(make_packet(bytes));
      std::size_t matched = 0;
      return measure(512, [&](std::size_t at) {
        const auto& rules = all.rules().rules;
        const auto found = std::ranges::find_if(
            rules, [&](const rule& one_of) { return one_of.when.matches(packets[at % packets.size()], {}); });
        matched += found != rules.end();
      });
    }();
    promise(thousand <= 3 * one,
            fmt::format("'{} N': 1 rule {:.0f} ns, 1000 rules {:.0f} ns ({:.2f} times); one by one "
                        "they would cost {:.0f} ns",
                        filter, one, thousand, thousand / one, by_turns));
  }
  fmt::print("       accept without a filter: {:.0f} ns\n", judge_cost("accept", traffic));
}

long resident_kilobytes() {
  long pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * sysconf(_SC_PAGESIZE) / 1024;
}

long peak_kilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

template <class Address>
Address random_address(random& numbers) {
  Address made;
  for (auto& byte : made.bytes) byte = static_cast<std::uint8_t>(numbers.next());
  return made;
}

template <class Address>
void load_set(const char* kind, const std::string& (*write)(const Address&, std::string&)) {
  const auto file = std::filesystem::temp_directory_path() / fmt::format("bench_rules.{}", getpid());
  {
    random numbers(2, 0);
    std::ofstream out(file);
    std::string line;
    for (int each = 0; each < 1'000'000; ++each) out << write(random_address<Address>(numbers), line) << '\n';
  }
  const long before = std::max(resident_kilobytes(), peak_kilobytes());
  const double begin = now_in_ns();
  auto set = address_set::read(file);
  const double took = (now_in_ns() - begin) / 1e9;
  std::filesystem::remove(file);
  if (!set) {
    std::fputs(render(set.error()).c_str(), stderr);
    std::exit(1);
  }
  const long peak = peak_kilobytes() - before;
  promise(took < 2 && peak < 64 * 1000,
          fmt::format("{}: a million entries in {:.2f} s, {} kB at most, {} ranges", kind, took, peak, set->size()));

  // Half of the looked up addresses are in the set.
  std::vector<Address> wanted;
  random again(2, 0), others(3, 0);
  for (int each = 0; each < 1'000'000; ++each) {
    const Address inside = random_address<Address>(again);
    wanted.push_back(each % 2 == 0 ? inside : random_address<Address>(others));
  }
  for (std::size_t each = wanted.size() - 1; each > 0; --each) std::swap(wanted[each], wanted[others.below(each + 1)]);
  std::size_t found = 0;
  const double cost = measure(wanted.size(), [&](std::size_t each) { found += set->contains(wanted[each]); });
  promise(cost < 200 && found > 0, fmt::format("{}: a lookup in {:.0f} ns", kind, cost));
}

// Memory is measured at its peak, so each kind needs a process of its own.
int run(std::string_view what) {
  if (what == "rules") {
    compare_rules();
  } else if (what == "ipv4") {
    load_set<ipv4_address>(
        "IPv4, PeerGuardian", [](const ipv4_address& address, std::string& line) -> const std::string& {
          return line = "An Organisation, its name:" + address.to_string() + "-" + address.to_string();
        });
  } else if (what == "ipv6") {
    load_set<ipv6_address>("IPv6", [](const ipv6_address& address, std::string& line) -> const std::string& {
      return line = address.to_string();
    });
  } else {
    std::fputs("usage: bench_rules [rules | ipv4 | ipv6]\n", stderr);
    return 2;
  }
  return kept ? 0 : 1;
}

}  // namespace
}  // namespace ipq::tool::rules

int main(int argc, char** argv) {
  if (argc == 2) return ipq::tool::rules::run(argv[1]);
  int status = 0;
  for (const char* what : {"rules", "ipv4", "ipv6"}) {
    const auto command = fmt::format("{} {}", std::filesystem::read_symlink("/proc/self/exe").string(), what);
    if (std::system(command.c_str()) != 0) status = 1;
  }
  return status;
}
