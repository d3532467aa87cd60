// SPDX-License-Identifier: MIT
// Asks libpcap about the beginnings of a filter. A parser that takes a beginning asks for the next word; where that is
// one that libpcap's scanner has a complaint of its own about, the complaint shows that the parser came so far.
#include "refusal.hpp"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <chrono>
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

// How long libpcap takes grows with the square of what some filters hold; whoever waits is a person, or traffic at a
// reload. By the processor's time, so that who else uses it changes no answer.
class questions {
 public:
  [[nodiscard]] std::string refusal_of(const std::string& text) {
    if (!are_over()) return program::refusal_of(text);
    gave_up_ = true;
    return {};
  }
  [[nodiscard]] bool may_go_on(const std::string& beginning) {
    return says(refusal_of(beginning + std::string(unreadable)), complaint);
  }
  /// Some have not been asked, and all conclusions are void.
  [[nodiscard]] bool gave_up() const noexcept { return gave_up_; }

 private:
  static constexpr std::chrono::milliseconds most{200};

  [[nodiscard]] static std::chrono::nanoseconds time_used() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
  }
  [[nodiscard]] bool are_over() const noexcept { return time_used() - begin_ > most; }

  const std::chrono::nanoseconds begin_ = time_used();
  bool gave_up_ = false;
};

// Behind a backslash, and between the signs of "!=", nobody can stop.
bool ends_word(std::span<const token> filter, std::size_t last) {
  if (last + 1 == filter.size()) return true;
  const token& here = filter[last];
  const token& next = filter[last + 1];
  if (here.text == "\\") return false;
  constexpr std::string_view first = "!<>=";
  const bool is_pair = here.text.size() == 1 && first.find(here.text) != std::string_view::npos &&
                       (next.text == "=" || (next.text == here.text && here.text != "!"));
  return !is_pair || next.column != here.column + 1;
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
  /// The word that a token is part of.
  [[nodiscard]] std::size_t word_of(std::size_t token) const {
    return static_cast<std::size_t>(std::ranges::lower_bound(ends_, token) - ends_.begin());
  }
  /// The first word with which a beginning is so, or `words` if the first `words` are not; what is so once stays so.
  template <class IsSo>
  [[nodiscard]] std::size_t first_word_with(std::size_t words, IsSo is_so) const {
    std::size_t low = 0;
    for (std::size_t high = words; low < high;) {
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
  std::string_view rest_in_ipv6 = rest;
};

constexpr candidate candidates[] = {
    {"src", "", "'src'"},
    {"dst", "", "'dst'"},
    {"host", " 192.0.2.1", "'host'", " 2001:db8::1"},
    {"net", " 192.0.2.0/24", "'net'", " 2001:db8::/32"},
    {"port", " 1", "'port'"},
    {"portrange", " 1-2", "'portrange'"},
    {"proto", " 1", "'proto'"},
    {"192.0.2.1", "", "an address"},
    {"2001:db8::1", "", "an address"},
    {"255.255.255.255", "", "an address"},  // behind 'mask'
    {"1", "", "a number"},
    {"32", "", "a number"},  // behind '/'
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

// One of these says it for all.
bool says_the_same(std::string_view one, std::string_view other) {
  return one == other || (one == "an address" && other == "a number");
}

// What could stand behind a beginning, for people.
std::string expected_behind(const std::string& beginning, std::string_view last_word, questions& pcap) {
  // `port not 80` is grammar, too.
  if (pcap.may_go_on(beginning + " not") && pcap.may_go_on(beginning + " tcp")) {
    return "a test, as in 'udp port 53' or 'host 192.0.2.1'";
  }
  std::vector<std::string_view> names;
  for (const candidate& each : candidates) {
    if (std::ranges::any_of(names, [&](auto before) { return says_the_same(before, each.name); })) continue;
    const auto tried = fmt::format("{} {}", beginning, each.word);
    if (!pcap.may_go_on(tried)) continue;
    const auto is_senseless = [&](std::string_view rest) {
      const auto refused = pcap.refusal_of(tried + std::string(rest));
      return !refused.empty() && !is_of_grammar(refused);
    };
    if (is_senseless(each.rest) && is_senseless(each.rest_in_ipv6)) continue;  // as in `tcp host`
    names.push_back(each.name);
  }
  std::ranges::replace(names, "a number", number_behind(last_word));
  if (last_word == "mask") std::ranges::replace(names, "an address", "a mask, as 255.255.255.0");
  if (pcap.refusal_of(beginning).empty() && !beginning.empty()) names.emplace_back("the filter's end");
  if (names.empty() || pcap.gave_up()) return "what pcap-filter(7) has here";
  std::string all;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) all += i + 1 == names.size() ? " or " : ", ";
    all += names[i];
  }
  return all;
}

std::string quoted(std::string_view word) {
  constexpr std::size_t most = 40;
  return fmt::format("'{}{}'", word.substr(0, most), word.size() > most ? "..." : "");
}

// That the filter's word `at` can't stand there, or that it should not end there.
fault fault_at(const beginnings& text, std::size_t at, questions& pcap) {
  const auto expected = expected_behind(text.first(at), at == 0 ? std::string_view() : text.word(at - 1), pcap);
  if (at == text.size()) return fault{text.column_of(at), fmt::format("expected {}", expected)};
  return fault{text.column_of(at), fmt::format("expected {}, not {}", expected, quoted(text.word(at)))};
}

std::size_t first_refused_word(const beginnings& text, std::size_t words, questions& pcap) {
  return text.first_word_with(words, [&](const std::string& beginning) {
    return is_of_grammar(pcap.refusal_of(beginning + std::string(unreadable)));
  });
}

struct remark {
  std::string_view about;
  std::string_view expected;
  bool is_about_the_word_before = false;
};

// Most of libpcap's messages only say what is wrong.
constexpr remark remarks[] = {
    {"unknown port in range", "a range of ports, as 6000-6010"},
    {"unknown port '", "a number of 0 to 65535 or a name of /etc/services; ranges stand behind 'portrange'"},
    {"illegal port", "a number of 0 to 65535"},
    {"unknown ip proto", "a number of 0 to 255 or a name of /etc/protocols, the filter's own words behind a '\\'"},
    {"illegal qualifier of 'port'", "'tcp', 'udp', 'sctp' or no protocol before it", true},
    {"'port' modifier applied", "the number or name of a port"},
    {"'portrange' modifier applied", "a range of ports, as 6000-6010"},
    {"'proto' modifier applied", "the number or name of a protocol"},
    {"'ip6' modifier applied to ip host", "an IPv6 address"},
    {"'ip' modifier applied to ip6 host", "an IPv4 address"},
    {"modifier applied to ip", "an address of that protocol"},
    {"modifier applied to", "'ip', 'ip6' or no protocol before it", true},
    {"proto' is bogus", "'ip', 'ip6' or no protocol before it", true},
    {"invalid IPv4 address", "up to four numbers of 0 to 255 with points between them"},
    {"Mask syntax for networks only", "'net' before it, or no mask"},
    {"non-network bits set", "zeros behind the bits of the network"},
    {"requires a name", "'host' and an address: names of hosts are not looked up", true},
    {"overflows 32 bits", "a number of 0 to 4294967295"},
    {"non-octal digit", "a number that does not begin with 0"},
    {"by zero", "another number"},
    {"shift by more", "a number of 0 to 31"},
    {"data size must be", "", true},
    {"rejects all packets", "a test that a packet can pass"},
};

}  // namespace

