// SPDX-License-Identifier: MIT
// The queue over a scripted kernel: what a real one does once in 2^32 packets, or should never do.
#include "ipq/queue.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "netlink/scripted_kernel.hpp"
#include "unit/scripted_queue.hpp"
#include "wire/bytes.hpp"
#include "wire/config.hpp"
#include "wire/constants.hpp"

namespace ipq {
namespace {

using namespace queue_tests;
using netlink::scripted_verdict;

/// What `act` does in a child of fork(), which then ends. Returns the number of verdicts that it gave.
std::size_t in_a_child(netlink::scripted_kernel& kernel, auto act) {
  const std::size_t before = kernel.verdicts().size();
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      act();
    } catch (...) {
      ::_exit(1);  // or the child would go on with the tests
    }
    ::_exit(0);
  }
  int status = 1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  return kernel.verdicts().size() - before;
}

TEST_F(scripted_queue_test, ids_wrap_and_a_batch_verdict_hits_what_was_decided_alone) {
  queue q = open({.number = number, .verdict_delay = 1h});
  kernel.set_next_id(number, 0xfffffffd);
  for (int i = 0; i < 6; ++i) arrive();
  const batch got = must_receive(q);
  ASSERT_EQ(got.size(), 6u);
  EXPECT_EQ(got[2].id, 0xffffffffu);
  EXPECT_EQ(got[3].id, 0u);
  for (const std::size_t i : {0uz, 1uz, 2uz, 3uz, 5uz}) EXPECT_TRUE(q.set_verdict(got[i], verdict::accept()));
  EXPECT_TRUE(q.flush());
  EXPECT_EQ(waiting(), std::vector<std::uint32_t>{1});
  EXPECT_EQ(kernel.requests().size(), 3u) << "the bind, a batch verdict up to 0, and a verdict on 2";
  EXPECT_TRUE(q.set_verdict(got[4], verdict::drop()));
  EXPECT_TRUE(waiting().empty());
  EXPECT_EQ(kernel.verdicts().back().value, 0u);
}

// Somebody who kept the descriptor has it.
TEST_F(scripted_queue_test, packet_that_did_not_come_behind_id_0_gets_no_batch_verdict) {
  queue q = open({.number = number, .verdict_delay = 1h});
  kernel.set_next_id(number, 0xffffffff);
  for (int i = 0; i < 2; ++i) arrive();
  for (const packet& p : must_receive(q)) EXPECT_TRUE(q.set_verdict(p, verdict::accept()));
  arrive();
  kernel.settle();
  std::byte taken[4096];
  ASSERT_GT(::recv(q.fd(), taken, sizeof taken, 0), 0);
  for (int i = 0; i < 2; ++i) arrive();
  for (const packet& p : must_receive(q)) EXPECT_TRUE(q.set_verdict(p, verdict::accept()));
  EXPECT_EQ(waiting(), std::vector<std::uint32_t>{1});
}

TEST_F(scripted_queue_test, descriptor_is_readable_while_packets_from_before_adopt_are_left) {
  auto socket = bound_socket();
  for (int i = 0; i < 71; ++i) arrive();
  std::byte buffer[512];
  ASSERT_GT(::recv(socket.fd(), buffer, sizeof buffer, 0), 0) << "the one before had the first, and crashed";
  netlink::stash unread;
  for (ssize_t n; (n = ::recv(socket.fd(), buffer, sizeof buffer, MSG_DONTWAIT)) > 0;) {
    unread.emplace_back(buffer, buffer + n);
  }
  ASSERT_EQ(unread.size(), 70u);
  auto made = queues::maker::make({.socket = std::move(socket), .had_owner = true, .unread = std::move(unread)},
                                  {.number = number});
  ASSERT_TRUE(made);
  queue q = *std::move(made);
  const auto is_readable = [&] {
    kernel.settle();
    pollfd watched{.fd = q.fd(), .events = POLLIN, .revents = 0};
    return ::poll(&watched, 1, 0) == 1;
  };
  for (const std::size_t count : {64uz, 6uz}) {
    EXPECT_TRUE(is_readable()) << count << " are left";
    const auto got = q.try_receive();
    ASSERT_TRUE(got);
    ASSERT_EQ(got->size(), count);
    for (const packet& p : *got) EXPECT_TRUE(q.set_verdict(p, verdict::accept()));
  }
  EXPECT_TRUE(q.try_receive().error().is(ETIMEDOUT));
  EXPECT_FALSE(is_readable());
}

