// SPDX-License-Identifier: MIT
#include "compat/settings.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <utility>

namespace ipq::compat {
namespace {

struct variable {
  const char* name;
  std::uint32_t least;
  std::uint32_t most;
};

/// A value of any length and content must not hide the end of the sentence.
std::string shorten(std::string_view value) {
  constexpr std::size_t shown = 40;
  std::string shortened(value.substr(0, shown));
  if (value.size() > shown) shortened += "...";
  return shortened;
}

template <class Number>
std::optional<std::string> read(const variable& wanted, environment look_up, Number& into) {
  const char* const text = look_up(wanted.name);
  if (text == nullptr) return std::nullopt;
  const std::string_view digits(text);
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool is_number = error == std::errc{} && end == digits.data() + digits.size();
  if (is_number && number >= wanted.least && number <= wanted.most) {
    into = static_cast<Number>(number);
    return std::nullopt;
  }
  const char* const joined = wanted.most == 1 ? " or " : " to ";
  return std::string(wanted.name) + "=" + shorten(digits) + ": expected " + (wanted.most == 1 ? "" : "a number from ") +
         std::to_string(wanted.least) + joined + std::to_string(wanted.most);
}

constexpr const char* source_variable = "LIBIPQ_SOURCE";

/// A part that says neither hook nor then is a file. False: it can't be one.
bool read_source_part(std::string_view part, capture_settings& into) {
  constexpr std::string_view hook = "hook=", then = "then=";
  if (part.starts_with(hook)) {
    part.remove_prefix(hook.size());
    if (part.size() != 1 || part[0] < '0' || part[0] > '4') return false;
    into.hook = static_cast<std::uint8_t>(part[0] - '0');
    return true;
  }
  if (part.starts_with(then)) {
    part.remove_prefix(then.size());
    into.wait_at_end = part == "wait";
    return part == "wait" || part == "end";
  }
  if (part.empty() || !into.out.empty()) return false;
  into.out = part;
  return true;
}

std::optional<std::string> read_source(environment look_up, std::optional<capture_settings>& into) {
  const char* const text = look_up(source_variable);
  if (text == nullptr) return std::nullopt;
  const std::string_view whole(text);
  const auto wrong = [&] {
    return std::string(source_variable) + "=" + shorten(whole) +
           ": expected capture:IN[,OUT][,hook=0 to 4][,then=wait or end]";
  };
  constexpr std::string_view kind = "capture:";
  if (!whole.starts_with(kind)) return wrong();
  std::string_view rest = whole.substr(kind.size());
  capture_settings found;
  const auto next_part = [&] {
    const std::string_view part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    return part;
  };
  found.in = next_part();
  if (found.in.empty() || whole.ends_with(',')) return wrong();
  while (!rest.empty()) {
    if (!read_source_part(next_part(), found)) return wrong();
  }
  into = std::move(found);
  return std::nullopt;
}

}  // namespace

std::expected<settings, std::string> read_settings(bool ipv6, environment look_up) {
  settings found;
  for (const auto& wrong :
       {read({ipv6 ? "LIBIPQ_QUEUE_IPV6" : "LIBIPQ_QUEUE", 0, 0xffff}, look_up, found.queue),
        read({"LIBIPQ_MAX_LENGTH", 1, max_max_length}, look_up, found.max_length),
        read({"LIBIPQ_FAIL_OPEN", 0, 1}, look_up, found.fail_open), read({"LIBIPQ_DEBUG", 0, 1}, look_up, found.debug),
        read({"LIBIPQ_BATCH", 0, 1}, look_up, found.batch), read_source(look_up, found.capture)}) {
    if (wrong) return std::unexpected(*wrong);
  }
  return found;
}

const char* process_environment(const char* name) noexcept {
  return ::secure_getenv(name);
}

}  // namespace ipq::compat
