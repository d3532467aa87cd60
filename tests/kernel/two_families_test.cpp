// SPDX-License-Identifier: MIT
// An IPv4 and an IPv6 handle in one process, on the one queue that the classic rules of both families lead to; and
// packets of a family that nobody listens to.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/select.h>

#include <algorithm>
#include <future>
#include <memory>
#include <optional>

#include "child.hpp"
#include "flow.hpp"
#include "packet_bytes.hpp"
#include "process.hpp"

namespace kernel_tests {
namespace {

class two_families : public flow_test {
 protected:
  void SetUp() override {
    flow_test::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    flow4().rule();
    flow6().rule();
  }
};
using foreign_family = two_families;

// Passes a datagram of the family whose handle it is.
void pass(const ipq_handle* h, const flow& packets, std::string_view payload) {
  packets.send(payload);
  const message m = read_packet(h);
  EXPECT_EQ(udp_payload(m.payload()), payload);
  set_verdict(h, m.id());
  EXPECT_EQ(packets.arrived(), payload);
}

TEST_F(two_families, each_handle_reads_its_own) {
  handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_PACKET};
  EXPECT_NE(four.fd(), six.fd());
  for (int round = 0; round < 10; ++round) {
    pass(four, flow4(), "four");
    pass(six, flow6(), "six");
  }
  EXPECT_TRUE(nothing_to_read(four));
  EXPECT_TRUE(nothing_to_read(six));
}

TEST_F(two_families, works_whatever_the_order_of_calls) {
  handle six{ipv6};
  handle four{ipv4};
  ASSERT_EQ(ipq_set_mode(four, IPQ_COPY_PACKET, 0), sent_mode);
  pass(four, flow4(), "before the other has a mode");
  ASSERT_EQ(ipq_set_mode(six, IPQ_COPY_PACKET, 0), sent_mode);
  pass(six, flow6(), "six");
  pass(four, flow4(), "four");
  EXPECT_FALSE(readable(four.fd()));
  EXPECT_FALSE(readable(six.fd()));
}

TEST_F(two_families, select_on_both_descriptors_tells_the_truth) {
  handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_PACKET};
  constexpr int each = 15;
  for (int number = 0; number < each; ++number) {
    flow4().send(std::to_string(number));
    flow6().send(std::to_string(number));
  }
  int read4 = 0, read6 = 0;
  bytes buffer(2048);
  // A program's loop: select(), then a blocking read of what is readable.
  while (read4 + read6 < 2 * each) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(four.fd(), &set);
    FD_SET(six.fd(), &set);
    timeval limit{10, 0};
    ASSERT_GT(select(std::max(four.fd(), six.fd()) + 1, &set, nullptr, nullptr, &limit), 0);
    for (auto [h, packets, count] : {std::tuple{&four, &flow4(), &read4}, {&six, &flow6(), &read6}}) {
      if (!FD_ISSET(h->fd(), &set)) continue;
      ASSERT_GT(ipq_read(*h, buffer.data(), buffer.size(), 0), 0) << last_error(*h);
      ASSERT_EQ(ipq_message_type(buffer.data()), IPQM_PACKET);
      set_verdict(*h, ipq_get_packet(buffer.data())->packet_id);
      EXPECT_EQ(packets->arrived(), std::to_string((*count)++));
    }
  }
  EXPECT_EQ(read4, each);
  EXPECT_EQ(read6, each);
  EXPECT_FALSE(readable(four.fd()));
  EXPECT_FALSE(readable(six.fd()));
}

TEST_F(two_families, packet_of_one_leaves_the_other_unreadable) {
  handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_PACKET};
  flow6().send("six");
  ASSERT_TRUE(readable(six.fd(), 10'000));
  EXPECT_FALSE(readable(four.fd()));
  bytes buffer(2048);
  EXPECT_EQ(ipq_read(four, buffer.data(), buffer.size(), 1), 0);
  EXPECT_TRUE(readable(six.fd()));
  set_verdict(six, read_packet(six).id());
  EXPECT_FALSE(readable(six.fd()));
  EXPECT_EQ(flow6().arrived(), "six");
}

TEST_F(two_families, blocked_readers_wait_for_their_own) {
  handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_PACKET};
  auto read = [](const ipq_handle* h) {
    return std::async(std::launch::async, [h] {
      bytes buffer(large_enough);
      if (ipq_read(h, buffer.data(), buffer.size(), 0) <= 0) throw std::runtime_error(last_error(h));
      set_verdict(h, ipq_get_packet(buffer.data())->packet_id);
      return ipq_get_packet(buffer.data())->hw_protocol;
    });
  };
  auto first = read(four), second = read(six);
  flow6().send("six");
  EXPECT_EQ(second.get(), htons(0x86dd));
  EXPECT_EQ(first.wait_for(std::chrono::milliseconds{20}), std::future_status::timeout);
  flow4().send("four");
  EXPECT_EQ(first.get(), htons(0x0800));
  EXPECT_EQ(flow4().arrived(), "four");
  EXPECT_EQ(flow6().arrived(), "six");
}

