// SPDX-License-Identifier: MIT
// libipq on a capture: when packets arrive, and which are lost.
#include <gtest/gtest.h>
#include <libipq/libipq.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "unit/program_on_capture.hpp"

namespace ipq::compat {
namespace {

class capture_limit_test : public program_on_capture {};

TEST_F(capture_limit_test, limit_of_the_queue_drops_what_arrives_beyond_it) {
  capture_path = capture(std::vector(50, udp4(3)));
  for (const bool open : {false, true}) {
    others = {{"LIBIPQ_MAX_LENGTH", "16"}, {"LIBIPQ_FAIL_OPEN", open ? "1" : "0"}};
    auto h = listen(out);
    ipq_status status{};
    std::size_t seen = 0;
    while (read(h) > 0) ++seen;
    EXPECT_EQ(ipq_get_status(h.get(), &status, sizeof status), 0);
    EXPECT_EQ(seen, 16U);
    EXPECT_EQ(status.length, 16U);
    EXPECT_EQ(status.max_length, 16U);
    EXPECT_EQ(stats(h).lost_queue_full, 34U);
    h.reset();
    EXPECT_EQ(passed().size(), open ? 34U : 0U);
  }
}

TEST_F(capture_limit_test, what_the_other_handle_has_to_read_first_is_held_back) {
  others = {{"LIBIPQ_MAX_LENGTH", "16"}};
  std::vector<std::string> packets(100, udp6(5));
  packets[0] = packets[99] = udp4(3);
  capture_path = capture(packets);
  auto four = listen(out);
  auto six = listen(out, ipv6);
  std::size_t seen = 0;
  // As after select(2).
  for (bool more = true; more;) {
    more = false;
    for (const auto* h : {&four, &six}) {
      if (!is_readable(*h) || read(*h) <= 0) continue;
      EXPECT_EQ(decide(*h, accept), 40);
      ++seen;
      more = true;
    }
  }
  EXPECT_EQ(seen, 100U);
  expect_end(four);
  expect_end(six);
  EXPECT_EQ(passed().size(), 100U);
  EXPECT_EQ(stats(six).lost_queue_full, 0U);
}

TEST_F(capture_limit_test, reader_waits_for_the_verdicts_of_another_thread) {
  others = {{"LIBIPQ_MAX_LENGTH", "4"}};
  capture_path = capture(std::vector(50, udp4(3)));
  auto h = listen(out);
  std::vector<ipq_id_t> ids(50);
  std::atomic<std::size_t> seen = 0;
  std::thread worker([&] {
    while (seen < 4) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // the reader is in its next call
    for (std::size_t i = 0; i < ids.size(); ++i) {
      while (seen <= i) std::this_thread::yield();
      EXPECT_EQ(ipq_set_verdict(h.get(), ids[i], accept, 0, nullptr), 40);
    }
  });
  while (seen < ids.size() && read(h) > 0) {
    ids[seen] = packet_read().packet_id;
    ++seen;
  }
  EXPECT_EQ(seen, ids.size());
  seen = ids.size();
  worker.join();
  EXPECT_EQ(stats(h).lost_queue_full, 0U);
  EXPECT_EQ(passed().size(), 50U);
  expect_end(h);
}

// ThreadSanitizer has a thread of its own once there was another.
#ifndef __SANITIZE_THREAD__
TEST_F(capture_limit_test, reader_whose_other_threads_have_ended_waits_for_nobody) {
  others = {{"LIBIPQ_MAX_LENGTH", "4"}};
  capture_path = capture(std::vector(10, udp4(3)));
  auto h = listen();
  std::atomic<std::size_t> seen = 0;
  std::thread idle([&] {
    while (seen < 4) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  });
  while (read(h) > 0) ++seen;
  idle.join();
  EXPECT_EQ(seen, 4U);
  EXPECT_EQ(stats(h).lost_queue_full, 6U);
  expect_end(h);
}
#endif

TEST_F(capture_limit_test, program_that_does_not_wait_for_ever_loses_nothing_at_the_limit) {
  others = {{"LIBIPQ_MAX_LENGTH", "4"}};
  capture_path = capture(std::vector(10, udp4(3)));
  auto h = listen();
  std::vector<ipq_id_t> ids;
  while (read(h, -1) > 0) ids.push_back(packet_read().packet_id);
  EXPECT_STREQ(ipq_errstr(), "Timeout");
  EXPECT_EQ(read(h, 1000), 0);
  EXPECT_FALSE(is_readable(h));
  EXPECT_EQ(ids.size(), 4U);
  for (const auto id : ids) EXPECT_EQ(ipq_set_verdict(h.get(), id, accept, 0, nullptr), 40);
  for (std::size_t i = 4; i < 10; ++i) {
    EXPECT_TRUE(is_readable(h));
    ASSERT_GT(read(h), 0);
    EXPECT_EQ(decide(h, accept), 40);
  }
  expect_end(h);
}

TEST_F(capture_limit_test, end_comes_also_when_the_queue_is_full) {
  others = {{"LIBIPQ_MAX_LENGTH", "4"}};
  capture_path = capture(std::vector(4, udp4(3)));
  auto h = listen();
  for (int i = 0; i < 4; ++i) ASSERT_GT(read(h), 0);
  expect_end(h);
}

TEST_F(capture_limit_test, what_children_decide_makes_room) {
  others = {{"LIBIPQ_MAX_LENGTH", "4"}};
  capture_path = capture(std::vector(20, udp4(3)));
  // Each waited for, and all at once.
  for (const bool one_by_one : {true, false}) {
    auto h = listen(out);
    std::size_t seen = 0;
    while (read(h) > 0) {
      ++seen;
      const pid_t child = ::fork();
      if (child == 0) {
        if (!one_by_one) std::this_thread::sleep_for(std::chrono::milliseconds(5));
        ::_exit(decide(h, accept) == 40 ? 0 : 1);
      }
      if (one_by_one) ::waitpid(child, nullptr, 0);
    }
    EXPECT_EQ(seen, 20U);
    expect_end(h);
    while (::waitpid(-1, nullptr, 0) > 0) {
    }
    EXPECT_EQ(passed().size(), 20U);
    ipq_status status{};
    EXPECT_EQ(ipq_get_status(h.get(), &status, sizeof status), 0);
    EXPECT_EQ(status.length, 0U);
  }
}

/// A child that decides the packet read when its parent lets it.
class deciding_child {
 public:
  template <class Decide>
  explicit deciding_child(Decide decide) {
    EXPECT_EQ(::pipe(ends_), 0);
    child_ = ::fork();
    if (child_ != 0) return;
    ::close(ends_[1]);
    char none = 0;
    ::_exit(::read(ends_[0], &none, 1) == 0 && decide() == 40 ? 0 : 1);
  }
  void let_decide() {
    for (const int end : ends_) ::close(end);
    int status = -1;
    EXPECT_EQ(::waitpid(child_, &status, 0), child_);
    EXPECT_EQ(status, 0);
  }

