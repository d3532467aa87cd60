// SPDX-License-Identifier: MIT
// Random traffic of both families through two queues for as long as wanted: ipq run with random rules that are reloaded
// in the near namespace, the C++ library in the far one. In the end every packet is accounted for.
// usage: soak [--for TIME] [--seed N]    TIME as 90, 90s, 10m or 1h; default 20s
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <random>
#include <regex>
#include <stdexcept>

#include "ipq/status.hpp"
#include "judge.hpp"
#include "kernel/process.hpp"
#include "streams.hpp"
#include "tool/live_command.hpp"

namespace soak {
namespace {

using namespace std::chrono_literals;
using kernel_tests::in;
using kernel_tests::must_run;
using kernel_tests::netns;
using kernel_tests::wait_until;
using clock = std::chrono::steady_clock;

volatile sig_atomic_t interrupted = 0;

struct options {
  std::chrono::seconds length{20};
  std::uint64_t seed = std::random_device{}();
};

[[noreturn]] void usage(const std::string& wrong) {
  std::fprintf(stderr, "soak: %s\nusage: ./dev soak [--for TIME] [--seed N]\n", wrong.c_str());
  std::exit(2);
}

options read_options(int argc, char** argv) {
  options read;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    std::smatch parts;
    if (name == "--for" && std::regex_match(value, parts, std::regex("([1-9][0-9]{0,6})([smh]?)"))) {
      const int unit = parts[2] == "h" ? 3600 : parts[2] == "m" ? 60 : 1;
      read.length = std::chrono::seconds(std::stol(parts[1]) * unit);
    } else if (name == "--seed" && std::regex_match(value, std::regex("[0-9]{1,18}"))) {
      read.seed = std::stoull(value);
    } else if (name == "--for" || name == "--seed") {
      usage(name + " '" + value + "': expected " + (name == "--for" ? "a time as 90s, 10m or 1h" : "a number"));
    } else {
      usage("there is no option " + name);
    }
  }
  return read;
}

// The two namespaces, joined, and the rules that feed both queues.
class ground {
 public:
  static constexpr std::uint16_t near_queue = 3, far_queue = 4;

  ground() : near(netns::create()), far(netns::create()), before_(netns::current()) {
    static_cast<void>(::setns(near.fd(), 0));
    const std::string far_path = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(far.fd());
    must_run("ip -batch -", "link add near0 type veth peer name far0 netns " + far_path + "\n" + end("near0", 1, 2));
    rule("OUTPUT -p udp --dport 5000", "OUTPUT -p udp --dport 5000", near_queue);
    rule("OUTPUT -p tcp --dport 5001", "OUTPUT -p tcp --dport 5001", near_queue);
    rule("OUTPUT -p icmp --icmp-type 8", "OUTPUT -p icmpv6 --icmpv6-type 128", near_queue);
    in(far, [] {
      must_run("ip -batch -", end("far0", 2, 1));
      // Fragments are held up, each for itself, while others pass them.
      std::ofstream("/proc/sys/net/ipv4/ipfrag_max_dist") << 0;
      for (const char* command : {"iptables-legacy", "ip6tables-legacy"}) {
        must_run(std::string(command) + " -w -t mangle -A PREROUTING -m mark --mark 0x50a -j ACCEPT");
      }
      rule("PREROUTING -i far0", "PREROUTING -i far0", far_queue);
      return 0;
    });
  }
  ~ground() { static_cast<void>(::setns(before_.fd(), 0)); }

  netns near, far;

