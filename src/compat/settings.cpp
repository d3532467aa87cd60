// SPDX-License-Identifier: MIT
#include "compat/settings.hpp"

#include <charconv>
#include <cstdlib>

namespace ipq::compat {
namespace {

struct variable {
  const char* name;
  std::uint32_t least;
  std::uint32_t most;
};

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
  // A value of any length and content must not hide the end of the sentence.
  constexpr std::size_t shown = 40;
  std::string value(digits.substr(0, shown));
  if (digits.size() > shown) value += "...";
  const char* const joined = wanted.most == 1 ? " or " : " to ";
  return std::string(wanted.name) + "=" + value + ": expected " + (wanted.most == 1 ? "" : "a number from ") +
         std::to_string(wanted.least) + joined + std::to_string(wanted.most);
}

}  // namespace

std::expected<settings, std::string> read_settings(bool ipv6, environment look_up) {
  settings found;
  for (const auto& wrong : {read({ipv6 ? "LIBIPQ_QUEUE_IPV6" : "LIBIPQ_QUEUE", 0, 0xffff}, look_up, found.queue),
                            read({"LIBIPQ_MAX_LENGTH", 1, max_max_length}, look_up, found.max_length),
                            read({"LIBIPQ_FAIL_OPEN", 0, 1}, look_up, found.fail_open),
                            read({"LIBIPQ_DEBUG", 0, 1}, look_up, found.debug)}) {
    if (wrong) return std::unexpected(*wrong);
  }
  return found;
}

const char* process_environment(const char* name) noexcept {
  return ::secure_getenv(name);
}

}  // namespace ipq::compat
