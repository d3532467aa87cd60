// SPDX-License-Identifier: MIT
// The words of a pcap filter, told from names that libpcap would look up.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace ipq::tool::rules {

/// A word, number or address of a filter, or one of its signs: ( ) ! && || and any other single character.
struct token {
  std::string_view text;
  std::size_t column;
};

/// The tokens of a filter that begins at a column of its line. '@' and what it names are one token. Throws fault if a
/// quoted name is not closed.
[[nodiscard]] std::vector<token> split_filter(std::string_view filter, std::size_t column);

/// The first word that libpcap would take for the name of a host or a network, which is not to be: looking it up could
/// wait for a server, ask other machines, and answer differently at each reload. As many as there are words: there is
/// none.
[[nodiscard]] std::size_t find_host_name(std::span<const token> filter);

}  // namespace ipq::tool::rules