fault explain_refusal(std::string_view line, std::span<const token> filter, const std::string& why) {
  const beginnings text(line, filter);
  questions pcap;
  if (is_of_grammar(why) && pcap.may_go_on({})) {
    auto found = fault_at(text, first_refused_word(text, text.size(), pcap), pcap);
    if (!pcap.gave_up()) return found;
  }
  std::size_t at = text.first_word_with(text.size(), [&](const std::string& beginning) {
    return pcap.refusal_of(beginning) == why || pcap.refusal_of(beginning + std::string(unreadable)) == why;
  });
  if (at == text.size() || pcap.gave_up()) at = 0;
  const auto known = std::ranges::find_if(remarks, [&](const remark& each) { return says(why, each.about); });
  if (known != std::end(remarks) && known->is_about_the_word_before && at > 0) --at;
  if (says(why, "expected") || says(why, "must be") || says(why, "memory")) return fault{text.column_of(at), why};
  return fault{
      text.column_of(at),
      fmt::format("{}: expected {}", why,
                  known != std::end(remarks) ? known->expected
                                             : "what pcap-filter(7) has for packets that begin at their IP header")};
}

fault explain_name(std::string_view line, std::span<const token> filter, std::size_t name) {
  const beginnings text(line, filter);
  questions pcap;
  // What stands before it holds no name, so libpcap may see that.
  const std::size_t word = text.word_of(name);
  const auto before = pcap.refusal_of(text.first(word) + std::string(unreadable));
  if (word > 0 && !before.empty() && !is_of_grammar(before) && !says(before, complaint)) {
    return explain_refusal(line, filter.first(name), before);
  }
  auto found = fault_at(text, first_refused_word(text, word, pcap), pcap);
  if (says(found.message, "an address") || says(found.message, "has here")) {
    found.message += ": names of hosts are not looked up";
  }
  return found;
}

}  // namespace ipq::tool::rules