TEST_F(scripted_queue_test, closing_accepts_what_waits_across_the_wrap) {
  {
    queue q = open({.number = number, .at_close = queue_options::closing::accept_waiting});
    kernel.set_next_id(number, 0xfffffffe);
    arrive();
    auto held = q.hold(must_receive(q)[0]);
    for (int i = 0; i < 3; ++i) arrive();
    const queue closed = std::move(q);
  }
  const auto given = kernel.verdicts();
  ASSERT_EQ(given.size(), 4u);
  EXPECT_EQ(given[0].id, 0xfffffffeu);
  EXPECT_EQ(given[3].id, 1u);
  for (const auto& each : given) EXPECT_EQ(each.value, 1u);
}

TEST_F(scripted_queue_test, closing_accepts_also_what_comes_behind_the_last_verdict) {
  const auto close = [&](bool forks) {
    queue q = open({.number = number, .at_close = queue_options::closing::accept_waiting});
    arrive();
    static_cast<void>(must_receive(q));
    const auto before = static_cast<std::ptrdiff_t>(kernel.requests().size());
    if (forks) static_cast<void>(in_a_child(kernel, [] {}));
    { const queue closed = std::move(q); }
    const auto all = kernel.requests();
    return std::vector(all.begin() + before, all.end());
  };
  const auto last = close(false);
  ASSERT_EQ(last.size(), 4u);  // the packet's verdict, two settings, and the verdict on what waits
  EXPECT_EQ(last[1].number(wire::config_flags), wire::queue_fail_open) << "before the length, or what comes is dropped";
  EXPECT_EQ(last[1].number(wire::config_mask), wire::queue_fail_open);
  EXPECT_EQ(last[1].find(wire::config_queue_maxlen), nullptr);
  EXPECT_EQ(last[2].number(wire::config_queue_maxlen), 0u);
  EXPECT_EQ(last[3].type, wire::message_verdict_batch);
  EXPECT_EQ(close(true).size(), 2u) << "a child may be about to serve the queue";
}

// Whatever is done in whatever order, every packet gets the verdict that it was given, once, and no other.
TEST_F(scripted_queue_test, no_packet_gets_the_verdict_of_another) {
  queue q = open({.number = number, .unanswered = verdict::accept().with_mark(99), .verdict_delay = 1h});
  kernel.set_next_id(number, 0xffffff00);
  std::mt19937 random(7);
  const auto chance = [&](unsigned of) { return random() % of == 0; };
  const auto any_of = [&](auto& list) { return list.begin() + static_cast<std::ptrdiff_t>(random() % list.size()); };
  std::map<std::uint32_t, verdict> wanted;  // what was decided, sent or not
  std::vector<held_packet> held;
  std::vector<packet> open_packets;  // copies of what the batch has undecided
  std::array<std::byte, 20> replacement{};
  const auto any_verdict = [&]() -> verdict {
    switch (random() % 6) {
      case 0:
        return verdict::drop();
      case 1:
        return verdict::accept().with_mark(random() % 2);
      case 2:
        return verdict::accept().with_priority(7);
      case 3:
        return verdict::queue(number);
      default:
        return verdict::accept();
    }
  };
  std::size_t arrived = 0;
  const auto leave_open_ones = [&] {
    for (const packet& p : open_packets) wanted.emplace(p.id, verdict::accept().with_mark(99));
    open_packets.clear();
  };
  const auto check = [&] {
    for (const scripted_verdict& given : kernel.verdicts()) {
      const auto found = wanted.find(given.id);
      ASSERT_NE(found, wanted.end()) << "packet " << given.id << " was not decided";
      ASSERT_EQ(given.value, found->second.value()) << "packet " << given.id;
      ASSERT_EQ(given.mark, found->second.mark()) << "packet " << given.id;
      ASSERT_EQ(given.priority, found->second.priority()) << "packet " << given.id;
      ASSERT_EQ(given.payload.has_value(), !found->second.payload().empty()) << "packet " << given.id;
    }
  };
  for (int step = 0; step < 4000; ++step) {
    for (auto more = random() % 5; more > 0 && arrived < 9000; --more, ++arrived) arrive();
    if (chance(4)) {
      leave_open_ones();
      if (const auto got = q.try_receive()) open_packets.assign(got->begin(), got->end());
    }
    if (!open_packets.empty() && !chance(3)) {
      const auto which = chance(2) ? open_packets.begin() : any_of(open_packets);
      if (chance(4)) {
        held.push_back(q.hold(*which).value());
      } else {
        const auto given = chance(20) ? verdict::accept().with_payload(replacement) : any_verdict();
        ASSERT_TRUE(q.set_verdict(*which, given));
        wanted.emplace(which->id, given);
      }
      open_packets.erase(which);
    }
    if (!held.empty() && chance(16)) {
      const auto which = any_of(held);
      const auto id = which->id();
      if (chance(4)) {
        wanted.emplace(id, verdict::accept().with_mark(99));
      } else {
        const auto given = any_verdict();
        ASSERT_TRUE(std::move(*which).set_verdict(given));
        wanted.emplace(id, given);
      }
      held.erase(which);
    }
    if (chance(50)) {
      ASSERT_TRUE(q.flush());
    }
    if (step % 200 == 0) check();
    if (HasFatalFailure()) return;
  }
  const auto still_held = held.size();
  leave_open_ones();
  while (const auto got = q.try_receive()) {
    for (const packet& p : *got) {
      ASSERT_TRUE(q.set_verdict(p, verdict::drop()));
      wanted.emplace(p.id, verdict::drop());
    }
  }
  check();
  const auto given = kernel.verdicts();
  EXPECT_EQ(given.size(), wanted.size()) << "each once";
  EXPECT_EQ(waiting().size(), still_held);
  const statistics s = q.stats();
  EXPECT_EQ(s.received, arrived);
  EXPECT_EQ(s.undecided, still_held);
  EXPECT_EQ(s.accepted + s.dropped + s.requeued + s.undecided, arrived);
  EXPECT_EQ(s.gone + s.refused, 0u);
  EXPECT_GT(still_held, 0u);
}

