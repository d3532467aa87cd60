// SPDX-License-Identifier: MIT
// The examples of ipq-rules(5) are rules, and its diagnostic is one.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ruleset.hpp"
#include "temporary_file.hpp"

namespace ipq::tool::rules {
namespace {

// The displays of the page under their sections.
std::map<std::string, std::vector<std::string>> displays() {
  std::ifstream page(IPQ_MAN "/ipq-rules.5");
  std::map<std::string, std::vector<std::string>> all;
  std::string section;
  bool is_inside = false;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with(".Sh ")) section = line.substr(4);
    if (line.starts_with(".Bd -literal")) {
      is_inside = true;
      all[section].emplace_back();
    } else if (line == ".Ed") {
      is_inside = false;
    } else if (is_inside) {
      all[section].back() += line + "\n";
    }
  }
  return all;
}

TEST(manual, examples_compile) {
  const auto folder = std::filesystem::temp_directory_path() / ("ipq_manual_" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  std::ofstream(folder / "blocklist") << "Some name:192.0.2.1-192.0.2.9\n";
  std::ofstream(folder / "second list") << "2001:db8::/32\n";
  const auto examples = displays()["EXAMPLES"];
  EXPECT_GE(examples.size(), 5u);
  std::size_t lines = 0;
  for (const std::string& each : examples) {
    const auto made = ruleset::compile(source{"ipq-rules(5)", each, folder});
    EXPECT_TRUE(made) << render(made.error());
    if (made) lines += made->size();
  }
  EXPECT_GE(lines, 12u);
  std::filesystem::remove_all(folder);
}

TEST(manual, the_diagnostic_is_what_is_printed) {
  const auto shown = displays()["DIAGNOSTICS"].at(0);
  EXPECT_EQ(render(ruleset::compile(source{"rules", "delay 50 : tcp"}).error()), shown);
}

TEST(manual, names_every_action_and_key) {
  std::ifstream page(IPQ_MAN "/ipq-rules.5");
  const std::string text{std::istreambuf_iterator<char>(page), {}};
  const auto words_of = [](const std::string& rule) {
    std::string message = ruleset::compile(source{"rules", rule}).error().at(0).message;
    message.resize(std::min(message.find(", not '"), message.find(", and a ']'")));
    message += '.';
    std::vector<std::string> words;
    std::string word;
    for (const char c : message.substr(message.find("expected ") + 9)) {
      if (c >= 'a' && c <= 'z') {
        word += c;
      } else if (!word.empty()) {
        words.push_back(std::exchange(word, ""));
      }
    }
    return words;
  };
  std::size_t found = 0;
  for (const char* rule :
       {"nothing", "accept : [nothing=1]", "accept : [hook=nothing]", "set nothing", "delay 1 nothing"}) {
    for (const std::string& word : words_of(rule)) {
      EXPECT_NE(text.find(word), std::string::npos) << word;
      ++found;
    }
  }
  EXPECT_GT(found, 40u);
}

}  // namespace
}  // namespace ipq::tool::rules
