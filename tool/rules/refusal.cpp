// SPDX-License-Identifier: MIT
// Asks libpcap about the beginnings of a filter. A parser that takes a beginning asks for the next word; where that is
// one that libpcap's scanner has a complaint of its own about, the complaint shows that the parser came so far.
#include "refusal.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "program.hpp"

namespace ipq::tool::rules {
namespace {

// It looks like an address of IPv6 and is none, so that the scanner gives up on it, whatever the parser expects.
constexpr std::string_view unreadable = " ::1.2.3.999";
constexpr std::string_view complaint = "bogus IPv6 address";

bool says(std::string_view message, std::string_view what) {
  return message.find(what) != std::string_view::npos;
}

bool is_of_grammar(std::string_view message) {
  return says(message, "syntax error");
}

bool may_go_on(const std::string& beginning) {
  return says(program::refusal_of(beginning + std::string(unreadable)), complaint);
}

// Behind a backslash, and between the signs of "!=", nobody can stop.
bool ends_word(std::span<const token> filter, std::size_t last) {
  if (last + 1 == filter.size()) return true;
  const token& here = filter[last];
  const token& next = filter[last + 1];
  if (here.text == "\\") return false;
  constexpr std::string_view first = "!<>=";
  const bool is_pair = here.text.size() == 1 && first.find(here.text) != std::string_view::npos &&
                       (next.text == "=" || (next.text == here.text && here.text != "!"));
  return !(is_pair && next.column == here.column + 1);
}

class beginnings {
 public:
  beginnings(std::string_view line, std::span<const token> filter) : line_(line), filter_(filter) {
    for (std::size_t last = 0; last < filter.size(); ++last) {
      if (ends_word(filter, last)) ends_.push_back(last);
    }
  }