 private:
  static std::string end(const std::string& device, int own, int other) {
    const std::string a = std::to_string(own), b = std::to_string(other);
    return "link set lo up\nlink set " + device + " address 02:00:00:00:00:0" + a +
           " addrgenmode none up\naddr add 192.0.2." + a + "/24 dev " + device + "\naddr add 2001:db8::" + a +
           "/64 dev " + device + " nodad\nneigh add 192.0.2." + b + " lladdr 02:00:00:00:00:0" + b +
           " nud permanent dev " + device + "\nneigh add 2001:db8::" + b + " lladdr 02:00:00:00:00:0" + b +
           " nud permanent dev " + device + "\n";
  }
  static void rule(const std::string& of_ipv4, const std::string& of_ipv6, std::uint16_t queue) {
    const std::string target = " -j NFQUEUE --queue-num " + std::to_string(queue);
    must_run("iptables-legacy -w -t mangle -A " + of_ipv4 + target);
    must_run("ip6tables-legacy -w -t mangle -A " + of_ipv6 + target);
  }

  netns before_;
};

// Rules that drop what the traffic marks, and do anything else that loses no other packet but those they count.
std::string random_rules(std::mt19937_64& random) {
  const auto number = [&](unsigned least, unsigned most) { return std::to_string(least + random() % (most - least)); };
  std::string text = "count seen, continue\n";
  const auto maybe = [&](const std::string& line) {
    if (random() % 2 == 0) text += line + "\n";
  };
  text += "drop : udp[8] = 0x64\ndrop : ip6[6] = 17 and ip6[48] = 0x64\n";
  maybe("set ttl " + number(20, 200) + ", continue");
  maybe("set dscp " + number(0, 64) + ", continue : udp or icmp");
  maybe("replace \"soak\" with \"SOAK\", continue");
  maybe("replace \"a\" with \"A\", continue : tcp");
  maybe("mark " + number(1, 1000) + ", continue : udp");
  maybe("loss 0.5%, continue : udp");
  maybe("reorder 5% within " + number(1, 10) + "ms : udp");
  maybe("delay " + number(1, 6) + "ms jitter 1ms : udp or icmp");
  maybe("delay 1ms : tcp");
  maybe("priority 3 : udp");
  return text;
}

// ipq run on the near queue, with rules that change.
class ruler {
 public:
  explicit ruler(std::uint64_t seed) : random_(seed) {
    char name[] = "/tmp/ipq_soak_XXXXXX";
    if (::mkdtemp(name) == nullptr) throw std::runtime_error("no folder");
    folder_ = name;
    write();
    // In a session of its own, so that Ctrl-C is for us alone; what it says goes into a file.
    command_.emplace(std::vector<std::string>{"run", "-f", folder_ + "/rules", "-q", std::to_string(ground::near_queue),
                                              "--gso", "--max-length", "20000", "--seed", std::to_string(seed % 1000)},
                     std::vector<std::string>{"setsid", "sh", "-c", "exec \"$@\" >" + folder_ + "/said 2>&1", "sh"});
  }
  ~ruler() {
    command_.reset();
    std::filesystem::remove_all(folder_);
  }
  void reload() {
    write();
    command_->signal(SIGHUP);
    if (!command_->notice().starts_with("RELOADING=1")) throw std::runtime_error("ipq run does not reload");
    if (const auto said = command_->notice(); !said.ends_with("STATUS=rules loaded")) {
      throw std::runtime_error("ipq run says " + said);
    }
    ++reloads;
  }
  [[nodiscard]] pid_t pid() const { return command_->pid(); }

  struct counts {
    std::uint64_t received = 0, accepted = 0, dropped = 0, lost = 0;
  };
  counts finish() {
    const int status = command_->interrupt().status;
    std::ifstream file(folder_ + "/said");
    const std::string said((std::istreambuf_iterator<char>(file)), {});
    std::smatch found;
    static const std::regex summary("([0-9]+) received, ([0-9]+) accepted, ([0-9]+) dropped.*, ([0-9]+) lost");
    if (status != 0 || !std::regex_search(said, found, summary)) throw std::runtime_error("ipq run ended with " + said);
    return {std::stoull(found[1]), std::stoull(found[2]), std::stoull(found[3]), std::stoull(found[4])};
  }
  std::uint64_t reloads = 0;

 private:
  void write() { std::ofstream(folder_ + "/rules") << random_rules(random_); }