TEST_F(two_families, refusal_goes_to_the_handle_that_asked) {
  handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_PACKET};
  set_verdict(six, 4444);
  ASSERT_TRUE(readable(six.fd(), 10'000));
  EXPECT_FALSE(readable(four.fd()));
  EXPECT_EQ(read_error(six).error(), ENOENT);
  ASSERT_EQ(ipq_set_mode(four, 9, 0), sent_mode);
  EXPECT_EQ(read_error(four).error(), EINVAL);
  EXPECT_FALSE(readable(six.fd()));
  set_verdict(four, 5555, 6);
  EXPECT_EQ(read_error(four).error(), EINVAL);
  EXPECT_TRUE(nothing_to_read(six));
}

TEST_F(two_families, each_has_a_mode_of_its_own) {
  handle four{ipv4, IPQ_COPY_PACKET, 40}, six{ipv6, IPQ_COPY_META};
  auto copied = [](const ipq_handle* h, const flow& packets) {
    packets.send(std::string(300, 'm'));
    const message m = read_packet(h);
    set_verdict(h, m.id());
    EXPECT_EQ(packets.arrived(), std::string(300, 'm'));
    return m.packet().data_len;
  };
  EXPECT_EQ(copied(four, flow4()), 40u);
  EXPECT_EQ(copied(six, flow6()), 0u);
  ASSERT_EQ(ipq_set_mode(six, IPQ_COPY_PACKET, 0), sent_mode);
  EXPECT_EQ(copied(four, flow4()), 40u);
  EXPECT_EQ(copied(six, flow6()), 348u);
  ASSERT_EQ(ipq_set_mode(four, IPQ_COPY_PACKET, 200), sent_mode);
  ASSERT_EQ(ipq_set_mode(six, IPQ_COPY_PACKET, 50), sent_mode);
  EXPECT_EQ(copied(four, flow4()), 200u);
  EXPECT_EQ(copied(six, flow6()), 50u);
}

TEST_F(two_families, partial_copy_of_one_still_cuts_when_returned) {
  handle four{ipv4, IPQ_COPY_PACKET, 100}, six{ipv6, IPQ_COPY_PACKET};
  flow4().send(std::string(500, 'p'));
  const message m = read_packet(four);
  ASSERT_EQ(m.packet().data_len, 100u);
  const device_tap tap{far_ns(), "far0"};
  set_verdict(four, m.id(), NF_ACCEPT, m.payload());
  EXPECT_EQ(tap.next(), m.payload());
}

TEST_F(two_families, mode_none_of_one_drops_its_own_only) {
  handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_PACKET};
  ASSERT_EQ(ipq_set_mode(four, IPQ_COPY_NONE, 0), sent_mode);
  flow4().send("dropped");
  pass(six, flow6(), "six");
  EXPECT_FALSE(readable(four.fd()));
  EXPECT_TRUE(nothing_to_read(four));
  EXPECT_TRUE(flow4().nothing_arrived());
  EXPECT_EQ(stats_of(six).wrong_family, 1u);
  ASSERT_EQ(ipq_set_mode(four, IPQ_COPY_PACKET, 0), sent_mode);
  pass(four, flow4(), "four");
}

