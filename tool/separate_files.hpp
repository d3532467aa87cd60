// SPDX-License-Identifier: MIT
// Keeps a command from writing over what it reads, and from writing two things into one file.
#pragma once

#include <span>
#include <string>

#include "failure.hpp"

namespace tool {

/// Something that a command writes to.
struct named_output {
  std::string name;  ///< as messages have it: "-w out.pcapng"
  std::string path;  ///< "-": standard output
};

/// Fails if an output is the file `input` ("-": standard input), or is another output, by whatever name, and names
/// both. Nothing is truncated for it: to be called before anything is opened. Only regular files are compared, as two
/// may write to one pipe or terminal; but not two packet streams to standard output. What else is printed goes to
/// standard output, too, where that is a file.
[[nodiscard]] outcome<void> need_separate_files(const std::string& input, std::span<const named_output> outputs);

}  // namespace tool