TEST_F(scripted_queue_test, packet_of_another_queue_is_none_of_this_one) {
  queue q = open();
  const auto id = arrive();
  const batch got = must_receive(q);
  packet copy = got[0], stranger = got[0];
  stranger.queue = number + 1;
  const auto given = q.set_verdict(stranger, verdict::accept());
  ASSERT_FALSE(given);
  EXPECT_TRUE(given.error().is(EINVAL));
  const auto held = q.hold(stranger);
  ASSERT_FALSE(held);
  EXPECT_TRUE(held.error().is(EINVAL));
  EXPECT_EQ(waiting(), std::vector<std::uint32_t>{id});
  EXPECT_TRUE(q.set_verdict(copy, verdict::accept()));
  EXPECT_TRUE(waiting().empty());
}

TEST_F(scripted_queue_test, whole_copy_of_a_truncated_packet_is_truncated) {
  queue q = open({.number = number, .copy_range = 20}, 20);
  arrive(100);
  const batch got = must_receive(q);
  packet copy = got[0];
  ASSERT_TRUE(copy.truncated);
  copy.truncated = false;
  const auto given = q.set_verdict(copy, verdict::accept().with_payload(copy.payload));
  ASSERT_FALSE(given);
  EXPECT_TRUE(given.error().is(EMSGSIZE));
}

TEST_F(scripted_queue_test, reader_sleeps_on_a_descriptor_that_does_not_block) {
  queue q = open();
  ASSERT_EQ(::fcntl(q.fd(), F_SETFL, O_NONBLOCK), 0);
  std::thread stopper([&] {
    std::this_thread::sleep_for(300ms);
    arrive();
  });
  const auto spent = [] {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
  };
  const auto before = spent();
  EXPECT_TRUE(q.receive());
  EXPECT_LT(spent() - before, 100ms) << "of 300";
  stopper.join();
}

TEST_F(scripted_queue_test, connection_mark_is_a_nested_attribute) {
  queue q = open();
  arrive();
  EXPECT_TRUE(q.set_verdict(must_receive(q)[0], verdict::accept().with_connmark(0x01020304)));
  const auto sent = kernel.requests().back();
  const byte_vector* connection = sent.find(wire::attribute_ct);
  ASSERT_NE(connection, nullptr);
  ASSERT_EQ(connection->size(), 8u);
  EXPECT_EQ(wire::load<std::uint16_t>(connection->data()), 8);      // length
  EXPECT_EQ(wire::load<std::uint16_t>(connection->data() + 2), 8);  // CTA_MARK
  EXPECT_EQ(sent.number(wire::attribute_ct, 4), 0x01020304u);
}