// A mode is for later packets, also where the thread between the handles has not come to the earlier ones yet.
TEST_F(two_families, change_affects_later_packets_only) {
  handle four{ipv4}, six{ipv6, IPQ_COPY_PACKET};
  for (int round = 0; round < 50; ++round) {
    ASSERT_EQ(ipq_set_mode(four, IPQ_COPY_PACKET, 0), sent_mode);
    flow4().send(std::string(100, '1'));
    ASSERT_EQ(ipq_set_mode(four, IPQ_COPY_META, 0), sent_mode);
    flow4().send(std::string(100, '2'));
    ASSERT_EQ(ipq_set_mode(four, IPQ_COPY_PACKET, 30), sent_mode);
    flow4().send(std::string(100, '3'));
    ASSERT_EQ(ipq_set_mode(four, IPQ_COPY_PACKET, 0), sent_mode);
    flow4().send(std::string(100, '4'));
    ASSERT_EQ(ipq_set_mode(four, IPQ_COPY_NONE, 0), sent_mode);
    flow4().send("nobody's");
    for (size_t expected : {128uz, 0uz, 30uz, 128uz}) {
      const message m = read_packet(four);
      ASSERT_EQ(m.packet().data_len, expected);
      set_verdict(four, m.id(), NF_DROP);
    }
  }
  pass(six, flow6(), "six");
  EXPECT_TRUE(nothing_to_read(four));
  EXPECT_EQ(stats_of(six).wrong_family, 50u);
}

TEST_F(two_families, mode_before_the_second_handle_affects_later_packets_only) {
  for (int round = 0; round < 20; ++round) {
    handle four{ipv4, IPQ_COPY_PACKET};
    flow4().send(std::string(100, '1'));
    ASSERT_EQ(ipq_set_mode(four, IPQ_COPY_META, 0), sent_mode);
    flow4().send(std::string(100, '2'));
    ASSERT_EQ(ipq_set_mode(four, IPQ_COPY_NONE, 0), sent_mode);
    flow4().send("nobody's");
    handle six{ipv6, IPQ_COPY_PACKET};
    flow4().send("nobody's, either");
    for (size_t expected : {128uz, 0uz}) EXPECT_EQ(read_packet(four).packet().data_len, expected);
    pass(six, flow6(), "six");
    EXPECT_TRUE(nothing_to_read(four));
  }
}

