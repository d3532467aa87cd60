// SPDX-License-Identifier: MIT
#include "rule_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "command_line.hpp"
#include "printable.hpp"
#include "values.hpp"

namespace tool {

void add_rule_options(command_line& to, rule_options& options) {
  to.add_repeated("-f,--file", "FILE", 1, options.files, "read rules from this file; may be repeated");
  to.add_arguments("RULE", options.arguments, "rules, each one argument: 'drop : udp port 53'");
}

void add_delay_options(command_line& to, ipq::tool::rules::delayed_limits& limits) {
  to.add_option("--delay-packets", "N", limits.packets, number_between(1, 10'000'000),
                "packets that may wait for their time, in each worker; without it 100000");
  to.add_option(
      "--delay-bytes", "SIZE", limits.bytes,
      [](std::string_view text) { return parse_size(text, 1, std::uint64_t{1} << 40); },
      "the same in bytes, as 64M; without it 256M");
  to.add_option(
      "--delay-full", "accept|drop", limits.beyond,
      [](std::string_view text) -> parsed<ipq::verdict::action> {
        auto made = parse_verdict(text);
        if (!made) return std::unexpected(std::move(made).error());
        return made->what();
      },
      "what becomes of packets beyond these; without it drop");
}

outcome<ipq::tool::rules::ruleset> compile_rules(const rule_options& from) {
  using namespace ipq::tool::rules;
  if (from.files.empty() && from.arguments.empty()) {
    return fail(wrong_usage, "there are no rules: name a file with -f, or give rules as arguments");
  }
  std::vector<source> sources;
  for (const std::string& each : from.files) {
    auto read = read_source(each);
    if (!read) {
      std::string message = read.error().render();
      while (message.ends_with('\n')) message.pop_back();
      return fail(read.error().forbidden ? no_rights : wrong_usage, std::move(message));
    }
    sources.push_back(*std::move(read));
  }
  for (std::size_t i = 0; i < from.arguments.size(); ++i) {
    sources.push_back({.name = fmt::format("rule {}", i + 1), .text = from.arguments[i]});
  }
  auto made = ruleset::compile(sources);
  if (made && made->size() == 0) {
    // As where an editor or a script has emptied the file first.
    std::string names;
    for (const source& each : sources) names += (names.empty() ? "" : ", ") + printable(each.name);
    return fail(wrong_usage, fmt::format("{}: there is no rule in it; one that accepts everything is 'accept'", names));
  }
  if (made) return *std::move(made);
  std::string message = render(made.error());
  while (message.ends_with('\n')) message.pop_back();
  const bool forbidden = std::ranges::any_of(made.error(), &ipq::tool::rules::diagnostic::forbidden);
  return fail(forbidden ? no_rights : wrong_usage, std::move(message));
}

std::unexpected<failure> fail_at(ipq::tool::rules::diagnostic where, exit_code code, std::string message) {
  where.message = std::move(message);
  std::string text = where.render();
  while (text.ends_with('\n')) text.pop_back();
  return fail(code, std::move(text));
}

std::unexpected<failure> fail_at(const ipq::tool::rules::ruleset& rules, const ipq::tool::rules::ruleset::place& where,
                                 exit_code code, std::string message) {
  return fail_at(rules.fault_at(where, {}), code, std::move(message));
}

}  // namespace tool
