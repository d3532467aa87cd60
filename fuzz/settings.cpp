// SPDX-License-Identifier: MIT
// Environment variables of any content.
#include "compat/settings.hpp"

#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <vector>

#include "input.hpp"

namespace {

using namespace ipq;
using fuzz::require;

constexpr std::array names{"LIBIPQ_QUEUE", "LIBIPQ_QUEUE_IPV6", "LIBIPQ_MAX_LENGTH", "LIBIPQ_FAIL_OPEN",
                           "LIBIPQ_DEBUG", "LIBIPQ_SOURCE",     "LIBIPQ_BATCH"};

std::array<std::optional<std::string>, names.size()> values;

const char* look_up(const char* name) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (std::string_view(name) == names[i]) return values[i] ? values[i]->c_str() : nullptr;
  }
  require(false);
  return nullptr;
}

/// Read digit by digit; nothing but digits is a number.
std::optional<std::uint64_t> plain_number(std::string_view text) {
  if (text.empty()) return std::nullopt;
  std::uint64_t number = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '9') return std::nullopt;
    number = std::min<std::uint64_t>(number * 10 + static_cast<std::uint64_t>(digit - '0'), 1ULL << 40);
  }
  return number;
}

std::uint64_t expected(std::size_t which, std::uint64_t least, std::uint64_t most, std::uint64_t otherwise,
                       bool& valid) {
  if (!values[which]) return otherwise;
  const auto number = plain_number(values[which]->c_str());
  if (!number || *number < least || *number > most) valid = false;
  return number.value_or(0);
}

/// Part by part, as the manual has it.
bool is_source(std::string text) {
  if (!text.starts_with("capture:")) return false;
  text.erase(0, 8);
  std::vector<std::string> parts{""};
  for (const char each : text) {
    if (each == ',') {
      parts.emplace_back();
    } else {
      parts.back() += each;
    }
  }
  int files = 0;
  for (const auto& part : parts) {
    if (part.empty()) return false;
    const bool first = &part == parts.data();
    if (!first && part.starts_with("hook=")) {
      if (part.size() != 6 || part[5] < '0' || part[5] > '4') return false;
    } else if (!first && part.starts_with("then=")) {
      if (part != "then=wait" && part != "then=end") return false;
    } else {
      ++files;
    }
  }
  return files <= 2;
}

void check(bool ipv6) {
  const auto found = compat::read_settings(ipv6, look_up);
  bool valid = true;
  const auto queue = expected(ipv6 ? 1 : 0, 0, 65535, 0, valid);
  const auto max_length = expected(2, 1, compat::max_max_length, 1024, valid);
  const auto fail_open = expected(3, 0, 1, 0, valid);
  const auto debug = expected(4, 0, 1, 0, valid);
  const auto batch = expected(6, 0, 1, 0, valid);
  if (values[5] && !is_source(values[5]->c_str())) valid = false;
  require(found.has_value() == valid);
  if (found) {
    require(found->queue == queue && found->max_length == max_length);
    require(found->capture.has_value() == values[5].has_value());
    require(found->fail_open == (fail_open == 1) && found->debug == (debug == 1));
    require(found->batch == (batch == 1));
  } else {
    require(found.error().starts_with("LIBIPQ_") && found.error().size() < 160);
    require(found.error().find(": expected ") != std::string::npos);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input from(data, size);
  const std::uint8_t set = from.byte();
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i].reset();
    if ((set >> i & 1) == 0) continue;
    const auto text = from.take(from.byte());
    values[i].emplace(reinterpret_cast<const char*>(text.data()), text.size());
  }
  check(false);
  check(true);
  return 0;
}