  [[nodiscard]] std::size_t size() const noexcept { return ends_.size(); }
  /// The filter's first `words` words.
  [[nodiscard]] std::string first(std::size_t words) const {
    if (words == 0) return {};
    const std::size_t begin = filter_.front().column - 1;
    const token& last = filter_[ends_[words - 1]];
    return std::string(line_.substr(begin, last.column - 1 + last.text.size() - begin));
  }
  [[nodiscard]] std::size_t column_of(std::size_t word) const {
    if (word == size()) return filter_.back().column + filter_.back().text.size();
    return filter_[word == 0 ? 0 : ends_[word - 1] + 1].column;
  }
  [[nodiscard]] std::string_view word(std::size_t which) const {
    const token& last = filter_[ends_[which]];
    const std::size_t begin = column_of(which) - 1;
    return line_.substr(begin, last.column - 1 + last.text.size() - begin);
  }
  /// The first word with which a beginning is so; what is so once stays so.
  template <class IsSo>
  [[nodiscard]] std::size_t first_word_with(IsSo is_so) const {
    std::size_t low = 0;
    for (std::size_t high = size(); low < high;) {
      const std::size_t middle = (low + high) / 2;
      if (is_so(first(middle + 1))) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }

 private:
  std::string_view line_;
  std::span<const token> filter_;
  std::vector<std::size_t> ends_;
};

struct candidate {
  std::string_view word;
  std::string_view rest;  // makes a test of it that could stand alone
  std::string_view name;
};

constexpr candidate candidates[] = {
    {"src", "", "'src'"},
    {"dst", "", "'dst'"},
    {"host", " 192.0.2.1", "'host'"},
    {"net", " 192.0.2.0/24", "'net'"},
    {"port", " 1", "'port'"},
    {"portrange", " 1-2", "'portrange'"},
    {"proto", " 1", "'proto'"},
    {"192.0.2.1", "", "an address"},
    {"2001:db8::1", "", "an address"},
    {"1", "", "a number"},
    {"[", "", "'['"},
    {"]", "", "']'"},
    {"+", "", "an operator, as '&'"},
    {"=", "", "a comparison, as '='"},
    {"and", "", "'and'"},
    {"or", "", "'or'"},
    {")", "", "')'"},
};

std::string_view number_behind(std::string_view word) {
  if (word == "port") return "the number or name of a port";
  if (word == "portrange") return "a range of ports, as 6000-6010";
  if (word == "proto") return "the number or name of a protocol";
  return "a number";
}

// What could stand behind a beginning, for people. Empty: nothing that we know.
std::string expected_behind(const std::string& beginning, std::string_view last_word) {
  // `port not 80` is grammar, too.
  if (may_go_on(beginning + " not") && may_go_on(beginning + " tcp"))
    return "a test, as in 'udp port 53' or 'host 192.0.2.1'";
  std::vector<std::string_view> names;
  for (const candidate& each : candidates) {
    // One address says it for both families, and for a network's number.
    if ((each.name == "an address" || each.word == "1") && std::ranges::find(names, "an address") != names.end()) {
      continue;
    }
    const auto tried = fmt::format("{} {}", beginning, each.word);
    if (!may_go_on(tried)) continue;
    const auto refused = program::refusal_of(tried + std::string(each.rest));
    if (!refused.empty() && !is_of_grammar(refused)) continue;  // as in `tcp host`
    names.push_back(each.word == "1" ? number_behind(last_word) : each.name);
  }
  if (program::refusal_of(beginning).empty()) names.push_back("the filter's end");
  std::string all;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) all += i + 1 == names.size() ? " or " : ", ";
    all += names[i];
  }
  return all;
}

struct remark {
  std::string_view about;
  std::string_view expected;
};

// Some of libpcap's messages say what is wrong alone.
constexpr remark remarks[] = {
    {"unknown port '", "a number of 0 to 65535 or a name of /etc/services; ranges stand behind 'portrange'"},
    {"illegal port", "a number of 0 to 65535"},
    {"proto '", "a number of 0 to 255 or a name of /etc/protocols, the filter's own words behind a '\\'"},
    {"invalid IPv4 address", "up to four numbers of 0 to 255 with points between them"},
    {"non-network bits set", "zeros behind the bits of the network"},
    {"modifier applied to ip host", "an address of that protocol"},
    {"modifier applied to ip6 host", "an address of that protocol"},
    {"rejects all packets", "a test that a packet can pass"},
};

constexpr std::string_view otherwise = "what pcap-filter(7) has for packets that begin at their IP header";

std::string_view expected_instead_of(std::string_view why) {
  const auto found = std::ranges::find_if(remarks, [&](const remark& each) { return says(why, each.about); });
  return found == std::end(remarks) ? otherwise : found->expected;
}

}  // namespace

fault explain_refusal(std::string_view line, std::span<const token> filter, const std::string& why) {
  const beginnings text(line, filter);
  if (is_of_grammar(why) && may_go_on({})) {
    const std::size_t at = text.first_word_with([](const std::string& beginning) {
      return is_of_grammar(program::refusal_of(beginning + std::string(unreadable)));
    });
    auto expected = expected_behind(text.first(at), at == 0 ? std::string_view() : text.word(at - 1));
    if (expected.empty()) expected = "what pcap-filter(7) has here";
    if (at == text.size()) return fault{text.column_of(at), fmt::format("expected {}", expected)};
    const bool is_long = text.word(at).size() > 40;
    return fault{text.column_of(at),
                 fmt::format("expected {}, not '{}{}'", expected, text.word(at).substr(0, 40), is_long ? "..." : "")};
  }
  std::size_t at = text.first_word_with([&](const std::string& beginning) {
    return program::refusal_of(beginning) == why || program::refusal_of(beginning + std::string(unreadable)) == why;
  });
  if (at == text.size()) at = 0;
  const bool says_all = says(why, "expected") || says(why, "must be") || says(why, "memory");
  return fault{text.column_of(at), says_all ? why : fmt::format("{}: expected {}", why, expected_instead_of(why))};
}

}  // namespace ipq::tool::rules
