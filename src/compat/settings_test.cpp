// SPDX-License-Identifier: MIT
#include "compat/settings.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace ipq::compat {
namespace {

std::map<std::string, std::string> variables;

const char* look_up(const char* name) {
  const auto found = variables.find(name);
  return found == variables.end() ? nullptr : found->second.c_str();
}

class settings_test : public ::testing::Test {
 protected:
  void SetUp() override { variables.clear(); }
};

TEST_F(settings_test, defaults_are_those_of_ip_queue) {
  const auto read = read_settings(false, look_up);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->queue, 0);
  EXPECT_EQ(read->max_length, 1024U);
  EXPECT_FALSE(read->fail_open);
  EXPECT_FALSE(read->debug);
  EXPECT_FALSE(read->batch);
}

TEST_F(settings_test, every_variable_is_read) {
  variables = {{"LIBIPQ_QUEUE", "65535"},
               {"LIBIPQ_MAX_LENGTH", "1048576"},
               {"LIBIPQ_FAIL_OPEN", "1"},
               {"LIBIPQ_DEBUG", "1"},
               {"LIBIPQ_BATCH", "1"}};
  const auto read = read_settings(false, look_up);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->queue, 65535);
  EXPECT_EQ(read->max_length, 1048576U);
  EXPECT_TRUE(read->fail_open);
  EXPECT_TRUE(read->debug);
  EXPECT_TRUE(read->batch);
}

TEST_F(settings_test, each_family_has_its_own_queue_variable) {
  variables = {{"LIBIPQ_QUEUE", "4"}, {"LIBIPQ_QUEUE_IPV6", "6"}};
  EXPECT_EQ(read_settings(false, look_up)->queue, 4);
  EXPECT_EQ(read_settings(true, look_up)->queue, 6);
}

TEST_F(settings_test, a_variable_of_the_other_family_is_not_looked_at) {
  variables = {{"LIBIPQ_QUEUE_IPV6", "nonsense"}};
  EXPECT_TRUE(read_settings(false, look_up));
  EXPECT_FALSE(read_settings(true, look_up));
}

TEST_F(settings_test, capture_is_read_in_its_parts) {
  EXPECT_FALSE(read_settings(false, look_up)->capture);
  variables = {{"LIBIPQ_SOURCE", "capture:in.pcap"}};
  auto read = read_settings(true, look_up);
  ASSERT_TRUE(read && read->capture);
  EXPECT_EQ(read->capture->in, "in.pcap");
  EXPECT_EQ(read->capture->out, "");
  EXPECT_EQ(read->capture->hook, 2);
  EXPECT_FALSE(read->capture->wait_at_end);
  variables = {{"LIBIPQ_SOURCE", "capture:-,hook=4,a=b,then=wait"}};
  read = read_settings(false, look_up);
  ASSERT_TRUE(read && read->capture);
  EXPECT_EQ(read->capture->in, "-");
  EXPECT_EQ(read->capture->out, "a=b");
  EXPECT_EQ(read->capture->hook, 4);
  EXPECT_TRUE(read->capture->wait_at_end);
  variables = {{"LIBIPQ_SOURCE", "capture:in,then=end"}};
  EXPECT_FALSE(read_settings(false, look_up)->capture->wait_at_end);
}

TEST_F(settings_test, malformed_source_says_what_was_expected) {
  for (const std::string wrong :
       {"", "in.pcap", "capture", "capture:", "capture:,out", "capture:in,", "capture:in,,hook=1", "capture:in,a,b",
        "capture:in,hook=5", "capture:in,hook=", "capture:in,hook=11", "capture:in,then=never", "kernel:0"}) {
    variables = {{"LIBIPQ_SOURCE", wrong}};
    const auto read = read_settings(false, look_up);
    ASSERT_FALSE(read) << wrong;
    EXPECT_EQ(read.error(), "LIBIPQ_SOURCE=" + wrong + ": expected capture:IN[,OUT][,hook=0 to 4][,then=wait or end]");
  }
}

struct malformed {
  const char* name;
  const char* value;
  const char* message;
};

class malformed_setting : public ::testing::TestWithParam<malformed> {};

TEST_P(malformed_setting, is_refused_with_its_name_value_and_range) {
  variables = {{GetParam().name, GetParam().value}};
  const auto read = read_settings(false, look_up);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error(), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    all, malformed_setting,
    ::testing::Values(malformed{"LIBIPQ_QUEUE", "", "LIBIPQ_QUEUE=: expected a number from 0 to 65535"},
                      malformed{"LIBIPQ_QUEUE", "abc", "LIBIPQ_QUEUE=abc: expected a number from 0 to 65535"},
                      malformed{"LIBIPQ_QUEUE", "65536", "LIBIPQ_QUEUE=65536: expected a number from 0 to 65535"},
                      malformed{"LIBIPQ_QUEUE", "-1", "LIBIPQ_QUEUE=-1: expected a number from 0 to 65535"},
                      malformed{"LIBIPQ_QUEUE", " 1", "LIBIPQ_QUEUE= 1: expected a number from 0 to 65535"},
                      malformed{"LIBIPQ_QUEUE", "1x", "LIBIPQ_QUEUE=1x: expected a number from 0 to 65535"},
                      malformed{"LIBIPQ_QUEUE", "99999999999999999999",
                                "LIBIPQ_QUEUE=99999999999999999999: expected a number from 0 to 65535"},
                      malformed{"LIBIPQ_MAX_LENGTH", "0", "LIBIPQ_MAX_LENGTH=0: expected a number from 1 to 1048576"},
                      malformed{"LIBIPQ_MAX_LENGTH", "1048577",
                                "LIBIPQ_MAX_LENGTH=1048577: expected a number from 1 to 1048576"},
                      malformed{"LIBIPQ_FAIL_OPEN", "yes", "LIBIPQ_FAIL_OPEN=yes: expected 0 or 1"},
                      malformed{"LIBIPQ_FAIL_OPEN", "2", "LIBIPQ_FAIL_OPEN=2: expected 0 or 1"},
                      malformed{"LIBIPQ_DEBUG", "", "LIBIPQ_DEBUG=: expected 0 or 1"},
                      malformed{"LIBIPQ_BATCH", "", "LIBIPQ_BATCH=: expected 0 or 1"},
                      malformed{"LIBIPQ_BATCH", "64", "LIBIPQ_BATCH=64: expected 0 or 1"}));

TEST_F(settings_test, a_long_value_does_not_hide_what_was_expected) {
  variables = {{"LIBIPQ_QUEUE", std::string(4000, '7')}};
  const auto read = read_settings(false, look_up);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error(), "LIBIPQ_QUEUE=" + std::string(40, '7') + "...: expected a number from 0 to 65535");
}

}  // namespace
}  // namespace ipq::compat
