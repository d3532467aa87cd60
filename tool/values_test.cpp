// SPDX-License-Identifier: MIT
#include "values.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace tool {
namespace {

using namespace std::chrono_literals;

std::string quoted(const char* text) {
  return fmt::format("'{}'", text);
}

std::string error_of(const auto& value) {
  return value ? "none" : value.error();
}

TEST(values, numbers) {
  EXPECT_EQ(parse_number("0", 0, 5), 0u);
  EXPECT_EQ(parse_number("18446744073709551615", 0, ~0ull), ~0ull);
  EXPECT_EQ(error_of(parse_number("6", 1, 5)), "6 is out of range: expected 1 to 5");
  EXPECT_EQ(error_of(parse_number("18446744073709551616", 0, ~0ull)),
            "18446744073709551616 is out of range: expected 0 to 18446744073709551615");
  for (const char* wrong : {"", " 1", "1 ", "-1", "+1", "0x1", "1.0", "one"}) {
    EXPECT_EQ(error_of(parse_number(wrong, 0, 5)), quoted(wrong) + " is no number");
  }
}

TEST(values, decimals) {
  EXPECT_EQ(parse_decimal("0.5", 0.05, 3600), 0.5);
  EXPECT_EQ(parse_decimal("3600", 0.05, 3600), 3600);
  EXPECT_EQ(error_of(parse_decimal("0.04", 0.05, 3600)), "0.04 is out of range: expected 0.05 to 3600");
  EXPECT_EQ(error_of(parse_decimal("3600.5", 0.05, 3600)), "3600.5 is out of range: expected 0.05 to 3600");
  EXPECT_EQ(error_of(parse_decimal("-1", 0, 1)), "-1 is out of range: expected 0 to 1");
  EXPECT_EQ(error_of(parse_decimal("inf", 0, 1)), "inf is out of range: expected 0 to 1");
  EXPECT_EQ(error_of(parse_decimal(std::string(400, '9'), 0, 1)),
            std::string(400, '9') + " is out of range: expected 0 to 1");
  for (const char* wrong : {"", " 1", "1 ", "+1", "1,5", "1e3", "0x1", "nan", "one"}) {
    EXPECT_EQ(error_of(parse_decimal(wrong, 0, 5)), quoted(wrong) + " is no number");
  }
}

TEST(values, durations) {
  EXPECT_EQ(parse_duration("250us"), 250us);
  EXPECT_EQ(parse_duration("20ms"), 20ms);
  EXPECT_EQ(parse_duration("1.5s"), 1500ms);
  EXPECT_EQ(parse_duration("0.000001s"), 1us);
  EXPECT_EQ(parse_duration("2min"), 2min);
  EXPECT_EQ(parse_duration("0.5h"), 30min);
  EXPECT_EQ(parse_duration("1000h"), 1000h);
  EXPECT_EQ(error_of(parse_duration("0s")), "0s is out of range: expected more than 0 and at most 1000h");
  EXPECT_EQ(error_of(parse_duration("1001h")), "1001h is out of range: at most 1000h");
  EXPECT_EQ(error_of(parse_duration("99999999999999999999h")), "99999999999999999999h is out of range: at most 1000h");
  EXPECT_EQ(error_of(parse_duration("1.0000000s")), "1.0000000s: at most 6 decimals");
  for (const char* wrong : {"", "10", "s", ".5s", "1.s", "1,5s", "1 s", "-1s", "1d", "1S", "s1"}) {
    EXPECT_EQ(error_of(parse_duration(wrong)),
              quoted(wrong) + " is no time: expected a number and us, ms, s, min or h, as 10s");
  }
}

TEST(values, sizes) {
  EXPECT_EQ(parse_size("100", 1, 1000), 100u);
  EXPECT_EQ(parse_size("64k", 1, 1 << 20), 65536u);
  EXPECT_EQ(parse_size("16M", 1, 1 << 30), 16u << 20);
  EXPECT_EQ(parse_size("1G", 1, 1 << 30), 1u << 30);
  EXPECT_EQ(error_of(parse_size("2G", 1, 1 << 30)), "2G is out of range: expected 1 to 1073741824 bytes");
  EXPECT_EQ(error_of(parse_size("17179869184G", 1, 1 << 30)),
            "17179869184G is out of range: expected 1 to 1073741824 bytes");
  EXPECT_EQ(error_of(parse_size("0", 1, 10)), "0 is out of range: expected 1 to 10 bytes");
  for (const char* wrong : {"", "k", "1kB", "1.5M", "-1", "1 k"}) {
    EXPECT_EQ(error_of(parse_size(wrong, 0, 10)),
              quoted(wrong) + " is no size: expected bytes, with k, M or G, as 64k");
  }
}

TEST(values, verdicts) {
  EXPECT_EQ(parse_verdict("accept")->what(), ipq::verdict::action::accept);
  EXPECT_EQ(parse_verdict("drop")->what(), ipq::verdict::action::drop);
  EXPECT_EQ(error_of(parse_verdict("Drop")), "'Drop': expected accept or drop");
}

}  // namespace
}  // namespace tool
