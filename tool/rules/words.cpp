// SPDX-License-Identifier: MIT
// Knows the words of pcap-filter(7), as far as they can stand where a name could.
#include "words.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "fault.hpp"

namespace ipq::tool::rules {
namespace {

using namespace std::string_view_literals;

constexpr auto sorted = [](auto words) {
  std::sort(words.begin(), words.end());
  return words;
};

constexpr auto keywords = sorted(std::to_array<std::string_view>({
    "dst",
    "src",
    "link",
    "ether",
    "ppp",
    "slip",
    "fddi",
    "tr",
    "wlan",
    "arp",
    "rarp",
    "ip",
    "sctp",
    "tcp",
    "udp",
    "icmp",
    "igmp",
    "igrp",
    "pim",
    "vrrp",
    "carp",
    "radio",
    "ip6",
    "icmp6",
    "ah",
    "esp",
    "atalk",
    "aarp",
    "decnet",
    "lat",
    "sca",
    "moprc",
    "mopdl",
    "iso",
    "esis",
    "es-is",
    "isis",
    "is-is",
    "l1",
    "l2",
    "iih",
    "lsp",
    "snp",
    "csnp",
    "psnp",
    "clnp",
    "stp",
    "ipx",
    "netbeui",
    "host",
    "net",
    "mask",
    "port",
    "portrange",
    "proto",
    "protochain",
    "gateway",
    "type",
    "subtype",
    "direction",
    "dir",
    "address1",
    "addr1",
    "address2",
    "addr2",
    "address3",
    "addr3",
    "address4",
    "addr4",
    "ra",
    "ta",
    "less",
    "greater",
    "byte",
    "broadcast",
    "multicast",
    "and",
    "or",
    "not",
    "len",
    "length",
    "inbound",
    "outbound",
    "ifindex",
    "vlan",
    "mpls",
    "pppoed",
    "pppoes",
    "geneve",
    "lane",
    "llc",
    "metac",
    "bcc",
    "oam",
    "oamf4",
    "oamf4ec",
    "oamf4sc",
    "sc",
    "ilmic",
    "vpi",
    "vci",
    "connectmsg",
    "metaconnect",
    "on",
    "ifname",
    "rset",
    "ruleset",
    "rnr",
    "rulenum",
    "srnr",
    "subrulenum",
    "reason",
    "action",
    "fisu",
    "lssu",
    "lsu",
    "msu",
    "hfisu",
    "hlssu",
    "hmsu",
    "sio",
    "opc",
    "dpc",
    "sls",
    "hsio",
    "hopc",
    "hdpc",
    "hsls",
    // What stands for numbers.
    "icmptype",
    "icmpcode",
    "icmp-echoreply",
    "icmp-unreach",
    "icmp-sourcequench",
    "icmp-redirect",
    "icmp-echo",
    "icmp-routeradvert",
    "icmp-routersolicit",
    "icmp-timxceed",
    "icmp-paramprob",
    "icmp-tstamp",
    "icmp-tstampreply",
    "icmp-ireq",
    "icmp-ireqreply",
    "icmp-maskreq",
    "icmp-maskreply",
    "icmp6type",
    "icmp6code",
    "icmp6-destinationunreach",
    "icmp6-packettoobig",
    "icmp6-timeexceeded",
    "icmp6-parameterproblem",
    "icmp6-echo",
    "icmp6-echoreply",
    "icmp6-multicastlistenerquery",
    "icmp6-multicastlistenerreportv1",
    "icmp6-multicastlistenerdone",
    "icmp6-routersolicit",
    "icmp6-routeradvert",
    "icmp6-neighborsolicit",
    "icmp6-neighboradvert",
    "icmp6-redirect",
    "icmp6-routerrenum",
    "icmp6-nodeinformationquery",
    "icmp6-nodeinformationresponse",
    "icmp6-ineighbordiscoverysolicit",
    "icmp6-ineighbordiscoveryadvert",
    "icmp6-multicastlistenerreportv2",
    "icmp6-homeagentdiscoveryrequest",
    "icmp6-homeagentdiscoveryreply",
    "icmp6-mobileprefixsolicit",
    "icmp6-mobileprefixadvert",
    "icmp6-certpathsolicit",
    "icmp6-certpathadvert",
    "icmp6-multicastrouteradvert",
    "icmp6-multicastroutersolicit",
    "icmp6-multicastrouterterm",
    "tcpflags",
    "tcp-fin",
    "tcp-syn",
    "tcp-rst",
    "tcp-push",
    "tcp-ack",
    "tcp-urg",
    "tcp-ece",
    "tcp-cwr",
}));

// Behind these a name is one of /etc/services or /etc/protocols.
constexpr std::array names_follow = {"port"sv, "portrange"sv, "proto"sv, "protochain"sv};
// These say nothing of what kind of name follows.
constexpr std::array joins = {"and"sv, "or"sv, "not"sv};

bool is_keyword(std::string_view word) {
  return std::ranges::binary_search(keywords, word);
}

bool consists_of(std::string_view word, std::string_view characters) {
  return !word.empty() && word.find_first_not_of(characters) == std::string_view::npos;
}

constexpr std::string_view digits = "0123456789";
constexpr std::string_view hex_digits = "0123456789abcdefABCDEF";

bool is_number(std::string_view word) {
  if (word.starts_with("0x") || word.starts_with("0X")) return consists_of(word.substr(2), hex_digits);
  return consists_of(word, digits);
}

// One to four numbers with points between them.
bool is_dotted(std::string_view word) {
  for (int parts = 1;; ++parts) {
    const auto point = word.find('.');
    if (parts > 4 || !consists_of(word.substr(0, point), digits)) return false;
    if (point == std::string_view::npos) return true;
    word.remove_prefix(point + 1);
  }
}

// Calls `fits` with what stands between the colons; whether it says yes to each.
template <class Fits>
bool each_part(std::string_view word, Fits fits) {
  for (;;) {
    const auto colon = word.find(':');
    if (!fits(word.substr(0, colon))) return false;
    if (colon == std::string_view::npos) return true;
    word.remove_prefix(colon + 1);
  }
}

bool is_hardware_address(std::string_view word) {
  return std::ranges::count(word, ':') == 5 &&
         each_part(word, [](std::string_view part) { return part.size() <= 2 && consists_of(part, hex_digits); });
}

bool is_ipv6(std::string_view word) {
  in6_addr parsed{};
  return inet_pton(AF_INET6, std::string(word).c_str(), &parsed) == 1;
}

// What holds a colon is an address or the inside of [offset:size]. Of anything else, as of "face:b00c", libpcap takes
// the beginning for a name.
bool holds_no_name(std::string_view word) {
  if (word.find(':') == std::string_view::npos) return is_keyword(word) || is_number(word) || is_dotted(word);
  return is_hardware_address(word) || is_ipv6(word) ||
         each_part(word, [](auto part) { return part.empty() || is_keyword(part) || is_number(part); });
}

bool is_word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.' || c == ':';
}

// The end of the name behind an '@' at `at`.
std::size_t end_of_set(std::string_view filter, std::size_t at, std::size_t column) {
  std::size_t end = at + 1;
  if (end < filter.size() && filter[end] == '"') {
    for (++end; end < filter.size(); ++end) {
      if (filter[end] == '\\') {
        ++end;
      } else if (filter[end] == '"') {
        return end + 1;
      }
    }
    throw fault{column + at + 1, "this string is not closed: expected a '\"' before the end of the line"};
  }
  return std::min(filter.find_first_of(" \t\r\v\f()\"", end), filter.size());
}

}  // namespace

