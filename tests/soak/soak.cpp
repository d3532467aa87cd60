// SPDX-License-Identifier: MIT
// Random traffic of both families through two queues for as long as wanted: ipq run with random rules that are reloaded
// in the near namespace, the C++ library in the far one. In the end every packet is accounted for.
// usage: soak [--for TIME] [--seed N]    TIME as 90, 90s, 10m or 1h; default 20s
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <random>
#include <regex>
#include <stdexcept>
#include <thread>
#include <vector>

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

// What random rules do, each counted under its name. The first rules have those of the first turn, and so on, so that
// each is at work for a while; afterwards chance decides.
struct rule_kind {
  std::size_t turn;
  const char* name;
};
constexpr std::array<rule_kind, 10> rule_kinds{{{0, "ttl"},
                                                {1, "dscp"},
                                                {2, "words"},
                                                {0, "letters"},
                                                {1, "mark"},
                                                {2, "loss"},
                                                {0, "reorder"},
                                                {1, "delay"},
                                                {2, "delay_of_tcp"},
                                                {2, "priority"}}};
constexpr std::size_t rule_turns = 3;

// Rules that drop what the traffic marks, and do anything else that loses no other packet but those they count.
std::string random_rules(std::mt19937_64& random, std::size_t turn) {
  const auto number = [&](unsigned least, unsigned most) { return std::to_string(least + random() % (most - least)); };
  std::string text = "count seen, continue\n";
  std::size_t next = 0;
  const auto maybe = [&](const std::string& actions, const std::string& filter = "") {
    const rule_kind& kind = rule_kinds.at(next++);
    const bool is_here = turn < rule_turns ? kind.turn == turn : random() % 2 == 0;
    // A name is always there, and so its count goes on.
    text += "count " + std::string(kind.name) + ", " + (is_here ? actions + filter : "continue : udp port 1") + "\n";
  };
  text += "drop : udp[8] = 0x64\ndrop : ip6[6] = 17 and ip6[48] = 0x64\n";
  maybe("set ttl " + number(20, 200) + ", continue");
  maybe("set dscp " + number(0, 64) + ", continue", " : udp or icmp");
  maybe("replace \"soak\" with \"SOAK\", continue");
  maybe("replace \"a\" with \"A\", continue", " : tcp");
  maybe("mark " + number(1, 1000) + ", continue", " : udp");
  maybe("loss 0.5%, continue", " : udp");
  maybe("reorder 5% within " + number(1, 10) + "ms", " : udp");
  maybe("delay " + number(1, 6) + "ms jitter 1ms", " : udp or icmp");
  maybe("delay 1ms", " : tcp");
  maybe("priority 3", " : udp");
  return text;
}

// ipq run on the near queue, with rules that change.
class ruler {
 public:
  explicit ruler(std::uint64_t seed) : random_(seed) {
    folder_ = std::filesystem::temp_directory_path() / "ipq_soak_XXXXXX";
    if (::mkdtemp(folder_.data()) == nullptr) throw std::runtime_error("no folder " + folder_);
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
  // Whether each kind of rule has been at work.
  [[nodiscard]] bool had_each_turn() const { return reloads >= rule_turns; }

  struct counts {
    std::uint64_t received = 0, accepted = 0, dropped = 0, lost = 0;
    std::string unused;  // names of rules that met no packet
  };
  counts finish() {
    const int status = command_->interrupt().status;
    std::ifstream file(folder_ + "/said");
    const std::string said((std::istreambuf_iterator<char>(file)), {});
    std::smatch found;
    static const std::regex summary("([0-9]+) received, ([0-9]+) accepted, ([0-9]+) dropped.*, ([0-9]+) lost");
    if (status != 0 || !std::regex_search(said, found, summary)) throw std::runtime_error("ipq run ended with " + said);
    counts all{std::stoull(found[1]), std::stoull(found[2]), std::stoull(found[3]), std::stoull(found[4]), ""};
    for (const auto& [turn, name] : rule_kinds) {
      // The sums of the names stand behind the table of rules.
      const std::regex met("\n +[1-9][0-9]* +[0-9]+  count " + std::string(name) + "\n");
      if (!std::regex_search(said + "\n", met)) all.unused += std::string(" ") + name;
    }
    return all;
  }
  std::uint64_t reloads = 0;

 private:
  void write() { std::ofstream(folder_ + "/rules") << random_rules(random_, reloads); }

  std::mt19937_64 random_;
  std::string folder_;
  std::optional<tool_tests::live_command> command_;
};

std::size_t resident_bytes(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmRSS:")) return std::stoul(line.substr(6)) * 1024;
  }
  return 0;
}