 private:
  int ends_[2] = {-1, -1};
  pid_t child_ = -1;
};

TEST_F(capture_limit_test, descriptor_tells_that_a_child_made_room) {
  others = {{"LIBIPQ_MAX_LENGTH", "1"}};
  auto h = listen();
  ASSERT_GT(read(h), 0);
  EXPECT_FALSE(is_readable(h));
  deciding_child child([&] { return decide(h, accept) + ipq_destroy_handle(h.release()); });
  EXPECT_EQ(read(h, 1), 0);
  EXPECT_FALSE(is_readable(h));
  child.let_decide();
  EXPECT_TRUE(is_readable(h));
  ASSERT_GT(read(h, 1), 0);
  EXPECT_EQ(payload_read(), udp4(20, 'b'));
}

TEST_F(capture_limit_test, packet_is_decided_by_one_process) {
  auto h = listen(out);
  ASSERT_GT(read(h), 0);
  for (int i = 0; i < 2; ++i) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(decide(h, accept) == 40 ? 0 : 1);
    ::waitpid(child, nullptr, 0);
  }
  EXPECT_EQ(decide(h, accept), 40);
  std::size_t refused = 0;
  while (read(h) > 0) refused += error_read() == ENOENT ? 1 : 0;
  EXPECT_EQ(refused, 2U);
  EXPECT_EQ(passed().size(), 1U);
}

TEST_F(capture_limit_test, parent_that_destroys_its_handle_leaves_the_packets_to_its_child) {
  auto h = listen(out);
  ASSERT_GT(read(h), 0);
  deciding_child child([&] { return decide(h, accept); });
  h.reset();
  child.let_decide();
  EXPECT_EQ(passed(), std::vector{udp4(10, 'a')});
}

TEST_F(capture_limit_test, reader_whose_children_have_ended_waits_for_nobody) {
  others = {{"LIBIPQ_MAX_LENGTH", "2"}};
  capture_path = capture(std::vector(5, udp4(3)));
  auto h = listen();
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  std::size_t seen = 0;
  while (read(h) > 0) ++seen;
  EXPECT_EQ(seen, 2U);
  EXPECT_EQ(stats(h).lost_queue_full, 3U);
  ::waitpid(child, nullptr, 0);
}

TEST_F(capture_limit_test, handle_that_goes_makes_room_for_the_other) {
  others = {{"LIBIPQ_MAX_LENGTH", "4"}};
  std::vector<std::string> packets(10, udp6(5));
  packets[0] = packets[9] = udp4(3);
  capture_path = capture(packets);
  auto four = listen();
  auto six = listen("", ipv6);
  ASSERT_GT(read(four), 0);
  EXPECT_FALSE(is_readable(four));
  six.reset();
  EXPECT_TRUE(is_readable(four));
  ASSERT_GT(read(four), 0);
  expect_end(four);
}

TEST_F(capture_limit_test, nothing_arrives_before_the_first_mode) {
  for (const char* const then : {"", ",then=wait"}) {
    source = "capture:" + capture_path + then;
    auto h = create();
    EXPECT_FALSE(is_readable(h));
    EXPECT_EQ(read(h, -1), 0);
    EXPECT_STREQ(ipq_errstr(), "Timeout");
    EXPECT_EQ(read(h, 1000), 0);
    std::thread reader([&] {
      std::array<unsigned char, 1000> mine;
      EXPECT_GT(ipq_read(h.get(), mine.data(), mine.size(), 0), 0);
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(ipq_set_mode(h.get(), IPQ_COPY_PACKET, 0), 56);
    reader.join();
    EXPECT_TRUE(is_readable(h));
    ASSERT_GT(read(h), 0);
    EXPECT_EQ(payload_read(), udp4(20, 'b'));
  }
}

TEST_F(capture_limit_test, handle_without_a_mode_leaves_the_others_packets) {
  source = "capture:" + capture_path;
  auto four = create(), six = create(ipv6);
  EXPECT_EQ(ipq_set_mode(four.get(), IPQ_COPY_PACKET, 0), 56);
  EXPECT_EQ(read(six, -1), 0);
  EXPECT_EQ(ipq_set_mode(six.get(), IPQ_COPY_PACKET, 0), 56);
  ASSERT_GT(read(six), 0);
  EXPECT_EQ(payload_read(), udp6(5));
}

TEST_F(capture_limit_test, limit_is_1024_without_another) {
  capture_path = capture(std::vector(1100, udp4(3)));
  auto h = listen(out);
  std::size_t seen = 0;
  while (read(h) > 0) ++seen;
  EXPECT_EQ(seen, 1024U);
  EXPECT_EQ(stats(h).lost_queue_full, 76U);
}

}  // namespace
}  // namespace ipq::compat
