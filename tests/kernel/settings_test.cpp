// SPDX-License-Identifier: MIT
// Settings of a handle, by environment variable and by function, and what the library says about itself when asked.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <future>

#include "child.hpp"
#include "flow.hpp"
#include "packet_bytes.hpp"
#include "process.hpp"

namespace kernel_tests {
namespace {

// An environment variable, as long as the object lives.
class variable {
 public:
  variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  variable(const variable&) = delete;
  variable& operator=(const variable&) = delete;
  ~variable() { unsetenv(name_); }

 private:
  const char* name_;
};

using environment = flow_test;
using setting = flow_test;
using debug = flow_test;
using error_text = flow_test;

TEST_F(environment, queue_number_is_of_its_family) {
  flow4().rule("-A OUTPUT", "NFQUEUE --queue-num 5");
  flow6().rule("-A OUTPUT", "NFQUEUE --queue-num 65535");
  variable four{"LIBIPQ_QUEUE", "5"}, six{"LIBIPQ_QUEUE_IPV6", "65535"};
  for (auto [protocol, queue] : {std::pair{ipv4, 5u}, {ipv6, 65535u}}) {
    handle h{protocol, IPQ_COPY_PACKET};
    EXPECT_EQ(status_of(h).queue, queue);
    flow_of(protocol).send("by number");
    set_verdict(h, read_packet(h).id());
    EXPECT_EQ(flow_of(protocol).arrived(), "by number");
  }
}

TEST_F(environment, default_is_queue_0) {
  variable six{"LIBIPQ_QUEUE_IPV6", "4"};
  EXPECT_EQ(status_of(handle{ipv4}).queue, 0u);
  EXPECT_EQ(status_of(handle{ipv6}).queue, 4u);
}

TEST_F(environment, is_read_at_creation) {
  handle h{ipv4};
  variable four{"LIBIPQ_QUEUE", "5"};
  EXPECT_EQ(status_of(h).queue, 0u);
}

TEST_F(environment, max_length_limits_the_queue) {
  flow4().rule();
  variable length{"LIBIPQ_MAX_LENGTH", "3"};
  handle h{ipv4, IPQ_COPY_PACKET};
  EXPECT_EQ(status_of(h).max_length, 3u);
  for (const char* text : {"one", "two", "three", "dropped"}) flow4().send(text);
  for (const char* text : {"one", "two", "three"}) {
    const message m = read_packet(h);
    EXPECT_EQ(udp_payload(m.payload()), text);
    set_verdict(h, m.id());
    EXPECT_EQ(flow4().arrived(), text);
  }
  EXPECT_TRUE(nothing_to_read(h));
  EXPECT_TRUE(flow4().nothing_arrived());
}

TEST_F(environment, fail_open_accepts_what_a_full_queue_would_drop) {
  flow4().rule();
  variable length{"LIBIPQ_MAX_LENGTH", "2"}, open{"LIBIPQ_FAIL_OPEN", "1"};
  handle h{ipv4, IPQ_COPY_PACKET};
  EXPECT_EQ(status_of(h).fail_open, 1u);
  for (const char* text : {"one", "two", "let through"}) flow4().send(text);
  EXPECT_EQ(flow4().arrived(), "let through");
  EXPECT_TRUE(flow4().nothing_arrived());
}

TEST_F(environment, fail_open_0_is_the_default) {
  variable open{"LIBIPQ_FAIL_OPEN", "0"}, silent{"LIBIPQ_DEBUG", "0"};
  EXPECT_EQ(status_of(handle{ipv4}).fail_open, 0u);
}

TEST_F(environment, malformed_value_makes_creation_fail_and_is_named) {
  const std::pair<const char*, std::vector<const char*>> malformed[] = {
      {"LIBIPQ_QUEUE", {"", "x", "-1", "65536", " 5", "5 ", "5x", "0x5", "1.5", "+5", "99999999999999999999999"}},
      {"LIBIPQ_MAX_LENGTH", {"", "0", "1048577", "-1", "many", "4294967297"}},
      {"LIBIPQ_FAIL_OPEN", {"", "2", "yes", "on", "-1", "01x"}},
      {"LIBIPQ_DEBUG", {"", "2", "true", "verbose"}}};
  for (const auto& [name, values] : malformed) {
    for (const char* value : values) {
      SCOPED_TRACE(std::string{name} + "='" + value + "'");
      variable wrong{name, value};
      errno = 0;
      ipq_handle* h = ipq_create_handle(0, ipv4);
      EXPECT_EQ(errno, EINVAL);
      EXPECT_EQ(h, nullptr);
      ipq_destroy_handle(h);
      EXPECT_NE(strstr(ipq_errstr(), name), nullptr) << ipq_errstr();
    }
  }
  variable wrong{"LIBIPQ_QUEUE_IPV6", "none"};
  EXPECT_EQ(ipq_create_handle(0, ipv6), nullptr);
  EXPECT_NE(strstr(ipq_errstr(), "LIBIPQ_QUEUE_IPV6"), nullptr) << ipq_errstr();
  EXPECT_NE(strstr(ipq_errstr(), "none"), nullptr) << ipq_errstr();
  handle four{ipv4};
}

TEST_F(environment, extreme_values_are_taken) {
  variable length{"LIBIPQ_MAX_LENGTH", "1048576"}, queue{"LIBIPQ_QUEUE", "65535"};
  handle h{ipv4, IPQ_COPY_PACKET};
  EXPECT_TRUE(nothing_to_read(h));
  EXPECT_EQ(status_of(h).max_length, 1048576u);
}

TEST_F(environment, two_programs_use_two_queues) {
  flow4().rule();
  flow6().rule("-A OUTPUT", "NFQUEUE --queue-num 1");
  handle first{ipv4, IPQ_COPY_PACKET};
  child second{[](const child::line& line) {
    variable queue{"LIBIPQ_QUEUE_IPV6", "1"};
    handle h{ipv6, IPQ_COPY_PACKET};
    line.say("ready");
    set_verdict(h, read_packet(h).id());
  }};
  ASSERT_EQ(second.hear(), "ready");
  flow4().send("first");
  flow6().send("second");
  EXPECT_EQ(flow6().arrived(), "second");
  set_verdict(first, read_packet(first).id());
  EXPECT_EQ(flow4().arrived(), "first");
  EXPECT_TRUE(nothing_to_read(first));
}

TEST_F(setting, functions_say_the_same) {
  flow4().rule("-A OUTPUT", "NFQUEUE --queue-num 8");
  handle h{ipv4};
  int returned = -1;
  EXPECT_EQ(errno_after([&] { returned = ipq_set_queue(h, 8); }), untouched_errno);
  EXPECT_EQ(returned, 0);
  EXPECT_EQ(errno_after([&] { returned = ipq_set_max_length(h, 2); }), untouched_errno);
  EXPECT_EQ(returned, 0);
  EXPECT_EQ(errno_after([&] { returned = ipq_set_fail_open(h, 1); }), untouched_errno);
  EXPECT_EQ(returned, 0);
  ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_PACKET, 0), sent_mode);
  EXPECT_EQ(status_of(h).queue, 8u);
  EXPECT_EQ(status_of(h).max_length, 2u);
  EXPECT_EQ(status_of(h).fail_open, 1u);
  for (const char* text : {"one", "two", "let through"}) flow4().send(text);
  EXPECT_EQ(flow4().arrived(), "let through");
  EXPECT_TRUE(flow4().nothing_arrived());
}

