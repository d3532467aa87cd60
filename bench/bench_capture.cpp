// SPDX-License-Identifier: MIT
// How fast captures are read, judged and written, beside tcpdump on the same file. Rounds are interleaved, each run is
// a process of its own, and medians count.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "ipq/capture.hpp"
#include "ipq/decode.hpp"
#include "ipq/recorder.hpp"
#include "ipq/udp.hpp"
#include "statistics.hpp"

namespace bench {
namespace {

struct options {
  std::uint64_t packets = 5'000'000;
  unsigned rounds = 5;
  std::string folder = std::filesystem::exists("/dev/shm") ? "/dev/shm" : "/tmp";
  std::string ipq = {};
};

[[noreturn]] void usage() {
  std::fputs("usage: bench_capture [--packets N] [--rounds N] [--folder FOLDER] [--ipq COMMAND]\n", stderr);
  std::exit(2);
}

options parse(int argc, char** argv) {
  options made;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 == argc) usage();
    char* end = nullptr;
    const std::uint64_t number = std::strtoull(argv[i + 1], &end, 10);
    const bool is_number = *end == '\0' && number > 0;
    if (name == "--packets" && is_number) {
      made.packets = number;
    } else if (name == "--rounds" && is_number) {
      made.rounds = static_cast<unsigned>(number);
    } else if (name == "--folder") {
      made.folder = argv[i + 1];
    } else if (name == "--ipq") {
      made.ipq = argv[i + 1];
    } else {
      usage();
    }
  }
  return made;
}

void put(std::string& to, std::size_t at, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) to[at + i] = static_cast<char>(value >> (8 * (size - 1 - i)) & 0xff);
}

/// Ethernet with what networks carry: short and long packets, TCP, UDP, ICMP and IPv6, and one ARP in a thousand.
std::uint64_t write_capture(const std::string& path, std::uint64_t packets) {
  FILE* const file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) throw std::runtime_error(path + ": " + std::strerror(errno));
  const std::uint32_t header[6]{0xa1b2c3d4, 0x00040002, 0, 0, 262144, 1};
  bool good = std::fwrite(header, sizeof header, 1, file) == 1;
  std::mt19937 random(7);
  std::uint64_t without_ip = 0;
  for (std::uint64_t i = 0; i < packets && good; ++i) {
    constexpr std::size_t sizes[]{40, 52, 52, 60, 120, 576, 1400, 1400};
    const std::size_t size = sizes[random() % 8];
    const auto kind = static_cast<unsigned>(random() % 1000);
    std::string frame(14 + size, '\0');
    const bool ipv6 = kind > 900 && size >= 60;
    put(frame, 6, 0x020000000001, 6);
    put(frame, 12, kind == 0 ? 0x0806 : ipv6 ? 0x86dd : 0x0800, 2);
    without_ip += kind == 0 ? 1 : 0;
    const unsigned protocol = kind < 300 ? 17 : kind < 320 ? 1 : 6;
    const std::size_t ip = ipv6 ? 40 : 20;
    if (ipv6) {
      put(frame, 14, 0x60000000, 4);
      put(frame, 18, size - ip, 2);
      put(frame, 20, protocol << 8 | 64, 2);
    } else {
      put(frame, 14, 0x4500, 2);
      put(frame, 16, size, 2);
      put(frame, 22, 64u << 8 | protocol, 2);
      put(frame, 26, 0x0a000000 | random() % 65536, 4);
      put(frame, 30, 0xc0a80000 | random() % 65536, 4);
    }
    put(frame, 14 + ip, 1024 + random() % 60000, 2);
    put(frame, 16 + ip, random() % 4 == 0 ? 53 : 443, 2);
    if (protocol == 17) put(frame, 18 + ip, size - ip, 2);
    if (protocol == 6) put(frame, 26 + ip, 0x5010, 2);
    const auto length = static_cast<std::uint32_t>(frame.size());
    const std::uint32_t record[4]{static_cast<std::uint32_t>(i / 100'000), static_cast<std::uint32_t>(i % 100'000 * 10),
                                  length, length};
    good = std::fwrite(record, sizeof record, 1, file) == 1 && std::fwrite(frame.data(), length, 1, file) == 1;
  }
  if (std::fclose(file) != 0 || !good) throw std::runtime_error(path + ": " + std::strerror(errno));
  return packets - without_ip;
}

struct run {
  double seconds = 0;
  double megabytes = 0;  ///< at most, of memory
};

/// What happens in a process of its own; false or a status other than 0 is a failure.
run measure(const std::string& name, const std::function<bool()>& work) {
  const auto begun = std::chrono::steady_clock::now();
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork");
  if (child == 0) ::_exit(work() ? 0 : 1);
  int status = 0;
  rusage used{};
  ::wait4(child, &status, 0, &used);
  if (status != 0) throw std::runtime_error(name + " failed");
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count(),
          static_cast<double>(used.ru_maxrss) / 1024};
}

bool execute(std::vector<std::string> words) {
  const int null = ::open("/dev/null", O_WRONLY);
  ::dup2(null, STDOUT_FILENO);
  ::dup2(null, STDERR_FILENO);
  std::vector<char*> argv;
  for (std::string& each : words) argv.push_back(each.data());
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  return false;
}

template <class Judge>
bool replay(const std::string& capture, const std::string& passed, std::uint64_t expected, Judge judge) {
  auto from = ipq::capture_reader::open(capture, {.passed = passed});
  return from && ipq::serve(*from, judge) && from->flush() && from->stats().received == expected;
}

