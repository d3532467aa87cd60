// SPDX-License-Identifier: MIT
// A netlink message as text: hexadecimal, a header or an attribute a line, each with what it is. Knows the formats by
// itself, not from src/wire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace test_data {

// `about` becomes the first line.
std::string dissect(const std::string& about, std::span<const std::byte> datagram);

// Whether a packet message has an attribute of this type.
bool has_attribute(std::span<const std::byte> datagram, std::uint16_t type);

}  // namespace test_data