TEST_F(scripted_queue_test, connection_mark_with_a_mask_is_two_attributes) {
  queue q = open();
  arrive();
  EXPECT_TRUE(q.set_verdict(must_receive(q)[0], verdict::accept().with_connmark(0x01020304, 0xffff)));
  const auto sent = kernel.requests().back();
  const byte_vector* connection = sent.find(wire::attribute_ct);
  ASSERT_NE(connection, nullptr);
  ASSERT_EQ(connection->size(), 16u);
  EXPECT_EQ(sent.number(wire::attribute_ct, 4), 0x0304u);
  EXPECT_EQ(wire::load<std::uint16_t>(connection->data() + 8), 8);    // length
  EXPECT_EQ(wire::load<std::uint16_t>(connection->data() + 10), 21);  // CTA_MARK_MASK
  EXPECT_EQ(sent.number(wire::attribute_ct, 12), 0xffffu);
}

TEST_F(scripted_queue_test, neighbours_with_a_connection_mark_or_payload_are_not_merged) {
  queue q = open({.number = number, .verdict_delay = 1h});
  for (int i = 0; i < 4; ++i) arrive();
  const batch got = must_receive(q);
  EXPECT_TRUE(q.set_verdict(got[0], verdict::accept().with_connmark(1)));
  EXPECT_TRUE(q.set_verdict(got[1], verdict::accept().with_connmark(1)));
  EXPECT_TRUE(q.set_verdict(got[2], verdict::accept().with_payload(got[2].payload)));
  EXPECT_TRUE(q.set_verdict(got[3], verdict::accept().with_payload(got[3].payload)));
  EXPECT_EQ(kernel.requests().size(), 5u);
  EXPECT_EQ(kernel.verdicts().size(), 4u);
  EXPECT_TRUE(kernel.verdicts()[3].payload);
}

TEST_F(scripted_queue_test, messages_that_cant_be_read_are_counted_and_passed_over) {
  queue q = open();
  const byte_vector garbage(7, std::byte{0xff});
  kernel.deliver(garbage);
  byte_vector without_id(wire::nlmsg_header_size + wire::nfgen_size);
  wire::store(without_id.data(), static_cast<std::uint32_t>(without_id.size()));
  wire::store(without_id.data() + 4, std::uint16_t{wire::message_packet});
  kernel.deliver(without_id);
  const auto id = arrive();
  const batch got = must_receive(q);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].id, id);
  EXPECT_EQ(q.stats().malformed, 2u);
  EXPECT_EQ(q.stats().received, 1u);
}

TEST_F(scripted_queue_test, packet_larger_than_was_asked_for_gets_the_stated_verdict) {
  queue q = open({.number = number, .copy_range = 100, .unanswered = verdict::accept().with_mark(5)}, 0xffff);
  const auto cut = arrive(4000);
  const auto next = arrive(50);
  const batch got = must_receive(q);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].id, next);
  EXPECT_TRUE(q.set_verdict(got[0], verdict::drop()));
  const auto given = kernel.verdicts();
  ASSERT_EQ(given.size(), 2u);
  EXPECT_EQ(given[0].id, cut);
  EXPECT_EQ(given[0].mark, 5u);
  const statistics s = q.stats();
  EXPECT_EQ(s.malformed, 1u);
  EXPECT_EQ(s.unanswered, 1u);
  EXPECT_EQ(s.received, 2u);
}

TEST_F(scripted_queue_test, any_error_is_the_event_of_its_packet_and_disturbs_nobody) {
  queue q = open();
  kernel.set_handler([](const netlink::scripted_request& request) -> std::optional<netlink::scripted_kernel::answers> {
    if (request.type != wire::message_verdict || request.sequence != 2) return std::nullopt;
    return netlink::scripted_kernel::answers{netlink::scripted_kernel::answer(request, EIO)};
  });
  for (int i = 0; i < 3; ++i) arrive();
  const batch got = must_receive(q);
  EXPECT_TRUE(q.set_verdict(got[0], verdict::accept()));
  EXPECT_TRUE(q.set_verdict(got[1], verdict::drop()));
  EXPECT_TRUE(q.set_verdict(got[2], verdict::accept()));
  kernel.settle();
  const auto id = arrive();
  const batch next = must_receive(q);
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].id, id);
  ASSERT_EQ(next.events().size(), 1u);
  const event& refused = next.events()[0];
  EXPECT_EQ(refused.what, event::kind::refused);
  EXPECT_EQ(refused.id, 2u);
  EXPECT_EQ(refused.count, 1u);
  EXPECT_EQ(refused.code.value(), EIO);
  const statistics s = q.stats();
  EXPECT_EQ(s.refused, 1u);
  EXPECT_EQ(s.dropped, 0u);
  EXPECT_EQ(s.accepted, 2u);
  EXPECT_EQ(s.undecided, 1u);
}

