// SPDX-License-Identifier: MIT
#include "compat/common_places.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ipq::compat {
namespace {

TEST(common_places, place_is_given_up_once_in_any_process) {
  common_places places;
  const std::size_t first = places.take(1, 2), fifth = places.take(5, 2);
  EXPECT_NE(first, fifth) << "though both begin to look at the same";
  EXPECT_TRUE(places.has(first, 1));
  const pid_t child = ::fork();
  if (child == 0) ::_exit(places.give_up(first, 1) && !places.give_up(first, 1) && !places.give_up(fifth, 1) ? 0 : 1);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(places.has(first, 1));
  EXPECT_FALSE(places.give_up(first, 1));
  EXPECT_TRUE(places.has(fifth, 5));
  EXPECT_EQ(places.take(9, 2), first);
}

TEST(common_places, there_is_always_one) {
  common_places places;
  std::uint32_t id = 0;
  while (++id <= 2 * max_max_length) static_cast<void>(places.take(id, max_max_length));
  const std::size_t at = places.take(id, max_max_length);
  EXPECT_TRUE(places.has(at, id));
}

TEST(common_places, who_waits_is_told_once) {
  common_places places;
  EXPECT_FALSE(places.take_want());
  places.want();
  const pid_t child = ::fork();
  if (child == 0) ::_exit(places.take_want() ? 0 : 1);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(places.take_want());
}

}  // namespace
}  // namespace ipq::compat
