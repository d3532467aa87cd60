// SPDX-License-Identifier: MIT
// The rules' index against libpcap: the rule that decides is the first whose filter, compiled by libpcap alone,
// matches.
#include <pcap/pcap.h>

#include <memory>
#include <string>
#include <vector>

#include "input.hpp"
#include "lookups.hpp"
#include "rules/engine.hpp"
#include "rules/ruleset.hpp"

namespace {

using namespace ipq;
using fuzz::input;
using fuzz::require;
namespace rules = ipq::tool::rules;

std::string number(input& from, unsigned most) {
  return std::to_string(from.take<std::uint16_t>() % (most + 1));
}

std::string address(input& from) {
  return "10." + number(from, 1) + ".0." + number(from, 255);
}

// Few values, so that packets meet them.
std::string primitive(input& from) {
  static constexpr const char* directions[] = {"", "src ", "dst "};
  static constexpr const char* protocols[] = {"", "tcp ", "udp "};
  const std::string direction = directions[from.byte() % 3];
  switch (from.byte() % 12) {
    case 0:
    case 1:
      return protocols[from.byte() % 3] + direction + "port " + number(from, 65535);
    case 2: {
      const unsigned first = from.take<std::uint16_t>(), more = from.byte();
      return direction + "portrange " + std::to_string(first) + "-" + std::to_string(std::min(first + more, 65535u));
    }
    case 3:
      return direction + "host " + address(from);
    case 4:
      return direction + "net 10." + number(from, 1) + ".0.0/16";
    case 5:
      return direction + "host 2001:db8::" + number(from, 9);
    case 6:
      return from.flag() ? "icmp" : "icmp6";
    case 7:
      return "ip proto " + number(from, 255);
    case 8:
      return "ip6 proto " + number(from, 255);
    case 9:
      return std::string(from.flag() ? "less " : "greater ") + number(from, 200);
    case 10:
      return "ip[" + number(from, 60) + "] = " + number(from, 255);
    default:
      return "tcp[tcpflags] & " + number(from, 63) + " != 0";
  }
}

std::string expression(input& from, int depth = 0) {
  const std::uint8_t shape = from.byte() % 6;
  if (depth == 3 || shape < 3) return primitive(from);
  if (shape == 3) return "not (" + expression(from, depth + 1) + ")";
  const std::string left = expression(from, depth + 1);
  return "(" + left + (shape == 4 ? ") and (" : ") or (") + expression(from, depth + 1) + ")";
}

struct free_code {
  void operator()(bpf_program* code) const {
    ::pcap_freecode(code);
    delete code;
  }
};
using program = std::unique_ptr<bpf_program, free_code>;

program compile(const std::string& text) {
  static pcap_t* const dead = ::pcap_open_dead(DLT_RAW, 65535);
  program made(new bpf_program{});
  if (::pcap_compile(dead, made.get(), text.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0) return nullptr;
  return made;
}

}  // namespace

// Filters, as expression() reads them, and behind them the packet.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  input from(data, size);
  std::vector<program> programs;
  std::string text;
  for (unsigned left = 1 + from.byte() % 12; left > 0; --left) {
    const std::string filter = expression(from);
    auto made = compile(filter);
    if (made == nullptr) continue;  // "expression rejects all packets"
    programs.push_back(std::move(made));
    text += "drop : " + filter + "\n";
  }
  const auto compiled = rules::ruleset::compile(rules::source{"rules", text});
  require(compiled.has_value());
  packet which;
  which.payload = from.rest();
  which.original_length = static_cast<std::uint32_t>(which.payload.size());
  pcap_pkthdr header{};
  header.caplen = header.len = which.original_length;
  std::size_t first = 0;
  while (first < programs.size() && ::pcap_offline_filter(programs[first].get(), &header,
                                                          reinterpret_cast<const u_char*>(which.payload.data())) == 0) {
    ++first;
  }
  rules::engine judge(*compiled);
  const auto& made = judge.judge(which, {});
  require(made.rule == (first == programs.size() ? rules::decision::no_rule : first));
  return 0;
}