TEST_F(scripted_queue_test, lies_about_refused_verdicts_leave_counters_that_add_up) {
  queue q = open();
  arrive();
  EXPECT_TRUE(q.set_verdict(must_receive(q)[0], verdict::accept()));
  const auto sent = kernel.requests().back();
  for (const std::uint32_t cookie : {0xffffff01u, 0xffffffffu, 1u, 0u}) {  // too many, of no kind, none
    auto answer = netlink::scripted_kernel::answer(sent, ENOENT);
    wire::store(answer.data() + wire::nlmsg_header_size + 4 + 12, cookie);
    kernel.deliver(answer);
  }
  kernel.deliver(netlink::scripted_kernel::answer(sent, 0));
  auto foreign = sent;
  foreign.type = wire::message_config;
  auto answer = netlink::scripted_kernel::answer(foreign, EPERM);
  wire::store(answer.data() + wire::nlmsg_header_size + 4 + 4, std::uint16_t{wire::message_config});
  kernel.deliver(answer);
  while (q.try_receive()) {
  }
  const statistics s = q.stats();
  EXPECT_EQ(s.received,
            s.accepted + s.dropped + s.repeated + s.stopped + s.requeued + s.gone + s.refused + s.undecided);
  EXPECT_LE(s.gone, 1u);
  EXPECT_EQ(s.refused, 0u);
}

TEST_F(scripted_queue_test, closing_accepts_what_one_before_has_left_whatever_its_ids) {
  for (const std::uint32_t first : {1u, 0x60000000u, 0x80000000u, 0xbfffffffu, 0xffffffffu}) {
    netlink::scripted_kernel another;
    {
      auto socket = another.open(NETLINK_NETFILTER);
      ASSERT_TRUE(socket);
      alignas(4) std::byte request[wire::max_config_size];
      const auto length = wire::encode_config(
          {.queue = number, .command = wire::config_command::bind, .copy = {{wire::copy_mode::packet, 0xffff}}},
          request);
      ASSERT_TRUE(socket->send(std::span<const std::byte>(request, length)));
      another.settle();
      another.set_next_id(number, first);
      for (int i = 0; i < 2; ++i)
        static_cast<void>(another.queue_packet({.queue = number, .family = 2, .payload = {}}));
      const auto adopted = queues::maker::make({.socket = *std::move(socket), .had_owner = true},
                                               {.number = number, .at_close = queue_options::closing::accept_waiting});
      ASSERT_TRUE(adopted);
    }
    const auto given = another.verdicts();
    ASSERT_EQ(given.size(), 2u) << first;
    for (const auto& each : given) EXPECT_EQ(each.value, 1u);
  }
}

// What the kernel loses of a run it tells only if it has lost all of it.
TEST_F(scripted_queue_test, without_a_delay_each_verdict_goes_by_itself) {
  queue q = open({.number = number, .verdict_delay = 0ms});
  for (int i = 0; i < 3; ++i) arrive();
  must_receive(q);  // and passes over them
  EXPECT_FALSE(q.try_receive());
  kernel.settle();
  EXPECT_EQ(kernel.verdicts().size(), 3u);
  for (const auto& each : kernel.requests()) EXPECT_NE(each.type, wire::message_verdict_batch);
}

TEST_F(scripted_queue_test, queue_that_is_not_given_away_keeps_its_batch) {
  queue q = open();
  for (int i = 0; i < 2; ++i) arrive();
  const batch got = must_receive(q);
  auto held = q.hold(got[0]);
  ASSERT_TRUE(held);
  const auto given = std::move(q).release();
  ASSERT_FALSE(given);
  EXPECT_TRUE(given.error().is(EBUSY));
  EXPECT_TRUE(q.set_verdict(got[1], verdict::accept()));
  EXPECT_TRUE(std::move(*held).set_verdict(verdict::accept()));
  EXPECT_TRUE(q.flush());
  kernel.settle();
  EXPECT_TRUE(waiting().empty());
  for (const auto& each : kernel.verdicts()) EXPECT_EQ(each.value, 1u);
}

// Whoever takes the queue over looks for the answer to a message of this number.
TEST_F(scripted_queue_test, another_length_is_no_bind) {
  queue q = open();
  ASSERT_TRUE(q.set_max_length(7));
  kernel.settle();
  EXPECT_EQ(kernel.find_queue(number)->max_length, 7u);
  EXPECT_EQ(kernel.requests().back().sequence, 0u);
}