TEST_F(setting, functions_override_the_environment) {
  variable length{"LIBIPQ_MAX_LENGTH", "3"}, queue{"LIBIPQ_QUEUE", "3"}, open{"LIBIPQ_FAIL_OPEN", "1"};
  handle h{ipv4};
  EXPECT_EQ(ipq_set_max_length(h, 7), 0);
  EXPECT_EQ(ipq_set_queue(h, 7), 0);
  EXPECT_EQ(ipq_set_fail_open(h, 0), 0);
  ASSERT_EQ(ipq_set_mode(h, IPQ_COPY_PACKET, 0), sent_mode);
  const ipq_status status = status_of(h);
  EXPECT_EQ(status.max_length, 7u);
  EXPECT_EQ(status.queue, 7u);
  EXPECT_EQ(status.fail_open, 0u);
}

TEST_F(setting, invalid_value_is_einval_and_changes_nothing) {
  handle h{ipv4};
  auto refused = [&](int returned) {
    EXPECT_EQ(returned, -1);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(ipq_handle_errno(h), IPQ_ERR_SETTING) << ipq_handle_errstr(h);
  };
  refused(ipq_set_queue(h, 65536));
  refused(ipq_set_queue(h, static_cast<unsigned int>(-1)));
  refused(ipq_set_max_length(h, 0));
  refused(ipq_set_max_length(h, 1048577));
  refused(ipq_set_fail_open(h, 2));
  refused(ipq_set_fail_open(h, -1));
  refused(ipq_set_debug(h, 2));
  const ipq_status status = status_of(h);
  EXPECT_EQ(status.queue, 0u);
  EXPECT_EQ(status.max_length, 1024u);
  EXPECT_EQ(status.fail_open, 0u);
}

TEST_F(setting, is_ebusy_once_a_mode_is_set) {
  handle h{ipv4, IPQ_COPY_PACKET};
  auto refused = [&](int returned) {
    EXPECT_EQ(returned, -1);
    EXPECT_EQ(errno, EBUSY);
    EXPECT_EQ(ipq_handle_errno(h), IPQ_ERR_SETTING) << ipq_handle_errstr(h);
  };
  refused(ipq_set_queue(h, 1));
  refused(ipq_set_max_length(h, 10));
  refused(ipq_set_fail_open(h, 1));
  EXPECT_EQ(status_of(h).queue, 0u);
  EXPECT_EQ(status_of(h).max_length, 1024u);
  EXPECT_EQ(ipq_set_debug(h, 0), 0) << "debugging may change at any time";
}