std::vector<token> split_filter(std::string_view filter, std::size_t column) {
  std::vector<token> tokens;
  for (std::size_t at = 0; at < filter.size();) {
    const char c = filter[at];
    std::size_t end = at + 1;
    if (c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f') {
      ++at;
      continue;
    }
    if (c == '@') {
      end = end_of_set(filter, at, column);
    } else if (is_word_character(c) && c != '-') {
      while (end < filter.size() && is_word_character(filter[end])) ++end;
    } else if ((c == '&' || c == '|') && end < filter.size() && filter[end] == c) {
      ++end;
    }
    tokens.push_back({filter.substr(at, end - at), column + at});
    at = end;
  }
  return tokens;
}

std::size_t find_host_name(std::span<const token> filter) {
  bool may_be_named = false, is_escaped = false;
  std::vector<bool> before;  // each parenthesis that is open: what holds behind it again
  for (std::size_t at = 0; at < filter.size(); ++at) {
    const token& each = filter[at];
    // Behind a backslash a word of the language is a name, as in `proto \\tcp`.
    if (std::exchange(is_escaped, each.text == "\\")) {
      if (!may_be_named) return at;
      continue;
    }
    if (each.text == "(") before.push_back(may_be_named);
    if (each.text == ")" && !before.empty()) {
      may_be_named = before.back();
      before.pop_back();
    }
    if (!is_word_character(each.text.front()) || each.text == "-") continue;
    if (is_keyword(each.text)) {
      if (std::ranges::find(names_follow, each.text) != names_follow.end()) {
        may_be_named = true;
      } else if (std::ranges::find(joins, each.text) == joins.end()) {
        may_be_named = false;
      }
    } else if (!may_be_named && !holds_no_name(each.text)) {
      return at;
    }
  }
  return filter.size();
}

}  // namespace ipq::tool::rules