ipq::verdict drop_dns(const ipq::packet& packet) {
  const auto layers = ipq::decode(packet.payload);
  if (!layers || !layers->has_transport || layers->transport != ipq::ip_protocol::udp) return ipq::verdict::accept();
  const auto udp = ipq::udp_view::parse(packet.payload.subspan(layers->transport_offset));
  const bool dns = udp && (udp->source_port() == 53 || udp->destination_port() == 53);
  return dns ? ipq::verdict::drop() : ipq::verdict::accept();
}

/// Of record() alone, in nanoseconds a packet: what a live receiver pays for a recording.
double cost_of_recording(const std::string& path) {
  auto to = ipq::recorder::open(path, {.memory = 256 << 20});
  if (!to) throw std::runtime_error(to.error().message());
  std::vector<std::byte> bytes(200);
  ipq::packet packet;
  packet.payload = bytes;
  packet.indev = 1;
  constexpr unsigned packets = 100'000;
  const auto begun = std::chrono::steady_clock::now();
  for (packet.id = 0; packet.id < packets; ++packet.id) to->record(packet, ipq::verdict::accept(), {});
  const std::chrono::duration<double, std::nano> passed = std::chrono::steady_clock::now() - begun;
  return passed.count() / packets;
}

int bench(const options& wanted) {
  const std::string capture = wanted.folder + "/bench_capture." + std::to_string(::getpid());
  const std::string out = capture + ".out";
  struct cleaner {
    const std::string &first, &second;
    ~cleaner() {
      std::error_code ignored;
      std::filesystem::remove(first, ignored);
      std::filesystem::remove(second, ignored);
    }
  } const remove_files{capture, out};
  const std::uint64_t ip_packets = write_capture(capture, wanted.packets);
  const auto accept = [](const ipq::packet&) { return ipq::verdict::accept(); };

  struct series {
    std::string name;
    std::function<bool()> work;
    std::vector<double> seconds = {};
    double megabytes = 0;
  };
  std::vector<series> all{
      {"read, accept all", [&] { return replay(capture, "", ip_packets, accept); }},
      {"read, accept all, write what passes", [&] { return replay(capture, out, ip_packets, accept); }},
      {"tcpdump -r IN -w OUT",
       [&] {
         return execute({"tcpdump", "-r", capture, "-w", out});
       }},
      {"read, drop DNS", [&] { return replay(capture, "", ip_packets, drop_dns); }},
      {"tcpdump -r IN -w /dev/null FILTER",
       [&] {
         return execute({"tcpdump", "-r", capture, "-w", "/dev/null", "not udp port 53"});
       }},
  };
  if (!wanted.ipq.empty()) {
    all.push_back({"ipq replay IN accept", [&] { return execute({wanted.ipq, "replay", capture, "accept"}); }});
    all.push_back({"ipq replay IN accept --passed OUT", [&] {
                     return execute({wanted.ipq, "replay", capture, "accept", "--passed", out});
                   }});
    all.push_back({"ipq replay IN 'drop : udp port 53'", [&] {
                     return execute({wanted.ipq, "replay", capture, "drop : udp port 53"});
                   }});
  }
  for (unsigned round = 0; round < wanted.rounds; ++round) {
    for (series& each : all) {
      const run made = measure(each.name, each.work);
      each.seconds.push_back(made.seconds);
      each.megabytes = std::max(each.megabytes, made.megabytes);
    }
  }
  std::printf("%llu packets, %ju bytes, %u rounds\n\n", static_cast<unsigned long long>(wanted.packets),
              static_cast<std::uintmax_t>(std::filesystem::file_size(capture)), wanted.rounds);
  std::printf("  %-38s %18s %12s\n", "", "million packets/s", "memory, MiB");
  for (const series& each : all) {
    const double median = summary_of(each.seconds).median;
    std::printf("  %-38s %18.2f %12.1f\n", each.name.c_str(), static_cast<double>(wanted.packets) / median / 1e6,
                each.megabytes);
  }
  const auto ratio = [&](std::size_t one, std::size_t other) {
    std::vector<double> of_rounds;
    for (unsigned i = 0; i < wanted.rounds; ++i) of_rounds.push_back(all[other].seconds[i] / all[one].seconds[i]);
    return summary_of(of_rounds).median;
  };
  const double rate = static_cast<double>(wanted.packets) / summary_of(all[0].seconds).median / 1e6;
  const auto goal = [](const char* what, double value, double least) {
    std::printf("  %-58s %6.2f  %s\n", what, value, value >= least ? "met" : "missed");
  };
  std::printf("\n");
  goal("reading: at least 3 million packets/s", rate, 3);
  goal("writing what passes: at least 1.00 times tcpdump -w", ratio(1, 2), 1);
  goal("one filter: at least 1.00 times tcpdump FILTER", ratio(3, 4), 1);
  if (!wanted.ipq.empty()) {
    goal("ipq replay --passed: at least 1.00 times tcpdump -w", ratio(6, 2), 1);
    goal("ipq replay, one rule: at least 1.00 times tcpdump FILTER", ratio(7, 4), 1);
  }
  std::printf("\n  recording costs the receiver %.0f ns per packet of 200 bytes\n", cost_of_recording(out));
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  const auto wanted = bench::parse(argc, argv);
  if (std::system("tcpdump --version >/dev/null 2>&1") != 0) {
    std::fputs("bench_capture: there is no tcpdump to compare with\n", stderr);
    return 77;
  }
  try {
    return bench::bench(wanted);
  } catch (const std::exception& failed) {
    std::fprintf(stderr, "bench_capture: %s\n", failed.what());
    return 1;
  }
}
