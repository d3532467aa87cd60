// SPDX-License-Identifier: MIT
#include "separate_files.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <vector>

namespace tool {
namespace {

struct separate_files : testing::Test {
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("ipq_separate_files." + std::to_string(::getpid()));

  separate_files() {
    std::filesystem::create_directory(folder);
    std::ofstream(folder / "in") << "a capture";
  }
  ~separate_files() override { std::filesystem::remove_all(folder); }

  std::string path(const char* name) const { return folder / name; }
  /// What is said about outputs of these names.
  std::string said(const std::vector<const char*>& names, const std::string& input) const {
    std::vector<named_output> outputs;
    for (const char* each : names) outputs.push_back({each, each == std::string_view("-") ? each : path(each)});
    const auto fine = need_separate_files(input, outputs);
    if (!fine) {
      EXPECT_EQ(fine.error().code, wrong_usage);
    }
    return fine ? "" : fine.error().message;
  }
  std::string said(const std::vector<const char*>& names) const { return said(names, path("in")); }
};

TEST_F(separate_files, may_be_written) {
  EXPECT_EQ(said({}), "");
  EXPECT_EQ(said({"a", "b", "-"}), "");
  EXPECT_FALSE(std::filesystem::exists(folder / "a")) << "what was made to be compared is gone";
  EXPECT_EQ(said({"a"}, path("nowhere")), "");
  EXPECT_FALSE(std::filesystem::exists(folder / "nowhere"));
  EXPECT_EQ(said({"no/folder/a", "no/folder/a"}), "") << "whoever opens it tells that";
  std::filesystem::create_symlink("/dev/null", folder / "null");
  EXPECT_EQ(said({"null", "null"}), "") << "it is no file that could be spoiled";
}

TEST_F(separate_files, an_output_is_not_what_is_read) {
  std::filesystem::create_hard_link(folder / "in", folder / "hard");
  std::filesystem::create_symlink("in", folder / "soft");
  for (const char* name : {"in", "./in", "hard", "soft"}) {
    EXPECT_EQ(said({"a", name}), std::string(name) + ": it is the file that is read, " + path("in"));
  }
  EXPECT_EQ(std::filesystem::file_size(folder / "in"), 9u);
}

TEST_F(separate_files, an_output_is_not_another) {
  EXPECT_EQ(said({"a", "b", "./a"}), "a and ./a are one file: write to another");
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
  std::ofstream(folder / "there") << "kept";
  std::filesystem::create_symlink("there", folder / "link");
  EXPECT_EQ(said({"link", "there"}), "link and there are one file: write to another");
  EXPECT_EQ(std::filesystem::file_size(folder / "there"), 4u) << "nothing is truncated";
  std::filesystem::create_symlink("not_yet", folder / "dangling");
  EXPECT_EQ(said({"dangling", "not_yet"}), "dangling and not_yet are one file: write to another");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "dangling"));
  EXPECT_EQ(said({"-", "-"}), "- and - can't both be standard output");
}

}  // namespace
}  // namespace tool
