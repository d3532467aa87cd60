// SPDX-License-Identifier: MIT
// Sockets of a queue on the real kernel that somebody else has, too, or has changed: no packet that nobody decided gets
// the verdict of another.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "kernel/live_queue.hpp"
#include "unit/without_capability.hpp"

namespace ipq {
namespace {

using namespace queue_tests;

class queue_with_a_shared_socket : public live_queue {
 protected:
  static void accept_all(queue& q, std::size_t count) {
    receive_all(q, count, [&](const packet& p) { must(q.set_verdict(p, verdict::accept())); });
  }
  /// Lets nothing through that has more than 300 bytes.
  static void attach_filter(int fd) {
    sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 300, 0, 1),
                          BPF_STMT(BPF_RET | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, 0xffffffff)};
    const sock_fprog filter{std::size(code), code};
    ASSERT_EQ(::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter), 0);
  }
  const std::string large = std::string(600, 'x');
};

TEST_F(queue_with_a_shared_socket, what_another_one_has_received_gets_no_batch_verdict) {
  queued();
  const int given = must(must_open().release());
  const int kept = ::dup(given);
  queue q = must(queue::adopt(given, {.number = number, .at_close = queue_options::closing::accept_waiting}));
  std::optional<queue> other = must(queue::adopt(kept, {.number = number}));
  flow4().send("0");
  accept_all(q, 1);
  flow4().send("undecided");
  const batch undecided = must(other->receive(soon()));
  ASSERT_EQ(undecided.size(), 1u);
  for (const char* text : {"a", "b"}) flow4().send(text);
  accept_all(q, 2);
  EXPECT_EQ(arrivals(3), (std::vector<std::string>{"0", "a", "b"}));
  { const queue closed = std::move(q); }
  EXPECT_TRUE(flow4().nothing_arrived());
  must(other->set_verdict(undecided[0], verdict::accept()));
  EXPECT_EQ(arrivals(1), (std::vector<std::string>{"undecided"}));
}

TEST_F(queue_with_a_shared_socket, adopting_takes_its_filter_away) {
  queued();
  const int given = must(must_open().release());
  attach_filter(given);
  flow4().send("before");
  flow4().send(large);
  queue q = must(queue::adopt(given, {.number = number}));
  for (const std::string& text : {std::string("a"), large, std::string("b")}) flow4().send(text);
  std::size_t sizes = 0;
  receive_all(q, 4, [&](const packet& p) {
    sizes += p.payload.size() - flow4().header_size();
    must(q.set_verdict(p, verdict::accept()));
  });
  EXPECT_EQ(sizes, 6 + 1 + 600 + 1u);
  EXPECT_EQ(arrivals(4), (std::vector<std::string>{"before", "a", large, "b"})) << "the first large one is nobody's";
  EXPECT_EQ(must_stats(q).in_kernel->waiting, 1u);
}

TEST_F(queue_with_a_shared_socket, locked_filter_is_a_reason_to_refuse_it) {
  queued();
  const int given = must(must_open().release());
  attach_filter(given);
  const int on = 1;
  ASSERT_EQ(::setsockopt(given, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof on), 0);
  const auto refused = queue::adopt(given, {.number = number});
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().is(EINVAL));
  EXPECT_EQ(refused.error().message(),
            "bind queue 3: Invalid argument: the socket's filter is locked (SO_LOCK_FILTER)");
  EXPECT_EQ(::close(given), 0);
}

// A refused "drop what the one before has left" must not become an accept at the end.
TEST_F(queue_with_a_shared_socket, what_the_one_before_has_left_is_not_accepted_where_its_drop_was_refused) {
  queued();
  std::vector<held_packet> forgotten;
  const int copy = [&] {
    queue crashed = must_open();
    const int kept = ::dup(crashed.fd());
    flow4().send("left");
    forgotten.push_back(must(crashed.hold(must(crashed.receive(soon()))[0])));
    return kept;
  }();
  std::optional<queue> q =
      must(queue::adopt(copy, {.number = number, .at_close = queue_options::closing::accept_waiting}));
  flow4().send("a");
  const batch got = must(q->receive(soon()));
  ASSERT_EQ(got.size(), 1u);
  {
    const unit_tests::without_net_admin powerless;
    must(q->set_verdict(got[0], verdict::accept()));
  }
  q.reset();
  EXPECT_TRUE(flow4().nothing_arrived());
}

// What the kernel itself has dropped as the receive buffer was full does not wait.
TEST_F(queue_with_a_shared_socket, what_found_no_room_waits_for_nobody) {
  queued();
  std::optional<queue> q =
      must_open({.receive_buffer = 1, .at_close = queue_options::closing::accept_waiting});  // the kernel's least
  for (int i = 0; i < 40; ++i) flow4().send(std::string(500, 'x'));
  std::size_t seen = 0;
  while (const auto got = q->try_receive()) {
    seen += got->size();
    for (const packet& p : *got) must(q->set_verdict(p, verdict::drop()));
  }
  ASSERT_LT(seen, 40u);
  flow4().send("a");
  accept_all(*q, 1);
  flow4().send("waits");
  q.reset();
  EXPECT_EQ(arrivals(2), (std::vector<std::string>{"a", "waits"}));
}

}  // namespace
}  // namespace ipq
