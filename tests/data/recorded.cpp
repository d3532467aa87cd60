// SPDX-License-Identifier: MIT
#include "recorded.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace test_data {

std::vector<std::byte> from_hex(std::string_view text) {
  std::vector<std::byte> bytes;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    line.erase(std::min(line.find('#'), line.size()));
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      unsigned char value = 0;
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, 16);
      if (word.size() != 2 || error != std::errc{} || end != word.data() + 2) {
        throw std::invalid_argument("not a byte in hexadecimal: " + word);
      }
      bytes.push_back(std::byte{value});
    }
  }
  return bytes;
}

std::string to_hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    constexpr const char* digits = "0123456789abcdef";
    if (!text.empty()) text += ' ';
    text += digits[std::to_integer<unsigned>(byte) >> 4];
    text += digits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

std::vector<std::byte> recorded(std::string_view name) {
  const std::string path = IPQ_TEST_DATA "/" + std::string(name) + ".hex";
  std::ifstream file(path);
  if (!file) throw std::runtime_error("can't read " + path);
  return from_hex(std::string(std::istreambuf_iterator(file), {}));
}

std::vector<std::string> recordings(std::string_view prefix) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(IPQ_TEST_DATA)) {
    if (entry.path().extension() == ".hex" && entry.path().stem().string().starts_with(prefix)) {
      names.push_back(entry.path().stem());
    }
  }
  std::ranges::sort(names);
  return names;
}

std::string capture(std::string_view name) {
  return IPQ_TEST_DATA "/captures/" + std::string(name);
}

}  // namespace test_data
