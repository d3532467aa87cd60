// SPDX-License-Identifier: MIT
// Reads sets line by line, so that only ranges are kept in memory, and searches them in two steps.
#include "address_set.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

#include "fault.hpp"
#include "file.hpp"
#include "ipq/bytes.hpp"

namespace ipq::tool::rules {
namespace {

using key6 = unsigned __int128;

std::uint32_t key_of(const ipv4_address& address) noexcept {
  return read_be32(std::as_bytes(std::span(address.bytes)), 0);
}

key6 key_of(const ipv6_address& address) noexcept {
  const auto bytes = std::as_bytes(std::span(address.bytes));
  key6 key = 0;
  for (std::size_t at = 0; at < 16; at += 4) key = key << 32 | read_be32(bytes, at);
  return key;
}

std::string_view trimmed(std::string_view text) noexcept {
  const auto first = text.find_first_not_of(" \t\r\v\f");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\v\f") - first + 1);
}

// The lines of a node come from memory together, not each when the search gets to it.
template <class T>
void fetch(const T* node, std::size_t size) noexcept {
  constexpr std::size_t per_line = std::max<std::size_t>(64 / sizeof(T), 1);
  for (std::size_t at = 0; at < size; at += per_line) __builtin_prefetch(node + at);
}

constexpr const char* expected_entry =
    "expected an address, a network or a range, as 192.0.2.1, 2001:db8::/32 or 192.0.2.1-192.0.2.9";

}  // namespace

template <class Key, class Part>
void range_table<Key, Part>::finish() {
  std::sort(ranges_.begin(), ranges_.end(), [](const range& a, const range& b) { return a.first < b.first; });
  std::size_t kept = 0;
  for (const range& each : ranges_) {
    if (kept > 0) {
      range& before = ranges_[kept - 1];
      const bool to_the_end = before.last == static_cast<Key>(-1);
      if (to_the_end || each.first <= before.last + 1) {
        before.last = std::max(before.last, each.last);
        continue;
      }
    }
    ranges_[kept++] = each;
  }
  ranges_.resize(kept);
  make_levels();
}

template <class Key, class Part>
void range_table<Key, Part>::make_levels() {
  levels_.clear();
  std::size_t size = ranges_.size();
  do {
    std::vector<node> level((size + width - 1) / width);
    for (std::size_t at = 0; at < level.size() * width; ++at) {
      Part& part = level[at / width].parts[at % width];
      if (at >= size) {
        part = static_cast<Part>(-1);  // the largest: passed over or cut off
      } else {
        part = levels_.empty() ? part_of(ranges_[at].first) : levels_.back()[at].parts[0];
      }
    }
    size = level.size();
    levels_.push_back(std::move(level));
  } while (size > 1);
}

// The last range whose part is not greater. There has to be one.
template <class Key, class Part>
std::size_t range_table<Key, Part>::last_not_behind(Part part) const noexcept {
  std::size_t at = 0;
  for (std::size_t level = levels_.size(); level-- > 0;) {
    const auto& parts = levels_[level][at].parts;
    fetch(parts.data(), width);
    std::size_t in = 0;
    for (std::size_t step = width / 2; step > 0; step /= 2) in += parts[in + step] <= part ? step : 0;
    at = std::min(at * width + in, (level > 0 ? levels_[level - 1].size() : ranges_.size()) - 1);
  }
  return at;
}

template <class Key, class Part>
bool range_table<Key, Part>::contains(Key key) const noexcept {
  if (ranges_.empty() || key < ranges_.front().first) return false;
  std::size_t at = last_not_behind(part_of(key));
  if (ranges_[at].first <= key) return key <= ranges_[at].last;
  // Several begin with this part: the last of them that is not behind the key, by steps that double and then a search.
  std::size_t behind = at;
  for (std::size_t step = 1; ranges_[at].first > key; step *= 2) {
    behind = at;
    at -= std::min(at, step);
  }
  const auto begin = ranges_.begin();
  const auto next =
      std::upper_bound(begin + static_cast<std::ptrdiff_t>(at), begin + static_cast<std::ptrdiff_t>(behind), key,
                       [](Key wanted, const range& each) { return wanted < each.first; });
  return key <= std::prev(next)->last;
}

template class range_table<std::uint32_t, std::uint32_t>;
template class range_table<unsigned __int128, std::uint64_t>;

/// Takes a text in pieces of any size and cuts it into lines.
class address_set::loader {
 public:
  explicit loader(std::string_view name) : name_(name) {}

  /// False if there are too many faults to go on.
  bool take(std::string_view piece) {
    while (!piece.empty()) {
      const auto end = piece.find('\n');
      line_.append(piece.substr(0, std::min(end, most + 1)));
      if (end == std::string_view::npos) {
        if (line_.size() > most) line_.resize(most + 1);
        return !faults_.full();
      }
      take_line();
      if (faults_.full()) return false;
      piece.remove_prefix(end + 1);
    }
    return true;
  }

  std::expected<address_set, std::vector<diagnostic>> finish() {
    if (!line_.empty() && !faults_.full()) take_line();
    if (!faults_.empty()) return std::unexpected(std::move(faults_).take());
    made_.ipv4_.finish();
    made_.ipv6_.finish();
    return std::move(made_);
  }

 private:
  static constexpr std::size_t most = 4096;

  void take_line() {
    ++number_;
    if (const auto nul = line_.find('\0'); nul != std::string::npos) {
      faults_.add_last({.file = name_,
                        .line = number_,
                        .column = nul + 1,
                        .message = "a NUL byte: this is no file of addresses, which is text",
                        .text = line_});
      line_.clear();
      return;
    }
    try {
      if (line_.size() > most) throw fault{0, fmt::format("the line is longer than {} bytes", most)};
      take_entry(line_);
    } catch (const fault& what) {
      faults_.add({.file = name_, .line = number_, .column = what.column, .message = what.message, .text = line_});
    }
    line_.clear();
  }