TEST_F(scripted_queue_test, verdict_that_could_not_be_sent_is_none) {
  queue q = open();
  for (int i = 0; i < 2; ++i) arrive();
  const batch got = must_receive(q);
  ASSERT_EQ(::shutdown(q.fd(), SHUT_WR), 0);
  EXPECT_TRUE(q.set_verdict(got[0], verdict::accept()));
  const auto refused = q.set_verdict(got[1], verdict::drop());
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().is(EPIPE)) << refused.error().message();
  EXPECT_EQ(q.stats().accepted, 0u);
  EXPECT_EQ(q.stats().dropped, 0u);
  EXPECT_EQ(q.stats().undecided, 2u);
}

TEST_F(scripted_queue_test, deadline_long_ago) {
  for (const auto how :
       {queue_options::waiting::adaptive, queue_options::waiting::latency, queue_options::waiting::throughput}) {
    queue q = open({.number = number, .when_idle = how});
    arrive();
    must_receive(q);
    const auto none = q.receive(queue::clock::time_point::min());
    ASSERT_FALSE(none);
    EXPECT_TRUE(none.error().is(ETIMEDOUT)) << none.error().message();
  }
}

// ---- an event loop's queue

// The program waits at fd() after events as after packets: nobody else would send what a holder decides then.
TEST_F(scripted_queue_test, holders_verdict_goes_at_once_after_events_alone) {
  queue q = open({.number = number, .verdict_delay = 1h});
  arrive();
  const auto first = q.try_receive();
  ASSERT_TRUE(first);
  ASSERT_TRUE(q.set_verdict((*first)[0], verdict::accept()));
  kernel.settle();
  const auto sent = kernel.requests().back();
  const auto id = arrive();
  arrive();
  const auto second = q.try_receive();
  ASSERT_TRUE(second);
  ASSERT_EQ(second->size(), 2u);
  auto held = q.hold((*second)[0]);
  ASSERT_TRUE(held);
  kernel.deliver(netlink::scripted_kernel::answer(sent, ENOENT));
  const auto third = q.try_receive();
  ASSERT_TRUE(third);
  EXPECT_TRUE(third->empty());
  ASSERT_EQ(third->events().size(), 1u);
  EXPECT_TRUE(std::move(*held).set_verdict(verdict::accept().with_mark(7)));
  kernel.settle();
  EXPECT_EQ(kernel.verdicts().back().id, id);
  EXPECT_EQ(kernel.verdicts().back().mark, 7u);
}

// Ids of another queue are not this one's: of a socket that was adopted where the kernel's list could not be seen.
TEST_F(scripted_queue_test, packets_of_another_queue_on_the_socket_get_a_verdict_of_their_own) {
  queue q = open();
  bind_beside(q, number + 1);
  const byte_vector bytes(20, std::byte{0x45});
  ASSERT_TRUE(kernel.queue_packet({.queue = number + 1, .family = 2, .payload = bytes}));
  arrive();
  const batch got = must_receive(q);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].queue, number);
  EXPECT_TRUE(q.set_verdict(got[0], verdict::accept()));
  kernel.settle();
  ASSERT_EQ(kernel.verdicts().size(), 2u);
  EXPECT_EQ(kernel.verdicts()[0].queue, number + 1);
  EXPECT_EQ(kernel.verdicts()[0].value, 0u) << "as unanswered packets of ours";
  EXPECT_EQ(kernel.verdicts()[1].queue, number);
  const statistics s = q.stats();
  EXPECT_EQ(s.malformed, 1u);
  EXPECT_EQ(s.received, 1u);
  EXPECT_EQ(s.accepted, 1u);
}

TEST_F(scripted_queue_test, cut_packet_of_another_queue_is_none_of_this_one) {
  queue q = open({.number = number, .copy_range = 128}, 0xffff, true);
  const auto other_queue = static_cast<std::uint16_t>(number + 1);
  bind_beside(q, other_queue);
  const auto ours = arrive();
  auto held = q.hold(must_receive(q)[0]);
  const byte_vector bytes(4000, std::byte{0x45});
  ASSERT_EQ(kernel.queue_packet({.queue = other_queue, .family = 2, .payload = bytes}), ours) << "the same id";
  EXPECT_FALSE(q.receive(queue::clock::now() + 1ms));
  kernel.settle();
  EXPECT_EQ(waiting(), std::vector<std::uint32_t>{ours});
  EXPECT_TRUE(kernel.find_queue(other_queue)->waiting.empty());
  EXPECT_EQ(q.stats().malformed, 1u);
  EXPECT_EQ(q.stats().received, 1u);
  EXPECT_TRUE(std::move(*held).set_verdict(verdict::accept()));
  kernel.settle();
  EXPECT_EQ(kernel.verdicts().back().value, 1u);
  EXPECT_TRUE(waiting().empty());
}

