// SPDX-License-Identifier: MIT
// Reading the kernel's text files.
#pragma once

#include <string>
#include <string_view>

#include "ipq/error.hpp"

namespace ipq::netlink {

/// The whole file. Errors: those of open(2) and read(2).
[[nodiscard]] result<std::string> read_proc_file(const char* path);

/// Calls `use` with each line of `text`, without its newline.
template <class Use>
void for_each_line(std::string_view text, Use&& use) {
  while (!text.empty()) {
    const auto length = text.find('\n');
    use(text.substr(0, length));
    text.remove_prefix(length == std::string_view::npos ? text.size() : length + 1);
  }
}

}  // namespace ipq::netlink
