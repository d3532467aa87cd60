// SPDX-License-Identifier: MIT
// Reads and makes the tests in brackets.
#include "metadata.hpp"

#include <fmt/format.h>

#include <span>
#include <tuple>

#include "scanner.hpp"

namespace ipq::tool::rules {
namespace {

struct named_value {
  std::string_view name;
  std::uint32_t value;
};

constexpr named_value keys[] = {
    {"indev", static_cast<std::uint32_t>(metadata_key::indev)},
    {"outdev", static_cast<std::uint32_t>(metadata_key::outdev)},
    {"physindev", static_cast<std::uint32_t>(metadata_key::physindev)},
    {"physoutdev", static_cast<std::uint32_t>(metadata_key::physoutdev)},
    {"hook", static_cast<std::uint32_t>(metadata_key::hook)},
    {"family", static_cast<std::uint32_t>(metadata_key::family)},
    {"queue", static_cast<std::uint32_t>(metadata_key::queue)},
    {"mark", static_cast<std::uint32_t>(metadata_key::mark)},
    {"uid", static_cast<std::uint32_t>(metadata_key::uid)},
    {"gid", static_cast<std::uint32_t>(metadata_key::gid)},
};
constexpr named_value hooks[] = {
    {"prerouting", 0}, {"input", 1}, {"forward", 2}, {"output", 3}, {"postrouting", 4},
};
constexpr named_value families[] = {{"ipv4", 2}, {"ipv6", 10}, {"bridge", 7}};

std::uint32_t read_name(scanner& from, std::span<const named_value> known, const char* expected) {
  from.skip_space();
  scanner before = from;
  const std::string_view found = from.name();
  for (const named_value& each : known) {
    if (each.name == found) return each.value;
  }
  before.fail_expecting(expected);
}

void read_interface(scanner& from, metadata_test& into) {
  constexpr std::size_t most = 15;  // IFNAMSIZ - 1
  from.skip_space();
  scanner before = from;
  const auto column = from.column();
  into.name = from.peek() == '"' ? from.string() : std::string(from.word());
  if (into.name.ends_with('*')) {
    into.is_prefix = true;
    into.name.pop_back();
  } else if (into.name.empty()) {
    before.fail_expecting("the name of an interface");
  }
  if (into.name.size() > most) from.fail(column, fmt::format("the name of an interface has at most {} bytes", most));
  if (into.name.find_first_of(std::string_view("\0/", 2)) != std::string::npos) {
    from.fail(column, "the name of an interface holds neither '/' nor a NUL byte");
  }
}

void read_value(scanner& from, metadata_test& into) {
  switch (into.key) {
    case metadata_key::indev:
    case metadata_key::outdev:
    case metadata_key::physindev:
    case metadata_key::physoutdev:
      return read_interface(from, into);
    case metadata_key::hook:
      into.value = read_name(from, hooks, "a hook: prerouting, input, forward, output or postrouting");
      return;
    case metadata_key::family:
      into.value = read_name(from, families, "a family: ipv4, ipv6 or bridge");
      return;
    case metadata_key::queue:
      into.value = from.number(0xffff);
      return;
    case metadata_key::uid:
    case metadata_key::gid:
      into.value = from.number(0xffffffff);
      return;
    case metadata_key::mark:
      break;
  }
  from.skip_space();
  const auto column = from.column();
  std::tie(into.value, into.mask) = from.masked_number();
  if ((into.value & ~into.mask) != 0) from.fail(column, "no mark has bits outside of its mask: this would never match");
}

bool names_match(const metadata_test& test, std::uint32_t index, const interface_names& names) {
  if (index == 0 || !names) return false;
  const std::string_view name = names(index);
  return test.is_prefix ? !name.empty() && name.starts_with(test.name) : name == test.name;
}

bool is_equal(const metadata_test& test, const packet& which, const interface_names& names) {
  switch (test.key) {
    case metadata_key::indev:
      return names_match(test, which.indev, names);
    case metadata_key::outdev:
      return names_match(test, which.outdev, names);
    case metadata_key::physindev:
      return names_match(test, which.physindev, names);
    case metadata_key::physoutdev:
      return names_match(test, which.physoutdev, names);
    case metadata_key::hook:
      return which.hook == test.value;
    case metadata_key::family:
      return which.family == test.value;
    case metadata_key::queue:
      return which.queue == test.value;
    case metadata_key::mark:
      return (which.mark & test.mask) == test.value;
    case metadata_key::uid:
      return which.uid && *which.uid == test.value;
    case metadata_key::gid:
      return which.gid && *which.gid == test.value;
  }
  return false;
}

}  // namespace

bool metadata_test::matches(const packet& which, const interface_names& names) const {
  return is_equal(*this, which, names) != negated;
}

void add_interfaces(std::span<const metadata_test> tests, std::vector<std::string>& to) {
  for (const metadata_test& each : tests) {
    if (!each.name.empty() && !each.is_prefix) to.push_back(each.name);
  }
}

std::vector<metadata_test> read_metadata(scanner& from) {
  from.skip_space();
  const auto opening = from.column();
  from.take('[');
  std::vector<metadata_test> tests;
  while (!from.take(']')) {
    if (from.at_end()) from.fail(opening, "this bracket is not closed: expected a ']'");
    metadata_test made{};
    made.key = static_cast<metadata_key>(read_name(
        from, keys,
        "indev, outdev, physindev, physoutdev, hook, family, queue, mark, uid or gid, and a ']' behind the last"));
    made.negated = from.take('!');
    if (!from.take('=')) from.fail_expecting("'=' or '!='");
    read_value(from, made);
    tests.push_back(std::move(made));
  }
  if (tests.empty()) from.fail(opening, "expected a test between the brackets, as [hook=output]");
  return tests;
}

}  // namespace ipq::tool::rules