TEST_F(scripted_queue_test, packet_that_did_not_come_gets_no_batch_verdict) {
  queue q = open({.number = number, .verdict_delay = 1h});
  for (int i = 0; i < 2; ++i) arrive();
  for (const packet& p : must_receive(q)) EXPECT_TRUE(q.set_verdict(p, verdict::accept()));
  kernel.settle();
  EXPECT_EQ(kernel.requests().size(), 2u) << "the bind and a batch verdict";
  arrive();
  std::byte taken[4096];
  kernel.settle();
  ASSERT_GT(::recv(q.fd(), taken, sizeof taken, 0), 0) << "somebody else's";
  for (int i = 0; i < 2; ++i) arrive();
  for (const packet& p : must_receive(q)) EXPECT_TRUE(q.set_verdict(p, verdict::accept()));
  kernel.settle();
  EXPECT_EQ(waiting(), std::vector<std::uint32_t>{3});
}

// The acknowledgement that ends the wait may come with packets, and is then gone from the descriptor.
TEST_F(scripted_queue_test, stop_among_packets_is_not_lost) {
  for (int round = 0; round < 600; ++round) {
    queue q = open();
    for (int i = 0; i < 60; ++i) arrive();
    std::atomic<bool> begun = false;
    std::thread stopping([&] {
      while (!begun) {
      }
      for (std::atomic<int> a_moment = 0; a_moment < round % 300 * 10;) ++a_moment;
      q.stop();
    });
    bool ended = false;
    begun = true;
    while (!ended) {
      const auto got = q.try_receive();
      ended = !got && got.error().is(ECANCELED);
      if (got) {
        for (const packet& p : *got) EXPECT_TRUE(q.set_verdict(p, verdict::accept()));
      }
      pollfd readable{.fd = q.fd(), .events = POLLIN, .revents = 0};
      if (!ended && ::poll(&readable, 1, 5000) != 1) break;
    }
    stopping.join();
    ASSERT_TRUE(ended) << "round " << round;
  }
}

// ---- holders, and processes, beside a queue that ends

TEST_F(scripted_queue_test, holders_verdicts_keep_their_order_also_with_replacements) {
  queue q = open({.number = number, .verdict_delay = 1h});
  for (int i = 0; i < 3; ++i) arrive();
  const batch got = must_receive(q);
  auto first = q.hold(got[0]), second = q.hold(got[1]);
  ASSERT_TRUE(first && second);  // and the third keeps the reader busy
  const byte_vector replacement(20, std::byte{0x45});
  EXPECT_TRUE(std::move(*first).set_verdict(verdict::accept()));
  EXPECT_TRUE(std::move(*second).set_verdict(verdict::accept().with_payload(replacement)));
  EXPECT_TRUE(q.flush());
  const auto given = kernel.verdicts();
  ASSERT_EQ(given.size(), 2u);
  EXPECT_EQ(given[0].id, 1u);
  EXPECT_EQ(given[1].id, 2u);
}

// What a holder was told is decided has that verdict, whatever is done with the rest.
TEST_F(scripted_queue_test, verdict_of_a_holder_while_the_queue_closes) {
  for (int round = 0; round < 100; ++round) {
    const std::size_t before = kernel.verdicts().size();
    std::map<std::uint32_t, bool> dropped;
    {
      std::optional<queue> q =
          open({.number = number, .verdict_delay = 1h, .at_close = queue_options::closing::accept_waiting});
      for (int i = 0; i < 60; ++i) arrive();
      std::vector<held_packet> held;
      const batch got = must_receive(*q);
      for (std::size_t i = 0; i + 1 < got.size(); ++i) held.push_back(*q->hold(got[i]));  // and leaves one
      std::atomic<bool> begun = false;
      std::thread holder([&] {
        for (auto& each : held) {
          const std::uint32_t id = each.id();
          dropped[id] = std::move(each).set_verdict(verdict::drop()).has_value();
          begun = true;
        }
      });
      while (!begun) {
      }
      q.reset();
      holder.join();
    }
    const auto given = kernel.verdicts();
    EXPECT_EQ(given.size(), before + 60);
    for (const auto& each : std::span(given).subspan(before)) {
      const auto known = dropped.find(each.id);
      EXPECT_FALSE(known != dropped.end() && known->second && each.value != 0) << "round " << round;
    }
  }
}

