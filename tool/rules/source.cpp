// SPDX-License-Identifier: MIT
// Reads rule files whole: they are small, and diagnostics show their lines.
#include "source.hpp"

#include <vector>

#include "file.hpp"

namespace ipq::tool::rules {

std::expected<source, diagnostic> read_source(const std::filesystem::path& file) {
  constexpr std::size_t most = std::size_t{64} << 20;
  const auto fault = [&](file_error what) {
    return std::unexpected(
        diagnostic{.file = file.string(), .message = std::move(what.text), .forbidden = what.forbidden});
  };

  auto input = input_file::open(file);
  if (!input) return fault(std::move(input.error()));
  source made{.name = file.string(), .text = {}, .folder = file.parent_path()};
  std::vector<char> buffer(std::size_t{64} << 10);
  for (;;) {
    const auto got = input->read(buffer);
    if (!got) return fault(got.error());
    if (*got == 0) return made;
    made.text.append(buffer.data(), *got);
    if (made.text.size() > most) return fault({"is larger than 64 MiB: that is no file of rules"});
  }
}

}  // namespace ipq::tool::rules