// What a program does from start to end, with a refusal in it.
void use(const flow& packets) {
  handle h{ipv4, IPQ_COPY_PACKET};
  packets.send("x");
  const message m = read_packet(h);
  set_verdict(h, m.id());
  set_verdict(h, m.id());
  read_error(h);
  nothing_to_read(h);
  EXPECT_EQ(ipq_create_handle(0, 17), nullptr);
}

TEST_F(debug, off_the_library_is_silent) {
  flow4().rule();
  EXPECT_EQ(standard_error_of([&] { use(flow4()); }), "");
}

TEST_F(debug, on_there_are_whole_lines) {
  flow4().rule();
  variable on{"LIBIPQ_DEBUG", "1"};
  const std::string lines = standard_error_of([&] { use(flow4()); });
  EXPECT_GE(std::count(lines.begin(), lines.end(), '\n'), 5) << lines;
  EXPECT_EQ(lines.back(), '\n') << lines;
}

TEST_F(debug, may_be_switched_at_any_time) {
  flow4().rule();
  handle h{ipv4, IPQ_COPY_PACKET};
  auto pass = [&] {
    flow4().send("x");
    set_verdict(h, read_packet(h).id());
  };
  EXPECT_EQ(standard_error_of(pass), "");
  EXPECT_EQ(ipq_set_debug(h, 1), 0);
  EXPECT_NE(standard_error_of(pass), "");
  EXPECT_EQ(ipq_set_debug(h, 0), 0);
  EXPECT_EQ(standard_error_of(pass), "");
}

TEST_F(debug, lines_leave_errno_alone) {
  flow4().rule();
  variable on{"LIBIPQ_DEBUG", "1"};
  standard_error_of([&] {
    EXPECT_EQ(errno_after([&] {
                handle h{ipv4, IPQ_COPY_PACKET};
                flow4().send("x");
                set_verdict(h, read_packet(h).id());
              }),
              untouched_errno);
  });
}

TEST_F(error_text, belongs_to_the_thread) {
  EXPECT_EQ(ipq_create_handle(0, 17), nullptr);
  EXPECT_STREQ(ipq_errstr(), "Invalid protocol specified");
  std::async(std::launch::async, [] {
    EXPECT_STREQ(ipq_errstr(), "Unknown error") << "before any error";
    handle h{ipv4, IPQ_COPY_PACKET};
    EXPECT_STREQ(ipq_errstr(), "Unknown error") << "success is no error";
    unsigned char small[8];
    EXPECT_EQ(ipq_read(h, small, sizeof small, 1), -1);
    EXPECT_STREQ(ipq_errstr(), "Receive buffer size invalid");
  }).get();
  EXPECT_STREQ(ipq_errstr(), "Invalid protocol specified");
}

TEST_F(error_text, is_kept_for_each_handle_too) {
  handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_PACKET};
  EXPECT_EQ(ipq_handle_errno(four), IPQ_ERR_NONE);
  std::async(std::launch::async, [&] {
    unsigned char small[8];
    EXPECT_EQ(ipq_read(four, small, sizeof small, 1), -1);
  }).get();
  EXPECT_EQ(ipq_handle_errno(four), IPQ_ERR_RECVBUF);
  EXPECT_NE(strlen(ipq_handle_errstr(four)), 0u);
  EXPECT_EQ(ipq_handle_errno(six), IPQ_ERR_NONE);
  unsigned char buffer[2048];
  EXPECT_EQ(ipq_read(six, buffer, sizeof buffer, 1), 0);
  EXPECT_EQ(ipq_handle_errno(six), IPQ_ERR_NONE) << "a timeout is no error of the handle";
  set_verdict(six, 31337);
  EXPECT_EQ(read_error(six).error(), ENOENT);
  EXPECT_EQ(ipq_handle_errno(six), IPQ_ERR_NLRECV);
  EXPECT_NE(strstr(ipq_handle_errstr(six), "31337"), nullptr) << ipq_handle_errstr(six);
}

TEST_F(error_text, perror_prints_each_part_that_is_set) {
  std::async(std::launch::async, [] {
    auto printed = [](const char* s, int number) {
      return standard_error_of([=] {
        errno = number;
        ipq_perror(s);
      });
    };
    EXPECT_EQ(printed("program", 0), "program\n");
    EXPECT_EQ(printed(nullptr, 0), "ERROR\n");
    EXPECT_EQ(printed("program", EPERM), "program: Operation not permitted\n");
    EXPECT_EQ(ipq_create_handle(0, 17), nullptr);
    EXPECT_EQ(printed("program", 0), "program: Invalid protocol specified\n");
    EXPECT_EQ(printed("program", EPERM), "program: Invalid protocol specified: Operation not permitted\n");
    EXPECT_EQ(printed(nullptr, EPERM), "ERROR: Invalid protocol specified: Operation not permitted\n");
    EXPECT_EQ(printed("", 0), ": Invalid protocol specified\n");
  }).get();
}

TEST_F(error_text, ctl_returns_1) {
  handle h{ipv4};
  EXPECT_EQ(ipq_ctl(h, 0), 1);
  EXPECT_EQ(ipq_ctl(h, 42, "anything"), 1);
}

}  // namespace
}  // namespace kernel_tests
