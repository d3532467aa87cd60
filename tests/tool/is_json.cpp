// SPDX-License-Identifier: MIT
// Whether standard input is JSON: one value, or with an argument one in every line.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

int main(int argc, char**) {
  if (argc == 1) return nlohmann::json::accept(std::cin) ? 0 : 1;
  int lines = 0;
  for (std::string line; std::getline(std::cin, line); ++lines) {
    if (!nlohmann::json::accept(line)) return 1;
  }
  return lines == 0 ? 1 : 0;
}