// How the memory of a process goes with the packets that are judged.
class memory_watch {
 public:
  // Pages that were not used before are no leak, so some bytes are free, and in a short run some for each packet.
  memory_watch(double free_bytes, double per_packet) : free_bytes_(free_bytes), free_bytes_per_packet_(per_packet) {}
  void look(std::uint64_t packets, std::size_t bytes) {
    if (looks_.empty()) first_ = packets;
    looks_.push_back({static_cast<double>(packets - first_), static_cast<double>(bytes)});
  }
  // What is wrong, or nothing. The line that is nearest to all looks tells how much it grew: single ones are accidents.
  [[nodiscard]] std::string verdict(const char* whose) const {
    if (looks_.size() < 3) return "";
    double mean_packets = 0, mean_bytes = 0, both = 0, square = 0;
    for (const auto& each : looks_) {
      mean_packets += each.packets / static_cast<double>(looks_.size());
      mean_bytes += each.bytes / static_cast<double>(looks_.size());
    }
    for (const auto& each : looks_) {
      both += (each.packets - mean_packets) * (each.bytes - mean_bytes);
      square += (each.packets - mean_packets) * (each.packets - mean_packets);
    }
    const double packets = looks_.back().packets, per_packet = square == 0 ? 0 : both / square;
    if (packets * per_packet < free_bytes_ + packets * free_bytes_per_packet_) return "";
    return std::string("the memory of ") + whose + " grew by " + std::to_string(per_packet) + " bytes a packet, over " +
           std::to_string(static_cast<std::uint64_t>(packets)) + " packets";
  }