TEST_F(two_families, second_handle_changes_nothing_for_the_first) {
  handle four{ipv4, IPQ_COPY_PACKET};
  const int fd = four.fd();
  flow4().send("before");
  auto six = std::make_unique<handle>(ipv6, static_cast<uint8_t>(IPQ_COPY_PACKET));
  EXPECT_EQ(four.fd(), fd);
  flow4().send("between");
  flow6().send("left behind");
  ASSERT_TRUE(readable(fd, 10'000));
  six.reset();
  EXPECT_EQ(four.fd(), fd);
  flow4().send("after");
  for (const char* expected : {"before", "between", "after"}) {
    ASSERT_TRUE(readable(fd, 10'000));
    const message m = read_packet(four);
    EXPECT_EQ(udp_payload(m.payload()), expected);
    set_verdict(four, m.id());
    EXPECT_EQ(flow4().arrived(), expected);
  }
  EXPECT_FALSE(readable(fd));
  EXPECT_TRUE(flow6().nothing_arrived());
}

TEST_F(two_families, reader_blocked_before_the_second_handle_goes_on) {
  handle four{ipv4, IPQ_COPY_PACKET};
  std::promise<pid_t> thread;
  auto read = std::async(std::launch::async, [&] {
    thread.set_value(gettid());
    bytes buffer(large_enough);
    if (ipq_read(four, buffer.data(), buffer.size(), 0) <= 0) throw std::runtime_error(last_error(four));
    return std::string{udp_payload(message{buffer}.payload())};
  });
  wait_until_asleep(thread.get_future().get());
  handle six{ipv6, IPQ_COPY_PACKET};
  pass(six, flow6(), "six");
  flow4().send("four");
  EXPECT_EQ(read.get(), "four");
}

TEST_F(two_families, thread_that_cannot_be_started_leaves_the_first_as_it_was) {
  handle four{ipv4, IPQ_COPY_PACKET};
  flow4().send("before");
  pthread_attr_t before, huge;
  ASSERT_EQ(pthread_getattr_default_np(&before), 0);
  ASSERT_EQ(pthread_getattr_default_np(&huge), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&huge, size_t{1} << 46), 0);
  ASSERT_EQ(pthread_setattr_default_np(&huge), 0);
  ipq_handle* const refused = ipq_create_handle(0, ipv6);
  ASSERT_EQ(pthread_setattr_default_np(&before), 0);
  EXPECT_EQ(refused, nullptr);
  const message m = read_packet(four);
  EXPECT_EQ(udp_payload(m.payload()), "before");
  set_verdict(four, m.id());
  EXPECT_EQ(flow4().arrived(), "before");
  pass(four, flow4(), "four");
  // And it may be tried again.
  handle six{ipv6, IPQ_COPY_PACKET};
  pass(six, flow6(), "six");
  pass(four, flow4(), "four");
}

TEST_F(two_families, descriptor_that_does_not_block_stays_so) {
  handle four{ipv4, IPQ_COPY_PACKET};
  ASSERT_EQ(fcntl(four.fd(), F_SETFL, O_NONBLOCK), 0);
  const handle six{ipv6, IPQ_COPY_PACKET};
  EXPECT_EQ(fcntl(four.fd(), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  EXPECT_EQ(fcntl(six.fd(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(two_families, destroying_one_drops_its_packets_and_keeps_the_other) {
  for (bool first_goes : {true, false}) {
    handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_PACKET};
    handle &gone = first_goes ? four : six, &stays = first_goes ? six : four;
    const flow &dropped = first_goes ? flow4() : flow6(), &kept = first_goes ? flow6() : flow4();
    dropped.send("read");
    read_packet(gone);
    dropped.send("unread");
    kept.send("kept");
    EXPECT_EQ(gone.destroy(), 0);
    const message m = read_packet(stays);
    set_verdict(stays, m.id());
    EXPECT_EQ(kept.arrived(), "kept");
    const uint64_t counted_before = stats_of(stays).wrong_family;
    dropped.send("nobody listens");
    pass(stays, kept, "and on");
    EXPECT_EQ(stats_of(stays).wrong_family, counted_before + 1);
    EXPECT_TRUE(nothing_to_read(stays));
    wait_until("every packet to be dropped", [&] { return waiting_packets(stays, 0) == 0; });
    EXPECT_TRUE(dropped.nothing_arrived());
  }
}

TEST_F(two_families, destroying_the_first_drops_what_it_read_before_the_second_was_made) {
  for (const bool first_is_ipv4 : {true, false}) {
    const flow &dropped = first_is_ipv4 ? flow4() : flow6(), &kept = first_is_ipv4 ? flow6() : flow4();
    handle first{first_is_ipv4 ? ipv4 : ipv6, IPQ_COPY_PACKET};
    for (const char* text : {"one", "two"}) {
      dropped.send(text);
      read_packet(first);
    }
    handle second{first_is_ipv4 ? ipv6 : ipv4, IPQ_COPY_PACKET};
    for (const char* text : {"kept", "kept, too"}) kept.send(text);
    dropped.send("between");
    ASSERT_EQ(waiting_packets(second, 5), 5u);
    first.destroy();
    wait_until("every packet to be dropped", [&] { return waiting_packets(second, 2) == 2; });
    for (const char* text : {"kept", "kept, too"}) {
      set_verdict(second, read_packet(second).id());
      EXPECT_EQ(kept.arrived(), text);
    }
    EXPECT_TRUE(dropped.nothing_arrived());
  }
}

TEST_F(two_families, destroying_the_first_tells_the_second_nothing) {
  handle four{ipv4, IPQ_COPY_PACKET};
  pass(four, flow4(), "decided");
  handle six{ipv6, IPQ_COPY_PACKET};
  four.destroy();
  EXPECT_TRUE(nothing_to_read(six));
  pass(six, flow6(), "six");
  EXPECT_TRUE(nothing_to_read(six));
}

TEST_F(two_families, receive_buffer_may_be_set_on_either_descriptor) {
  handle four{ipv4}, six{ipv6};
  for (int fd : {four.fd(), six.fd()}) {
    const int wanted = 100'000;
    EXPECT_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &wanted, sizeof wanted), 0);
  }
  ASSERT_EQ(ipq_set_mode(four, IPQ_COPY_PACKET, 0), sent_mode);
  ASSERT_EQ(ipq_set_mode(six, IPQ_COPY_PACKET, 0), sent_mode);
  for (int fd : {four.fd(), six.fd()}) {
    int size = 0;
    socklen_t length = sizeof size;
    EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, &length), 0);
    EXPECT_EQ(size, 200'000);
  }
  pass(four, flow4(), "four");
  pass(six, flow6(), "six");
}

TEST_F(two_families, thousand_packets_wait_for_each) {
  handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_PACKET};
  flow4().send_numbered(500, 10);
  flow6().send_numbered(500, 10);
  for (const handle* h : {&six, &four}) {
    for (size_t number = 0; number < 500; ++number) {
      const message m = read_packet(*h);
      ASSERT_EQ(std::stoul(udp_payload(m.payload())), number);
      set_verdict(*h, m.id(), NF_DROP);
    }
    EXPECT_TRUE(nothing_to_read(*h));
  }
}

// A signal must find the program's threads, not one that the library runs.
TEST_F(two_families, threads_of_the_library_block_every_signal) {
  std::thread([] {}).join();  // where a sanitizer starts one of its own with the first
  const auto before = threads();
  handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_PACKET};
  pass(four, flow4(), "four");
  pass(six, flow6(), "six");
  const uint64_t catchable = 0x7fffffff & ~(1u << (SIGKILL - 1)) & ~(1u << (SIGSTOP - 1));
  int of_the_library = 0;
  for (pid_t thread : threads()) {
    if (std::find(before.begin(), before.end(), thread) != before.end()) continue;
    EXPECT_EQ(blocked_signals(thread) & catchable, catchable);
    ++of_the_library;
  }
  EXPECT_EQ(of_the_library, 1);
}

TEST_F(two_families, killed_process_drops_the_packets_of_both_and_frees_the_queue) {
  child owner{[&](const child::line& line) {
    handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_PACKET};
    line.say("ready");
    for (const handle* h : {&four, &six}) read_packet(*h);
    line.say("one of each read");
    line.wait_for_go();
  }};
  ASSERT_EQ(owner.hear(), "ready");
  for (const char* text : {"read", "unread"}) {
    flow4().send(text);
    flow6().send(text);
  }
  ASSERT_EQ(owner.hear(), "one of each read");
  owner.end_by(SIGKILL);
  handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_PACKET};
  pass(four, flow4(), "after the kill");
  pass(six, flow6(), "after the kill");
  EXPECT_TRUE(nothing_to_read(four) && nothing_to_read(six));
  EXPECT_TRUE(flow4().nothing_arrived() && flow6().nothing_arrived());
}

TEST_F(two_families, each_hears_why_its_mode_is_refused) {
  const auto refused = [](const child::line& line) {
    handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_META};
    for (const handle* h : {&four, &six}) {
      const message m = read_error(*h);
      line.say(std::to_string(m.error()) + " " + std::to_string(m.data[36]));  // and the mode
    }
    line.say(nothing_to_read(four) && nothing_to_read(six) ? "nothing more" : "something more");
  };
  const auto expect = [](const child& program, int error) {
    EXPECT_EQ(program.hear(), std::to_string(error) + " 2");
    EXPECT_EQ(program.hear(), std::to_string(error) + " 1");
    EXPECT_EQ(program.hear(), "nothing more");
  };
  expect(child{[&](const child::line& line) {
           drop_all_capabilities();
           refused(line);
         }},
         EPERM);
  handle owner{ipv4, IPQ_COPY_PACKET};
  expect(child{refused}, EBUSY);
  pass(owner, flow4(), "still the owner's");
}