  std::mt19937_64 random_;
  std::string folder_;
  std::optional<tool_tests::live_command> command_;
};

std::size_t resident_kilobytes(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmRSS:")) return std::stoul(line.substr(6));
  }
  return 0;
}

// Packets that wait in a queue of the thread's namespace.
std::uint32_t waiting() {
  std::uint32_t sum = 0;
  if (const auto all = ipq::read_queue_status()) {
    for (const auto& each : *all) sum += each.waiting;
  }
  return sum;
}

// What the kernel of the thread's namespace counts, but for zeros: to see where something was lost.
std::string kernel_counters() {
  std::string text;
  for (const char* name : {"snmp", "snmp6"}) {
    std::ifstream file(std::string("/proc/thread-self/net/") + name);
    text.append(std::istreambuf_iterator<char>(file), {});
  }
  return std::regex_replace(text, std::regex("[A-Za-z0-9]+[ \t]+0\n"), "");
}

int run(const options& wanted) {
  std::printf("soak: seed %llu\n", static_cast<unsigned long long>(wanted.seed));
  std::mt19937_64 random(wanted.seed);
  const auto descriptors = kernel_tests::open_descriptors();
  std::vector<std::string> faults;
  std::string summary;
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds) faults.push_back(what);
  };
  const auto began = clock::now();
  {
    ground at;
    ruler near_rules(random());
    judge far_judge(ground::far_queue, at.far.fd(), random());
    const place ipv4{at.near, at.far, "192.0.2.1", "192.0.2.2"}, ipv6{at.near, at.far, "2001:db8::1", "2001:db8::2"};
    datagrams datagrams4(ipv4, random()), datagrams6(ipv6, random());
    connections connections4(ipv4, random()), connections6(ipv6, random());
    echoes echoes4(ipv4, random()), echoes6(ipv6, random());
    const auto sent = [&] { return std::uint64_t{datagrams4.sent} + datagrams6.sent; };
    const auto arrived = [&] { return std::uint64_t{datagrams4.arrived} + datagrams6.arrived; };

    // What the first second needs is not growth.
    std::optional<std::size_t> memory_before;
    std::optional<std::size_t> descriptors_before;
    const auto memory = [&] {
      return resident_kilobytes(near_rules.pid()) + resident_kilobytes(::getpid()) -
             (datagrams4.memory() + datagrams6.memory()) / 8192;
    };
    const auto open_now = [&] {
      return kernel_tests::open_descriptors(near_rules.pid()).size() + kernel_tests::open_descriptors().size();
    };
    std::size_t most_memory = 0;
    auto next_word = began + 10s;
    while (clock::now() < began + wanted.length && interrupted == 0 && far_judge.error().empty()) {
      std::this_thread::sleep_for(100ms + random() % 300 * 1ms);
      near_rules.reload();
      if (!memory_before && clock::now() > began + wanted.length / 3) {
        memory_before = memory();
        descriptors_before = open_now();
      }
      if (clock::now() < next_word) continue;
      most_memory = std::max(most_memory, memory());
      std::printf("soak: %lld s: %llu datagrams sent, %llu arrived, %llu MiB of TCP, %u echoes, %zu KiB\n",
                  static_cast<long long>((clock::now() - began) / 1s), static_cast<unsigned long long>(sent()),
                  static_cast<unsigned long long>(arrived()),
                  static_cast<unsigned long long>((connections4.bytes + connections6.bytes) >> 20),
                  echoes4.answered + echoes6.answered, memory());
      std::fflush(stdout);
      next_word += 10s;
    }

    for (auto* each : {&datagrams4, &datagrams6}) each->stop();
    for (auto* each : {&connections4, &connections6}) each->stop();
    for (auto* each : {&echoes4, &echoes6}) each->stop();
    // At rest: nothing waits, in neither queue.
    wait_until("the near queue is empty", [] { return waiting() == 0; });
    if (memory_before) {
      require(memory() < *memory_before + 32 * 1024,
              "memory grew from " + std::to_string(*memory_before) + " to " + std::to_string(memory()) + " KiB");
      require(open_now() <= *descriptors_before, "descriptors are left");
    }
    const auto near_counts = near_rules.finish();
    far_judge.stop();
    require(far_judge.error().empty(), far_judge.error());
    const std::uint64_t dropped = near_counts.dropped + far_judge.dropped, lost = near_counts.lost + far_judge.lost;
    try {
      wait_until("all arrive", [&] { return arrived() + dropped + lost >= sent(); });
    } catch (const std::exception&) {  // the sums below tell
    }
    for (auto* each : {&datagrams4, &datagrams6}) {
      each->end();
      require(each->damaged == 0, std::to_string(each->damaged) + " datagrams arrived damaged");
      require(each->repeated == 0, std::to_string(each->repeated) + " datagrams arrived twice");
      require(each->undropped == 0, std::to_string(each->undropped) + " datagrams arrived that were to be dropped");
      require(each->unread() == 0, "the receiving socket was full");
    }
    const std::string sum = std::to_string(sent()) + " datagrams sent, " + std::to_string(arrived()) + " arrived, " +
                            std::to_string(dropped) + " dropped, " + std::to_string(lost) + " lost";
    require(arrived() + dropped <= sent() && arrived() + dropped + lost >= sent(), "unaccounted for: " + sum);
    require(near_counts.dropped >= datagrams4.for_command + datagrams6.for_command, "the command dropped too little");
    require(near_counts.received == near_counts.accepted + near_counts.dropped, "the command's sum");
    require(far_judge.unaccounted == 0, "the library's sum");
    for (auto* each : {&connections4, &connections6}) require(each->damaged == 0, "TCP arrived damaged");
    for (auto* each : {&echoes4, &echoes6}) {
      require(each->damaged == 0 && each->answered + lost >= each->sent, "echo requests are damaged or unanswered");
    }
    // Short runs may be too short for one of a kind.
    if (wanted.length >= 5s && interrupted == 0) {
      require(far_judge.fragments > 0 && far_judge.segments > 0 && far_judge.reloads > 0 && far_judge.edited > 0,
              "fragments, unsplit segments, hand-overs or edits were missing");
    }
    if (!faults.empty()) std::printf("%s", in(at.far, kernel_counters).c_str());
    summary = std::to_string(near_counts.received + far_judge.packets) + " packets judged, " + sum + ", " +
              std::to_string((connections4.bytes + connections6.bytes) >> 20) + " MiB of TCP, " +
              std::to_string(echoes4.answered + echoes6.answered) + " echoes, " + std::to_string(far_judge.fragments) +
              " fragments, " + std::to_string(far_judge.segments) + " unsplit segments, " +
              std::to_string(near_rules.reloads + far_judge.reloads) + " reloads";
  }
  require(kernel_tests::open_descriptors() == descriptors, "descriptors of our own are left");
  for (const auto& each : faults) std::printf("soak: failed: %s\n", each.c_str());
  std::printf("soak: %lld s, seed %llu: %s: %s\n", static_cast<long long>((clock::now() - began) / 1s),
              static_cast<unsigned long long>(wanted.seed), faults.empty() ? "passed" : "failed", summary.c_str());
  return faults.empty() ? 0 : 1;
}

}  // namespace
}  // namespace soak

int main(int argc, char** argv) {
  const auto wanted = soak::read_options(argc, argv);
  for (const int each : {SIGINT, SIGTERM}) ::signal(each, [](int) { soak::interrupted = 1; });
  if (kernel_tests::rights_of_process() != kernel_tests::rights::global_root) {
    std::printf("soak: needs root outside of any user namespace\n");
    return 77;
  }
  try {
    return soak::run(wanted);
  } catch (const std::exception& wrong) {
    std::printf("soak: seed %llu: failed: %s\n", static_cast<unsigned long long>(wanted.seed), wrong.what());
    return 1;
  }
}
