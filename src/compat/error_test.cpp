// SPDX-License-Identifier: MIT
#include "compat/error.hpp"

#include <gtest/gtest.h>
#include <libipq/libipq.h>

#include <string>
#include <thread>

#include "unit/jumping_out.hpp"

namespace ipq::compat {
namespace {

// Those of libipq 1.2, to the letter: programs compare them.
TEST(error_text, is_what_it_always_was) {
  const char* const texts[] = {"Unknown error",
                               "Implementation error",
                               "Unable to create netlink handle",
                               "Unable to create netlink socket",
                               "Unable to bind netlink socket",
                               "Unable to allocate buffer",
                               "Failed to receive netlink message",
                               "Received EOF on netlink socket",
                               "Invalid peer address length",
                               "Sent message truncated",
                               "Received message truncated",
                               "Received error from netlink",
                               "Failed to send netlink message",
                               "Operation not supported",
                               "Receive buffer size invalid",
                               "Timeout",
                               "Invalid protocol specified"};
  int number = 0;
  for (const char* const text : texts) EXPECT_STREQ(error_text(number++), text);
}

TEST(error_text, numbers_that_do_not_exist_are_unknown_errors) {
  EXPECT_STREQ(error_text(-1), "Unknown error");
  EXPECT_STREQ(error_text(18), "Unknown error");
  EXPECT_STREQ(error_text(16), "Invalid protocol specified");
}

TEST(thread_error, belongs_to_its_thread) {
  set_thread_error(IPQ_ERR_TIMEOUT);
  std::thread([] {
    EXPECT_EQ(thread_error(), 0);
    EXPECT_STREQ(thread_error_text(), "Unknown error");
    set_thread_error(IPQ_ERR_SEND);
  }).join();
  EXPECT_STREQ(thread_error_text(), "Timeout");
}

TEST(thread_error, a_setting_keeps_its_text_until_the_next_error) {
  set_thread_error(std::string_view("LIBIPQ_QUEUE=x: expected a number"));
  EXPECT_EQ(thread_error(), IPQ_ERR_SETTING);
  EXPECT_STREQ(thread_error_text(), "LIBIPQ_QUEUE=x: expected a number");
  EXPECT_STREQ(thread_error_text(), "LIBIPQ_QUEUE=x: expected a number");
  set_thread_error(IPQ_ERR_RECV);
  EXPECT_STREQ(thread_error_text(), "Failed to receive netlink message");
}

// As the original's did: programs keep the pointer, and other threads and handlers use it.
TEST(thread_error, text_is_a_constant_unless_it_names_a_setting) {
  set_thread_error(IPQ_ERR_TIMEOUT);
  const char* const timeout = thread_error_text();
  EXPECT_EQ(timeout, error_text(IPQ_ERR_TIMEOUT));
  set_thread_error(IPQ_ERR_SEND);
  EXPECT_STREQ(thread_error_text(), "Failed to send netlink message");
  EXPECT_STREQ(timeout, "Timeout");
}

TEST(thread_error, a_text_of_any_length_is_cut_and_terminated) {
  set_thread_error(std::string_view(std::string(1000, 'x')));
  EXPECT_EQ(std::string(thread_error_text()), std::string(255, 'x'));
}

TEST(last_error, is_seen_from_every_thread_and_the_text_is_the_readers_own) {
  last_error last;
  EXPECT_EQ(last.number(), 0);
  std::thread([&] { last.set(IPQ_ERR_NLRECV, "use queue 0: owned by x (pid 1)"); }).join();
  EXPECT_EQ(last.number(), IPQ_ERR_NLRECV);
  const char* const text = last.text();
  EXPECT_STREQ(text, "use queue 0: owned by x (pid 1)");
  last.set(IPQ_ERR_TIMEOUT, "read: Timeout");
  EXPECT_STREQ(text, "use queue 0: owned by x (pid 1)");
  EXPECT_STREQ(last.text(), "read: Timeout");
}

TEST(last_error, is_set_also_after_handlers_have_jumped_out_of_setting_and_reading_it) {
  last_error error;
  const std::string text(200, 'x');
  unit_tests::jump_out_of([&] { error.set(2, text); }, 300);
  error.set(3, "written");
  EXPECT_STREQ(error.text(), "written");
  unit_tests::jump_out_of([&] { static_cast<void>(error.text()); }, 300);
  error.set(4, "written again");
  EXPECT_EQ(error.number(), 4);
  EXPECT_STREQ(error.text(), "written again");
}

}  // namespace
}  // namespace ipq::compat