  void take_entry(std::string_view line) {
    const std::string_view entry = trimmed(line.substr(0, line.find_first_of("#;")));
    if (entry.empty()) return;
    // The name of a PeerGuardian entry may hold anything: what is an entry by itself, and, where that is none, also
    // what begins a comment elsewhere.
    if (parse_named(entry, line) || parse_entry(entry, line) || parse_named(line, line)) return;
    if (const auto colon = line.rfind(':'); colon != std::string_view::npos) {
      const std::string_view range = trimmed(line.substr(colon + 1));
      if (range.find('-') != std::string_view::npos && ipv4_address::parse(trimmed(range.substr(0, range.find('-'))))) {
        if (parse_entry(range, line)) return;  // a range that is not whole, of which it says what is wrong
      }
    }
    const std::size_t column = column_of(entry, line);
    if (entry.front() == '@') throw fault{column, "a set does not include another: name both in the rule"};
    throw fault{column, expected_entry};
  }

  static std::size_t column_of(std::string_view part, std::string_view line) noexcept {
    return static_cast<std::size_t>(part.data() - line.data()) + 1;
  }

  // False if there is no range of IPv4 behind the last colon.
  bool parse_named(std::string_view text, std::string_view line) {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return false;
    const std::string_view range = text.substr(colon + 1);
    const auto dash = range.find('-');
    if (dash == std::string_view::npos) return false;
    const std::string_view last = trimmed(range.substr(dash + 1));
    return ipv4_address::parse(last) &&
           add_range<ipv4_address>(trimmed(range.substr(0, dash)), last, line, made_.ipv4_);
  }

  // False if this is nothing that looks like an entry.
  bool parse_entry(std::string_view entry, std::string_view line) {
    if (const auto slash = entry.find('/'); slash != std::string_view::npos) {
      return parse_network(trimmed(entry.substr(0, slash)), trimmed(entry.substr(slash + 1)), line);
    }
    const auto dash = entry.find('-');
    const std::string_view first = trimmed(entry.substr(0, dash));
    const std::string_view last = dash == std::string_view::npos ? first : trimmed(entry.substr(dash + 1));
    return add_range<ipv4_address>(first, last, line, made_.ipv4_) ||
           add_range<ipv6_address>(first, last, line, made_.ipv6_);
  }

  template <class Address, class Table>
  static bool add_range(std::string_view from, std::string_view to, std::string_view line, Table& table) {
    const auto first = Address::parse(from);
    if (!first) return false;
    const auto last = Address::parse(to);
    if (!last)
      throw fault{to.empty() ? column_of(from, line) : column_of(to, line),
                  "expected the end of the range, an address of the same family"};
    if (*last < *first) {
      throw fault{column_of(from, line), fmt::format("the range is upside down: {} is behind {}", from, to)};
    }
    table.add(key_of(*first), key_of(*last));
    return true;
  }

  bool parse_network(std::string_view address, std::string_view prefix, std::string_view line) {
    if (const auto ipv4 = ipv4_address::parse(address)) {
      add_network(key_of(*ipv4), 32, prefix, line, made_.ipv4_);
      return true;
    }
    if (const auto ipv6 = ipv6_address::parse(address)) {
      add_network(key_of(*ipv6), 128, prefix, line, made_.ipv6_);
      return true;
    }
    return false;
  }

  template <class Key>
  static void add_network(Key key, unsigned bits, std::string_view prefix, std::string_view line, auto& table) {
    unsigned length = 0;
    const auto [end, status] = std::from_chars(prefix.data(), prefix.data() + prefix.size(), length);
    if (prefix.empty() || status != std::errc() || end != prefix.data() + prefix.size() || length > bits) {
      throw fault{column_of(prefix, line), fmt::format("expected a prefix length of 0 to {}", bits)};
    }
    const Key host = length == 0 ? static_cast<Key>(-1) : length == bits ? Key{0} : static_cast<Key>(-1) >> length;
    if ((key & host) != 0) {
      throw fault{column_of(prefix, line),
                  fmt::format("the address has bits behind its prefix of {}: is the length right?", length)};
    }
    table.add(key, key | host);
  }

  std::string name_;
  std::string line_;
  std::size_t number_ = 0;
  address_set made_;
  fault_list faults_;
};

std::expected<address_set, std::vector<diagnostic>> address_set::read(const std::filesystem::path& file) {
  const auto unreadable = [&](file_error why) {
    return std::unexpected(
        std::vector{diagnostic{.file = file.string(), .message = std::move(why.text), .forbidden = why.forbidden}});
  };
  auto input = input_file::open(file);
  if (!input) return unreadable(std::move(input.error()));
  loader loading(file.string());
  std::vector<char> buffer(std::size_t{64} << 10);
  for (;;) {
    const auto got = input->read(buffer);
    if (!got) return unreadable(got.error());
    if (*got == 0 || !loading.take({buffer.data(), *got})) return loading.finish();
  }
}

std::expected<address_set, std::vector<diagnostic>> address_set::parse(std::string_view name, std::string_view text) {
  loader loading(name);
  loading.take(text);
  return loading.finish();
}

bool address_set::contains(const ipv4_address& address) const noexcept {
  return ipv4_.contains(key_of(address));
}

bool address_set::contains(const ipv6_address& address) const noexcept {
  return ipv6_.contains(key_of(address));
}

}  // namespace ipq::tool::rules
