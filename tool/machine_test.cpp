// SPDX-License-Identifier: MIT
#include "machine.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace tool {
namespace {

TEST(machine, settings) {
  EXPECT_GT(read_sysctl("net.core.rmem_max").value_or(0), 0);
  EXPECT_EQ(read_sysctl("net.core.no_such_setting"), std::nullopt);
  EXPECT_EQ(read_sysctl("kernel.ostype"), std::nullopt) << "that is no number";
}

TEST(machine, lookup_of_verdicts_is_told_by_the_kernels_types) {
  const auto folder = std::filesystem::temp_directory_path() / ("ipq_types." + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  EXPECT_EQ(has_hashed_lookup(folder), std::nullopt);
  std::ofstream(folder / "vmlinux") << "other" << '\0' << "types";
  EXPECT_EQ(has_hashed_lookup(folder), std::nullopt);
  std::ofstream(folder / "vmlinux") << "x" << '\0' << "nfqnl_instance" << '\0' << "queue_list";
  EXPECT_EQ(has_hashed_lookup(folder), false);
  std::ofstream(folder / "nfnetlink_queue") << "x" << '\0' << "nfqnl_instance" << '\0' << "nfqnl_packet_map";
  EXPECT_EQ(has_hashed_lookup(folder), true);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace tool
