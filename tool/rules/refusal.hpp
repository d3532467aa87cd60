// SPDX-License-Identifier: MIT
// Where libpcap refuses a filter, and what it would have taken there: libpcap says neither.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "fault.hpp"
#include "words.hpp"

namespace ipq::tool::rules {

/// The fault in a filter that program::compile() refuses with `why`. Its tokens are those of `line`, and none of them
/// is the name of a host.
[[nodiscard]] fault explain_refusal(std::string_view line, std::span<const token> filter, const std::string& why);

/// The fault in a filter whose token `name` is the first that find_host_name() finds: there, or before it.
[[nodiscard]] fault explain_name(std::string_view line, std::span<const token> filter, std::size_t name);

}  // namespace ipq::tool::rules