TEST_F(two_families, every_verdict_does_what_it_does_alone) {
  handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_PACKET};
  for (auto [h, packets] : {std::pair{&four, &flow4()}, {&six, &flow6()}}) {
    for (const unsigned again : {unsigned{NF_QUEUE}, unsigned{NF_REPEAT}}) {
      packets->send("around");
      const message first = read_packet(*h);
      set_verdict(*h, first.id(), again);
      const message second = read_packet(*h);
      EXPECT_NE(second.id(), first.id());
      EXPECT_EQ(second.payload(), first.payload());
      set_verdict(*h, second.id(), NF_STOP);
      EXPECT_EQ(packets->arrived(), "around");
    }
    packets->send("stolen");
    const message m = read_packet(*h);
    set_verdict(*h, m.id(), NF_STOLEN);
    EXPECT_TRUE(packets->nothing_arrived());
    set_verdict(*h, m.id());
    EXPECT_EQ(read_error(*h).error(), ENOENT);
  }
  EXPECT_TRUE(nothing_to_read(four) && nothing_to_read(six));
}

TEST_F(two_families, short_timeouts_are_kept) {
  handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6, IPQ_COPY_PACKET};
  flow6().send("the other's");
  for (int timeout : {-1, 1, 100}) {
    bytes buffer(2048, 0xa5);
    ssize_t length = -1;
    EXPECT_EQ(errno_after([&] { length = ipq_read(four, buffer.data(), buffer.size(), timeout); }), untouched_errno);
    EXPECT_EQ(length, 0);
    EXPECT_STREQ(ipq_errstr(), "Timeout");
    EXPECT_EQ(buffer, bytes(2048, 0xa5));
  }
  set_verdict(six, read_packet(six).id());
  EXPECT_EQ(flow6().arrived(), "the other's");
}

