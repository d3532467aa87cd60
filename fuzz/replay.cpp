// SPDX-License-Identifier: MIT
// Stands in for libFuzzer where there is none: runs a target once over every file it is given, and the files of every
// folder, then over each with its end cut off.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "input.hpp"

namespace {

std::size_t inputs = 0;

// ThreadSanitizer looks for what threads do to each other, which hangs little on where an input ends, and is slow.
#ifdef __SANITIZE_THREAD__
constexpr std::size_t lengths = 8;
#else
constexpr std::size_t lengths = 64;
#endif

// In memory of exactly its size, so that a byte too many is found by AddressSanitizer.
void run(const std::vector<char>& content, std::size_t length) {
  const std::vector<std::uint8_t> exact(content.begin(), content.begin() + static_cast<std::ptrdiff_t>(length));
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
  ++inputs;
}

bool replay(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> content(std::istreambuf_iterator<char>(file), {});
  if (!file.is_open() || file.bad()) {
    std::fprintf(stderr, "can't read %s\n", path.c_str());
    return false;
  }
  run(content, content.size());
  // Short ones at every length, long ones at as many.
  const std::size_t step = content.size() / lengths + 1;
  for (std::size_t length = 0; length < content.size(); length += step) run(content, length);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  for (const std::filesystem::path path : std::span(argv, static_cast<std::size_t>(argc)).subspan(1)) {
    if (std::filesystem::is_directory(path)) {
      for (const auto& entry : std::filesystem::directory_iterator(path)) files.push_back(entry.path());
    } else {
      files.push_back(path);
    }
  }
  std::ranges::sort(files);
  for (const auto& file : files) {
    if (!replay(file)) return 1;
  }
  if (files.empty()) {
    std::fprintf(stderr, "usage: %s FILE-OR-FOLDER...; there is no input\n", argv[0]);
    return 1;
  }
  std::printf("%zu files, %zu inputs\n", files.size(), inputs);
}
