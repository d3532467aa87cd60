// SPDX-License-Identifier: MIT
// IPQ_CREATE_BATCH: reading ahead and sending verdicts together, without a program's noticing.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "child.hpp"
#include "flow.hpp"
#include "packet_bytes.hpp"
#include "process.hpp"

namespace kernel_tests {
namespace {

struct destroyer {
  void operator()(ipq_handle* h) const { ipq_destroy_handle(h); }
};

class batch : public flow_test {
 protected:
  using owned_handle = std::unique_ptr<ipq_handle, destroyer>;

  static owned_handle listen(uint32_t protocol = ipv4) {
    owned_handle h{ipq_create_handle(IPQ_CREATE_BATCH, protocol)};
    if (!h) throw std::runtime_error(last_error());
    EXPECT_EQ(ipq_set_mode(h.get(), IPQ_COPY_PACKET, 0), sent_mode) << last_error(h.get());
    return h;
  }
  void send(size_t count) const {
    for (size_t i = 0; i < count; ++i) flow4().send(std::to_string(i));
  }
};

// Standard error takes nothing, so a handle that debugs stays in the midst of reading a packet, until it is let go.
class stuck_reader {
 public:
  explicit stuck_reader(ipq_handle* h) {
    if (pipe2(ends_, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    fcntl(ends_[1], F_SETFL, O_NONBLOCK);
    const std::string much(4096, '\n');
    while (write(ends_[1], much.data(), much.size()) > 0 || write(ends_[1], much.data(), 1) > 0) {
    }
    fcntl(ends_[1], F_SETFL, 0);
    fflush(stderr);
    dup2(ends_[1], 2);
    ipq_set_debug(h, 1);
    std::promise<pid_t> thread;
    reader_ = std::async(std::launch::async, [h, &thread] {
      thread.set_value(gettid());
      return read_packet(h).id();
    });
    wait_until_asleep(thread.get_future().get());
    ipq_set_debug(h, 0);
  }
  ~stuck_reader() {
    if (reader_.valid()) let_go();
    for (int fd : {ends_[0], ends_[1], kept_}) close(fd);
  }
  // Returns what it has read.
  ipq_id_t let_go() {
    dup2(kept_, 2);
    char some[8192];
    if (read(ends_[0], some, sizeof some) < 0) return 0;
    return reader_.get();
  }

 private:
  int ends_[2], kept_ = fcntl(2, F_DUPFD_CLOEXEC, 3);
  std::future<ipq_id_t> reader_;
};

TEST_F(batch, descriptor_is_readable_as_long_as_a_packet_waits_and_no_longer) {
  flow4().rule();
  const auto h = listen();
  for (const size_t count : {1uz, 2uz, 3uz, 63uz, 64uz, 65uz, 130uz}) {
    send(count);
    for (size_t i = 0; i < count; ++i) {
      ASSERT_TRUE(readable(h->fd)) << i << " of " << count;
      const message m = read_packet(h.get());
      set_verdict(h.get(), m.id(), NF_ACCEPT);
    }
    EXPECT_FALSE(readable(h->fd)) << count;
    EXPECT_TRUE(nothing_to_read(h.get()));
    for (size_t i = 0; i < count; ++i) EXPECT_EQ(flow4().arrived(), std::to_string(i));
  }
}

// The kernel answers once for all that came in one system call.
TEST_F(batch, lost_right_is_told_for_every_verdict) {
  flow4().rule();
  child program{[&](const child::line& line) {
    const auto h = listen();
    line.say("ready");
    line.wait_for_go();
    for (int i = 0; i < 4; ++i) set_verdict(h.get(), read_packet(h.get()).id(), i % 2 == 0 ? NF_ACCEPT : NF_DROP);
    drop_all_capabilities();
    const auto last = read_packet(h.get()).id();  // which sends the verdicts
    std::string errors;
    for (int i = 0; i < 4; ++i) errors += std::to_string(read_error(h.get()).error()) + " ";
    set_verdict(h.get(), last, NF_ACCEPT);
    errors += std::to_string(read_error(h.get()).error());
    line.say(errors);
    line.say(nothing_to_read(h.get()) ? "nothing" : "something");
    const auto s = stats_of(h.get());
    line.say(std::to_string(s.accepted) + " " + std::to_string(s.dropped) + " " + std::to_string(s.refused));
  }};
  EXPECT_EQ(program.hear(), "ready");
  send(5);
  program.go();
  EXPECT_EQ(program.hear(), "1 1 1 1 1");
  EXPECT_EQ(program.hear(), "nothing");
  EXPECT_EQ(program.hear(), "0 0 5");
}

TEST_F(batch, no_verdict_waits_once_the_last_packet_is_read) {
  flow4().rule();
  const auto h = listen();
  send(10);
  for (size_t i = 0; i < 9; ++i) set_verdict(h.get(), read_packet(h.get()).id(), NF_ACCEPT);
  const message last = read_packet(h.get());
  for (size_t i = 0; i < 9; ++i) EXPECT_EQ(flow4().arrived(), std::to_string(i));
  EXPECT_TRUE(flow4().nothing_arrived());
  set_verdict(h.get(), last.id(), NF_ACCEPT);
  EXPECT_EQ(flow4().arrived(), "9");
}

TEST_F(batch, packets_of_another_family_hold_no_verdict_back) {
  flow4().rule();
  flow6().rule();
  const auto h = listen();
  for (int round = 0; round < 3; ++round) {
    flow4().send("mine");
    flow6().send("nobody's");
    set_verdict(h.get(), read_packet(h.get()).id(), NF_ACCEPT);
    // It has read everything that is for it, and waits.
    std::thread reader([&] { EXPECT_EQ(udp_payload(read_packet(h.get()).payload()), "next"); });
    EXPECT_EQ(flow4().arrived(), "mine");
    flow4().send("next");
    reader.join();
    EXPECT_TRUE(flow6().nothing_arrived());
  }
}

TEST_F(batch, cancelled_readers_lose_no_packet) {
  flow4().rule();
  const auto h = listen();
  struct reader {
    const ipq_handle* h;
    size_t read = 0;
    unsigned char buffer[2048] = {};
  } mine{h.get()};
  size_t read = 0;
  for (size_t round = 0; round < 50; ++round) {
    send(4);
    pthread_t thread;
    ASSERT_EQ(pthread_create(
                  &thread, nullptr,
                  [](void* data) -> void* {
                    auto& by = *static_cast<reader*>(data);
                    while (ipq_read(by.h, by.buffer, sizeof by.buffer, 0) > 0) {
                      ++by.read;
                      ipq_set_verdict(by.h, ipq_get_packet(by.buffer)->packet_id, NF_DROP, 0, nullptr);
                    }
                    return nullptr;
                  },
                  &mine),
              0);
    ASSERT_EQ(pthread_cancel(thread), 0);
    void* result = nullptr;
    ASSERT_EQ(pthread_join(thread, &result), 0);
    EXPECT_EQ(result, PTHREAD_CANCELED);
  }
  while (readable(h->fd)) {
    set_verdict(h.get(), read_packet(h.get()).id(), NF_DROP);
    ++read;
  }
  EXPECT_EQ(mine.read + read, 200u);
  EXPECT_EQ(waiting_packets(h.get(), 0), 0u);
}

TEST_F(batch, verdicts_wait_while_packets_do_and_go_together) {
  flow4().rule();
  const auto h = listen();
  send(10);
  for (size_t i = 0; i < 5; ++i) set_verdict(h.get(), read_packet(h.get()).id(), NF_ACCEPT);
  EXPECT_TRUE(flow4().nothing_arrived());
  EXPECT_EQ(waiting_packets(h.get(), 10), 10u);
}

TEST_F(batch, destroying_the_handle_sends_what_waits) {
  flow4().rule();
  auto h = listen();
  send(10);
  for (size_t i = 0; i < 5; ++i) set_verdict(h.get(), read_packet(h.get()).id(), NF_ACCEPT);
  h.reset();
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(flow4().arrived(), std::to_string(i));
  EXPECT_TRUE(flow4().nothing_arrived());
}

TEST_F(batch, packets_keep_their_order_around_one_that_is_changed_or_marked) {
  flow4().rule();
  const auto h = listen();
  send(6);
  for (size_t i = 0; i < 6; ++i) {
    const message m = read_packet(h.get());
    if (i == 2) {
      set_verdict(h.get(), m.id(), NF_ACCEPT, m.payload());
    } else if (i == 4) {
      EXPECT_EQ(ipq_set_vwmark(h.get(), m.id(), NF_ACCEPT, 7, 0, nullptr), sent_verdict);
    } else {
      set_verdict(h.get(), m.id(), i == 1 ? NF_DROP : NF_ACCEPT);
    }
  }
  for (const char* expected : {"0", "2", "3", "4", "5"}) EXPECT_EQ(flow4().arrived(), expected);
  EXPECT_TRUE(flow4().nothing_arrived());
}

TEST_F(batch, refusal_names_its_packet) {
  flow4().rule();
  const auto h = listen();
  send(5);
  std::vector<ipq_id_t> ids;
  for (size_t i = 0; i < 5; ++i) {
    ids.push_back(read_packet(h.get()).id());
    set_verdict(h.get(), ids.back(), NF_ACCEPT);
    if (i == 2) set_verdict(h.get(), ids[1], NF_DROP);
  }
  const message refused = read_error(h.get());
  EXPECT_EQ(refused.error(), ENOENT);
  EXPECT_NE(std::string(ipq_handle_errstr(h.get())).find("packet " + std::to_string(ids[1])), std::string::npos)
      << ipq_handle_errstr(h.get());
  EXPECT_TRUE(nothing_to_read(h.get()));
  const ipq_stats counted = stats_of(h.get());
  EXPECT_EQ(counted.accepted, 5u);
  EXPECT_EQ(counted.dropped, 0u);
  EXPECT_EQ(counted.refused, 1u);
}

TEST_F(batch, second_family_ends_it_without_losing_what_was_read_ahead) {
  flow4().rule();
  flow6().rule();
  const auto four = listen();
  send(10);
  set_verdict(four.get(), read_packet(four.get()).id(), NF_ACCEPT);
  const auto six = listen(ipv6);
  flow6().send("six");
  for (size_t i = 1; i < 10; ++i) set_verdict(four.get(), read_packet(four.get()).id(), NF_ACCEPT);
  send(3);
  for (size_t i = 0; i < 3; ++i) set_verdict(four.get(), read_packet(four.get()).id(), NF_ACCEPT);
  set_verdict(six.get(), read_packet(six.get()).id(), NF_ACCEPT);
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(flow4().arrived(), std::to_string(i));
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(flow4().arrived(), std::to_string(i));
  EXPECT_EQ(flow6().arrived(), "six");
  EXPECT_TRUE(nothing_to_read(four.get()));
}

TEST_F(batch, second_family_finds_what_a_reader_has_yet_to_read) {
  flow4().rule();
  const auto four = listen();
  send(4);
  stuck_reader first(four.get());
  const auto six = listen(ipv6);
  set_verdict(four.get(), first.let_go(), NF_ACCEPT);
  for (size_t i = 1; i < 4; ++i) {
    ASSERT_TRUE(readable(four->fd, 10'000)) << i;
    set_verdict(four.get(), read_packet(four.get()).id(), NF_ACCEPT);
  }
  EXPECT_FALSE(readable(four->fd));
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(flow4().arrived(), std::to_string(i));
}

// What makes the descriptor readable while packets wait in the program can be read away by another thread.
TEST_F(batch, descriptor_stays_readable_whoever_reads_what_made_it_so) {
  flow4().rule();
  const auto h = listen();
  for (const size_t count : {3uz, 65uz}) {
    send(count);
    size_t left = count;
    const auto read_one = [&] {
      set_verdict(h.get(), read_packet(h.get()).id(), NF_DROP);
      --left;
    };
    read_one();  // the rest waits in the program, and in the socket an acknowledgement, or what did not fit
    stuck_reader one(h.get());
    if (count == 3) {
      EXPECT_TRUE(nothing_to_read(h.get())) << "another thread has it";
    } else {
      read_one();
    }
    set_verdict(h.get(), one.let_go(), NF_DROP);
    --left;
    while (left > 0) {
      ASSERT_TRUE(readable(h->fd)) << left << " of " << count;
      read_one();
    }
    EXPECT_FALSE(readable(h->fd)) << count;
  }
}

TEST_F(batch, child_of_a_fork_leaves_its_parents_packets_alone) {
  flow4().rule();
  const auto h = listen();
  send(10);
  for (size_t i = 0; i < 4; ++i) set_verdict(h.get(), read_packet(h.get()).id(), NF_ACCEPT);
  const child other([&](const child::line& parent) {
    ipq_destroy_handle(h.get());
    parent.say("destroyed");
    parent.wait_for_go();
  });
  EXPECT_EQ(other.hear(), "destroyed");
  EXPECT_TRUE(flow4().nothing_arrived());
  for (size_t i = 4; i < 10; ++i) set_verdict(h.get(), read_packet(h.get()).id(), NF_ACCEPT);
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(flow4().arrived(), std::to_string(i));
  EXPECT_TRUE(nothing_to_read(h.get()));
  EXPECT_EQ(stats_of(h.get()).refused, 0u);
  other.go();
}

TEST_F(batch, several_threads_lose_nothing) {
  flow4().rule();
  const auto h = listen();
  constexpr size_t packets = 400;  // as many as any receive buffer holds, an ordinary user's too
  flow4().send_numbered(packets, 8);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      bytes buffer(large_enough);
      while (ipq_read(h.get(), buffer.data(), buffer.size(), 200'000) > 0) {
        set_verdict(h.get(), ipq_get_packet(buffer.data())->packet_id, NF_ACCEPT);
      }
    });
  }
  for (auto& each : threads) each.join();
  EXPECT_EQ(waiting_packets(h.get(), 0), 0u);
  const ipq_stats counted = stats_of(h.get());
  EXPECT_EQ(counted.received, packets);
  EXPECT_EQ(counted.accepted, packets);
  EXPECT_EQ(counted.refused, 0u);
}

}  // namespace
}  // namespace kernel_tests