TEST_F(scripted_queue_test, copy_of_a_child_judges_nothing_by_itself) {
  for (const bool receives : {false, true}) {
    queue q = open({.number = number,
                    .unanswered = verdict::accept().with_mark(1),
                    .at_close = queue_options::closing::accept_waiting});
    for (int i = 0; i < 3; ++i) arrive();
    const batch got = must_receive(q);
    auto held = q.hold(got[0]);
    ASSERT_TRUE(held);
    ASSERT_TRUE(q.set_verdict(got[1], verdict::accept().with_mark(2)));
    const std::size_t before = kernel.verdicts().size();
    const auto given = in_a_child(kernel, [&] {
      if (receives) static_cast<void>(q.try_receive());
      { const queue copy = std::move(q); }
      { const held_packet copy = *std::move(held); }
    });
    EXPECT_EQ(given, 0u) << receives;
    EXPECT_TRUE(q.set_verdict(got[2], verdict::drop()));
    EXPECT_TRUE(std::move(*held).set_verdict(verdict::drop()));
    EXPECT_TRUE(q.flush());
    EXPECT_EQ(kernel.verdicts().size(), before + 3);
  }
}

TEST_F(scripted_queue_test, what_a_child_itself_decides_goes_at_once) {
  queue q = open({.number = number, .verdict_delay = 1h});
  for (int i = 0; i < 4; ++i) arrive();
  const batch got = must_receive(q);
  auto held = q.hold(got[0]), other = q.hold(got[1]);
  ASSERT_TRUE(held && other);
  const auto given = in_a_child(kernel, [&] {
    if (!q.set_verdict(got[2], verdict::accept()) || q.stats().accepted != 1) ::_exit(1);
    if (!std::move(*held).set_verdict(verdict::accept())) ::_exit(1);
    if (const auto none = q.try_receive(); none || !none.error().is(ETIMEDOUT)) ::_exit(1);
    if (q.stats().accepted != 0 || q.stats().undecided != 0) ::_exit(1);
    if (!std::move(*other).set_verdict(verdict::accept())) ::_exit(1);
  });
  EXPECT_EQ(given, 3u);
  EXPECT_EQ(waiting(), std::vector<std::uint32_t>{4});
}

// As a daemon does: its parent opens the queue and ends.
TEST_F(scripted_queue_test, child_that_alone_has_received_has_all_that_its_parent_would) {
  queue q = open({.number = number, .at_close = queue_options::closing::accept_waiting});
  for (int i = 0; i < 70; ++i) arrive();
  const std::size_t before = kernel.requests().size();
  const auto given = in_a_child(kernel, [&] {
    for (const packet& each : must_receive(q)) static_cast<void>(q.set_verdict(each, verdict::drop()));
    const queue closed = std::move(q);
  });
  EXPECT_EQ(given, 70u);
  EXPECT_EQ(kernel.requests()[before].type, wire::message_verdict_batch);
  EXPECT_EQ(kernel.verdicts()[63].value, 0u);
  EXPECT_EQ(kernel.verdicts()[64].value, 1u);
  arrive();
  { const queue closed = std::move(q); }
  kernel.settle();
  EXPECT_EQ(kernel.verdicts().size(), 70u) << "the child may have had it";
}

TEST_F(scripted_queue_test, only_the_first_process_answers_what_the_one_before_has_left) {
  for (const bool parent_first : {true, false}) {
    queue q = open({.number = number, .unanswered = verdict::accept().with_mark(9)}, 0xffff, true);
    arrive();  // read by the one before adopt()
    std::byte buffer[512];
    ASSERT_GE(::recv(q.fd(), buffer, sizeof buffer, 0), 0);
    arrive();
    if (parent_first) {
      static_cast<void>(q.set_verdict(must_receive(q)[0], verdict::drop()));
      arrive();
      const auto given = in_a_child(kernel, [&] { static_cast<void>(must_receive(q)), static_cast<void>(q.flush()); });
      EXPECT_EQ(given, 0u);
    } else {
      const auto given = in_a_child(kernel, [&] { static_cast<void>(must_receive(q)), static_cast<void>(q.flush()); });
      EXPECT_EQ(given, 1u);
      arrive();
      static_cast<void>(q.set_verdict(must_receive(q)[0], verdict::drop()));
    }
    EXPECT_EQ(waiting(), std::vector<std::uint32_t>{parent_first ? 3u : 2u}) << "which the child has";
    const auto given = kernel.verdicts();
    ASSERT_GE(given.size(), 2u);
    EXPECT_EQ(given[given.size() - 2].id, 1u);
    EXPECT_EQ(given[given.size() - 2].mark, 9u);
  }
}

}  // namespace
}  // namespace ipq