TEST_F(two_families, each_has_its_queue_in_the_namespace_it_was_made_in) {
  const handle four{ipv4, IPQ_COPY_PACKET};
  std::optional<handle> six;
  in(far_ns(), [&] {
    must_run("ip6tables-legacy -w -A INPUT -p udp --dport 5000 -j QUEUE");
    six.emplace(ipv6, static_cast<uint8_t>(IPQ_COPY_PACKET));
  });
  must_run("ip6tables-legacy -w -F");
  flow6().send("there");
  const message m = read_packet(*six);
  EXPECT_EQ(m.packet().hook, 1u);
  set_verdict(*six, m.id());
  EXPECT_EQ(flow6().arrived(), "there");
  pass(four, flow4(), "here");
}

TEST_F(two_families, queue_numbers_may_differ) {
  must_run("ip6tables-legacy -w -F");
  flow6().rule("-A OUTPUT", "NFQUEUE --queue-num 9");
  handle four{ipv4}, six{ipv6};
  ASSERT_EQ(ipq_set_queue(six, 9), 0);
  ASSERT_EQ(ipq_set_mode(four, IPQ_COPY_PACKET, 0), sent_mode);
  ASSERT_EQ(ipq_set_mode(six, IPQ_COPY_META, 0), sent_mode);
  pass(four, flow4(), "four");
  flow6().send("six");
  const message m = read_packet(six);
  EXPECT_EQ(m.data.size(), 112u);
  set_verdict(six, m.id());
  EXPECT_EQ(flow6().arrived(), "six");
  EXPECT_FALSE(readable(four.fd()));
}

TEST_F(foreign_family, packet_is_dropped_counted_and_skipped) {
  for (auto protocol : {ipv4, ipv6}) {
    const flow &own = flow_of(protocol), &foreign = flow_of(protocol == ipv4 ? ipv6 : ipv4);
    handle h{protocol, IPQ_COPY_PACKET};
    foreign.send("foreign");
    own.send("own");
    // A blocking read goes past the foreign packet.
    bytes buffer(large_enough);
    ASSERT_GT(ipq_read(h, buffer.data(), buffer.size(), 0), 0);
    EXPECT_EQ(udp_payload(message{buffer}.payload()), "own");
    EXPECT_EQ(stats_of(h).wrong_family, 1u);
    EXPECT_EQ(stats_of(h).received, 1u);
    EXPECT_TRUE(foreign.nothing_arrived());
    set_verdict(h, ipq_get_packet(buffer.data())->packet_id);
    EXPECT_EQ(own.arrived(), "own");
  }
}

TEST_F(foreign_family, packet_is_no_reason_to_return_early) {
  handle h{ipv4, IPQ_COPY_PACKET};
  for (int timeout : {-1, 1, 20'000}) {
    flow6().send("foreign");
    bytes buffer(2048, 0xa5);
    ssize_t length = -1;
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(errno_after([&] { length = ipq_read(h, buffer.data(), buffer.size(), timeout); }), untouched_errno);
    EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::microseconds{timeout});
    EXPECT_EQ(length, 0);
    EXPECT_STREQ(ipq_errstr(), "Timeout");
    EXPECT_EQ(buffer, bytes(2048, 0xa5));
    EXPECT_FALSE(readable(h.fd()));
  }
  EXPECT_EQ(stats_of(h).wrong_family, 3u);
  EXPECT_EQ(waiting_packets(h, 0), 0u);
  EXPECT_TRUE(flow6().nothing_arrived());
}

TEST_F(foreign_family, blocked_reader_sleeps_on) {
  handle h{ipv6, IPQ_COPY_PACKET};
  auto read = std::async(std::launch::async, [&] { return udp_payload(read_packet(h).payload()); });
  for (int number = 0; number < 5; ++number) {
    flow4().send("foreign");
    EXPECT_EQ(read.wait_for(std::chrono::milliseconds{5}), std::future_status::timeout);
  }
  flow6().send("own");
  EXPECT_EQ(read.get(), "own");
  EXPECT_EQ(stats_of(h).wrong_family, 5u);
}