 private:
  struct one_look {
    double packets, bytes;
  };
  double free_bytes_, free_bytes_per_packet_;
  std::uint64_t first_ = 0;
  std::vector<one_look> looks_;
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool memory_is_ours = false;  // a sanitizer keeps what is freed, and looks for leaks itself
#else
constexpr bool memory_is_ours = true;
#endif

std::size_t threads_of(pid_t process) {
  const std::filesystem::directory_iterator all("/proc/" + std::to_string(process) + "/task");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
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
  std::thread([] {}).join();  // where a sanitizer starts one of its own with the first
  const auto descriptors = kernel_tests::open_descriptors();
  const auto threads = threads_of(::getpid());
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

    const auto datagrams_of = {&datagrams4, &datagrams6};
    const auto connections_of = {&connections4, &connections6};
    const auto echoes_of = {&echoes4, &echoes6};
    // What never came, of all that is promised, to packets of either family.
    const auto missing = [&] {
      std::string names;
      const auto look = [&](bool came, const char* name) {
        if (!came) names += std::string(" ") + name;
      };
      for (const auto& each : far_judge.families) names += each.missing();
      for (const auto* each : datagrams_of) {
        look(each->lengthened > 0, "lengthened-arrivals");
        look(each->moved > 0, "arrivals-from-other-address");
      }
      for (const auto* each : connections_of) look(each->bytes > 0, "TCP");
      for (const auto* each : echoes_of) look(each->answered > 0, "echoes");
      look(near_rules.had_each_turn(), "reloads");
      look(far_judge.reloads > 0, "hand-overs");
      return names;
    };

    const auto near_descriptors = kernel_tests::open_descriptors(near_rules.pid()).size();
    const auto near_threads = threads_of(near_rules.pid());
    // What the beginning needs is not growth.
    const auto warm = began + std::min<clock::duration>(wanted.length / 3, 60s);
    // In its first seconds a process grows by some mebibytes, which a short run can't tell from a leak. From a minute
    // on what is free does not depend on packets: six minutes and millions of them take less than two mebibytes.
    const double free_bytes = wanted.length < 30s ? 16 << 20 : 4 << 20, per_packet = wanted.length < 60s ? 4 : 0;
    memory_watch near_memory(free_bytes, per_packet), own_memory(free_bytes, per_packet);
    const auto own_bytes = [&] { return resident_bytes(::getpid()) - (datagrams4.memory() + datagrams6.memory()) / 8; };
    auto next_word = began + 10s;
    // A run that is too short for something goes on until it has come, or patience has ended.
    const auto has_to_go_on = [&] {
      return clock::now() < began + wanted.length ||
             (clock::now() < began + wanted.length + kernel_tests::patience && !missing().empty());
    };
    while (has_to_go_on() && interrupted == 0 && far_judge.error().empty()) {
      std::this_thread::sleep_for(100ms + random() % 300 * 1ms);
      near_rules.reload();
      if (clock::now() > warm) {
        near_memory.look(far_judge.packets, resident_bytes(near_rules.pid()));
        own_memory.look(far_judge.packets, own_bytes());
      }
      if (clock::now() < next_word) continue;
      std::printf("soak: %lld s: %llu datagrams sent, %llu arrived, %llu MiB of TCP, %u echoes, %zu KiB\n",
                  static_cast<long long>((clock::now() - began) / 1s), static_cast<unsigned long long>(sent()),
                  static_cast<unsigned long long>(arrived()),
                  static_cast<unsigned long long>((connections4.bytes + connections6.bytes) >> 20),
                  echoes4.answered + echoes6.answered, (own_bytes() + resident_bytes(near_rules.pid())) / 1024);
      std::fflush(stdout);
      next_word += 10s;
    }

    for (auto* each : datagrams_of) each->stop();
    for (auto* each : connections_of) each->stop();
    for (auto* each : echoes_of) each->stop();
    // At rest: nothing waits, in neither queue.
    wait_until("the near queue is empty", [] { return waiting() == 0; });
    if (memory_is_ours) {
      for (const auto& wrong : {near_memory.verdict("ipq run"), own_memory.verdict("the soak")}) {
        require(wrong.empty(), wrong);
      }
    }
    require(kernel_tests::open_descriptors(near_rules.pid()).size() == near_descriptors,
            "descriptors of ipq run are left");
    require(threads_of(near_rules.pid()) == near_threads, "threads of ipq run are left");
    const auto near_counts = near_rules.finish();
    far_judge.stop();
    require(far_judge.error().empty(), far_judge.error());
    const std::uint64_t dropped = near_counts.dropped + far_judge.sum(&judge::kinds::dropped);
    try {
      wait_until("all arrive", [&] { return arrived() + dropped >= sent(); });
    } catch (const std::exception&) {  // the sums below tell
    }
    for (auto* each : datagrams_of) {
      each->end();
      require(each->damaged == 0, std::to_string(each->damaged) + " datagrams arrived damaged");
      require(each->repeated == 0, std::to_string(each->repeated) + " datagrams arrived twice");
      require(each->undropped == 0, std::to_string(each->undropped) + " datagrams arrived that were to be dropped");
      require(each->unread() == 0, "the receiving socket was full");
    }
    const std::string sum = std::to_string(sent()) + " datagrams sent, " + std::to_string(arrived()) + " arrived, " +
                            std::to_string(dropped) + " dropped";
    // Senders are never far ahead of what arrives, so no queue and no buffer may have been full.
    require(near_counts.lost == 0, "ipq run: the kernel lost " + std::to_string(near_counts.lost) + " packets");
    require(far_judge.lost == 0, "far queue: the kernel lost " + std::to_string(far_judge.lost) + " packets");
    require(arrived() + dropped == sent(), "unaccounted for: " + sum);
    require(far_judge.sum(&judge::kinds::lengthened) == std::uint64_t{datagrams4.lengthened} + datagrams6.lengthened,
            "not each datagram that was lengthened arrived so");
    require(far_judge.sum(&judge::kinds::moved) == std::uint64_t{datagrams4.moved} + datagrams6.moved,
            "not each datagram that got another sender arrived so");
    require(near_counts.dropped >= datagrams4.for_command + datagrams6.for_command, "the command dropped too little");
    require(near_counts.received == near_counts.accepted + near_counts.dropped, "the command's sum");
    require(far_judge.unaccounted == 0, "the library's sum");
    for (auto* each : connections_of) require(each->damaged == 0, "TCP arrived damaged");
    for (auto* each : echoes_of) {
      require(each->damaged == 0 && each->answered == each->sent, "echo requests are damaged or unanswered");
    }
    if (interrupted == 0) {
      require(missing().empty(), "never came:" + missing());
      require(near_counts.unused.empty(), "rules that met no packet:" + near_counts.unused);
    }
    if (!faults.empty()) std::printf("%s", in(at.far, kernel_counters).c_str());
    summary = std::to_string(near_counts.received + far_judge.packets) + " packets judged, " + sum + ", " +
              std::to_string((connections4.bytes + connections6.bytes) >> 20) + " MiB of TCP, " +
              std::to_string(echoes4.answered + echoes6.answered) + " echoes, " +
              std::to_string(far_judge.sum(&judge::kinds::fragments)) + " fragments, " +
              std::to_string(far_judge.sum(&judge::kinds::segments)) + " unsplit segments, " +
              std::to_string(near_rules.reloads + far_judge.reloads) + " reloads";
  }
  require(kernel_tests::open_descriptors() == descriptors, "descriptors of our own are left");
  try {
    wait_until("all threads have ended", [&] { return threads_of(::getpid()) == threads; });
  } catch (const std::exception&) {
    require(false, "threads of our own are left");
  }
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
