// SPDX-License-Identifier: MIT
// The recorded messages of this folder, and its captures, for tests.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace test_data {

// The bytes of NAME.hex. Throws when there is no such file, or when it holds something else than bytes and comments.
std::vector<std::byte> recorded(std::string_view name);

// Names of all recordings that begin so, in alphabetical order: "packet_", "error_", "link_".
std::vector<std::string> recordings(std::string_view prefix);

// Where a capture of this folder is.
std::string capture(std::string_view name);

// "0b 00 01" as bytes; what follows a # is a comment up to the end of its line.
std::vector<std::byte> from_hex(std::string_view text);

// The opposite, on one line: for comparisons that people can read when they fail.
std::string to_hex(std::span<const std::byte> bytes);

}  // namespace test_data
