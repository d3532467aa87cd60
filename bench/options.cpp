// SPDX-License-Identifier: MIT
// The command line.
#include "options.hpp"

#include <getopt.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>
#include <string_view>

namespace bench {
namespace {

// What fits into one Ethernet frame: all loops then get by with the buffer of an ordinary program.
constexpr unsigned largest_size = 1472;

std::uint64_t read_number(const char* option, std::string_view text, std::uint64_t least, std::uint64_t most) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < least || value > most) {
    throw std::invalid_argument(std::string(option) + " takes a number from " + std::to_string(least) + " to " +
                                std::to_string(most) + ", not '" + std::string(text) + "'");
  }
  return value;
}

}  // namespace

const char* const usage =
    "usage: bench_ipq [options]\n"
    "Compares the read/verdict loops of libipq and libipq++ with that of libnetfilter_queue and with bare system\n"
    "calls, in a private network namespace.\n"
    "\n"
    "  --packets N     packets per drain, and what the other runs are sized by (20000)\n"
    "  --rounds N      runs per loop, interleaved; the tables show medians (12)\n"
    "  --scenario TEXT only those whose name has TEXT in it; the table's comes first, as in \"libipq: 64\"\n"
    "  --loop NAME     only this column, as libipq++ or libnetfilter_queue; for strace and perf\n"
    "  --size BYTES    UDP payload in the table of libipq, up to 1472; may be given several times (64 and 1400)\n"
    "  --cpu N         the CPU to run on (the highest one allowed)\n"
    "  --capture FILE  a pcap file to repeat for the table of captures, instead of one that is made\n"
    "  --json FILE     write every single run to FILE too\n"
    "  --help          this text\n"
    "\n"
    "Exit status: 0 done, whether or not the goals are met; 1 failed; 2 wrong option; 77 not possible here.\n";

options read_options(int count, char** words) {
  static const option known[] = {
      {"packets", required_argument, nullptr, 'p'},  {"rounds", required_argument, nullptr, 'r'},
      {"size", required_argument, nullptr, 's'},     {"loop", required_argument, nullptr, 'l'},
      {"scenario", required_argument, nullptr, 'n'}, {"cpu", required_argument, nullptr, 'c'},
      {"capture", required_argument, nullptr, 'f'},  {"json", required_argument, nullptr, 'j'},
      {"help", no_argument, nullptr, 'h'},           {nullptr, 0, nullptr, 0}};
  options result;
  opterr = 0;
  for (int letter; (letter = getopt_long(count, words, "", known, nullptr)) != -1;) {
    switch (letter) {
      case 'p':
        result.packets = read_number("--packets", optarg, 1, 1'000'000);
        break;
      case 'r':
        result.rounds = static_cast<unsigned>(read_number("--rounds", optarg, 1, 10'000));
        break;
      case 's':
        result.sizes.push_back(static_cast<unsigned>(read_number("--size", optarg, 1, largest_size)));
        break;
      case 'l':
        result.only = optarg;
        break;
      case 'n':
        result.scenario = optarg;
        break;
      case 'c':
        result.cpu = static_cast<int>(read_number("--cpu", optarg, 0, 1023));
        break;
      case 'f':
        result.capture = optarg;
        break;
      case 'j':
        result.json = optarg;
        break;
      case 'h':
        result.help = true;
        break;
      default:
        throw std::invalid_argument(std::string("unknown option or missing value: ") + words[optind - 1]);
    }
  }
  if (optind < count) throw std::invalid_argument(std::string("unexpected argument: ") + words[optind]);
  if (result.sizes.empty()) result.sizes = {64, 1400};
  return result;
}

}  // namespace bench