TEST_F(foreign_family, handle_that_never_set_a_mode_does_not_listen) {
  handle four{ipv4, IPQ_COPY_PACKET}, six{ipv6};
  flow6().send("nobody listens");
  pass(four, flow4(), "four");
  EXPECT_TRUE(nothing_to_read(four));
  EXPECT_TRUE(nothing_to_read(six));
  EXPECT_FALSE(readable(six.fd()));
  EXPECT_TRUE(flow6().nothing_arrived());
  EXPECT_EQ(stats_of(four).wrong_family, 1u);
}

TEST_F(foreign_family, program_of_the_other_family_hears_ebusy) {
  handle four{ipv4, IPQ_COPY_PACKET};
  child other{[&](const child::line& line) {
    handle six{ipv6, IPQ_COPY_PACKET};
    line.say(std::to_string(read_error(six).error()));
    six.destroy();
    // The way out: another queue number.
    setenv("LIBIPQ_QUEUE_IPV6", "3", 1);
    handle moved{ipv6, IPQ_COPY_PACKET};
    line.say("moved");
    set_verdict(moved, read_packet(moved).id());
  }};
  EXPECT_EQ(other.hear(), std::to_string(EBUSY));
  must_run("ip6tables-legacy -w -F");
  flow6().rule("-A OUTPUT", "NFQUEUE --queue-num 3");
  EXPECT_EQ(other.hear(), "moved");
  flow6().send("six");
  EXPECT_EQ(flow6().arrived(), "six");
  EXPECT_EQ(other.wait(), 0);
  pass(four, flow4(), "four");
}

// What one handle asked for ends with it, also where the other has not asked for anything yet.
TEST_F(two_families, fail_open_of_a_handle_that_is_gone_does_not_stay) {
  handle four{ipv4};
  ASSERT_EQ(ipq_set_max_length(four, 1), 0);
  {
    handle six{ipv6};
    ASSERT_EQ(ipq_set_fail_open(six, 1), 0);
    ASSERT_EQ(ipq_set_mode(six, IPQ_COPY_META, 0), sent_mode);
  }
  ASSERT_EQ(ipq_set_mode(four, IPQ_COPY_PACKET, 0), sent_mode);
  EXPECT_EQ(status_of(four).fail_open, 0u);
  for (const char* text : {"waits", "lost"}) flow4().send(text);
  EXPECT_TRUE(flow4().nothing_arrived());
  set_verdict(four, read_packet(four).id());
  EXPECT_EQ(flow4().arrived(), "waits");
  EXPECT_TRUE(flow4().nothing_arrived());
}

// The queue is one, so both have what either asked for, and no longer than it is there.
TEST_F(two_families, limits_are_those_of_handles_with_a_mode) {
  const auto expect_limits = [](const ipq_handle* h, uint32_t max_length, uint32_t fail_open) {
    EXPECT_EQ(status_of(h).max_length, max_length);
    EXPECT_EQ(status_of(h).fail_open, fail_open);
  };
  handle four{ipv4};
  ASSERT_EQ(ipq_set_max_length(four, 3), 0);
  auto six = std::make_unique<handle>(ipv6);
  ASSERT_EQ(ipq_set_max_length(*six, 10), 0);
  ASSERT_EQ(ipq_set_fail_open(*six, 1), 0);
  expect_limits(four, 3, 0);
  expect_limits(*six, 10, 1);
  const auto buffer = status_of(*six).receive_buffer;
  ASSERT_EQ(ipq_set_mode(four, IPQ_COPY_PACKET, 0), sent_mode);
  expect_limits(four, 3, 0);
  expect_limits(*six, 3, 0);
  ASSERT_EQ(ipq_set_mode(*six, IPQ_COPY_META, 0), sent_mode);
  expect_limits(four, 10, 1);
  expect_limits(*six, 10, 1);
  EXPECT_EQ(status_of(four).receive_buffer, buffer);

  six.reset();
  expect_limits(four, 3, 0);
  for (const char* text : {"1", "2", "3", "lost"}) flow4().send(text);
  for (const char* text : {"1", "2", "3"}) {
    const message m = read_packet(four);
    EXPECT_EQ(udp_payload(m.payload()), text);
    set_verdict(four, m.id());
    EXPECT_EQ(flow4().arrived(), text);
  }
  EXPECT_TRUE(flow4().nothing_arrived());
}

}  // namespace
}  // namespace kernel_tests
