// SPDX-License-Identifier: MIT
// libipq on a capture: what ip_queue promised, without a kernel. The programs' own functions are called.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <libipq/libipq.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "data/recorded.hpp"
#include "ipq/capture.hpp"
#include "unit/program_on_capture.hpp"

namespace ipq::compat {
namespace {

class capture_handle_test : public program_on_capture {};

TEST_F(capture_handle_test, program_sees_the_packets_of_its_family_and_the_end) {
  auto h = listen();
  for (const auto& [size, filling] : {std::pair{10, 'a'}, {20, 'b'}, {30, 'c'}}) {
    EXPECT_TRUE(is_readable(h));
    const std::string expected = udp4(static_cast<std::size_t>(size), filling);
    EXPECT_EQ(read(h), static_cast<ssize_t>(112 + (expected.size() + 3) / 4 * 4));
    EXPECT_EQ(ipq_message_type(buffer.data()), IPQM_PACKET);
    EXPECT_EQ(payload_read(), expected);
    EXPECT_EQ(packet_read().hook, 2U);
    EXPECT_EQ(packet_read().timestamp_usec, 7);
    EXPECT_EQ(packet_read().hw_protocol, htons(0x0800));
    EXPECT_EQ(decide(h, accept), 40);
  }
  expect_end(h);
  const auto counted = stats(h);
  EXPECT_EQ(counted.received, 3U);
  EXPECT_EQ(counted.accepted, 3U);
  EXPECT_EQ(counted.wrong_family, 1U);
}

TEST_F(capture_handle_test, what_passes_is_written_in_the_order_of_the_verdicts) {
  auto h = listen(out);
  std::vector<ipq_id_t> ids;
  for (int i = 0; i < 3; ++i) {
    ASSERT_GT(read(h), 0);
    ids.push_back(packet_read().packet_id);
  }
  EXPECT_EQ(ipq_set_verdict(h.get(), ids[2], accept, 0, nullptr), 40);
  EXPECT_EQ(ipq_set_verdict(h.get(), ids[1], drop, 0, nullptr), 40);
  EXPECT_EQ(ipq_set_verdict(h.get(), ids[0], stop, 0, nullptr), 40);
  // Before the handle is destroyed, as a program that is killed leaves it.
  EXPECT_EQ(passed(), (std::vector{udp4(30, 'c'), udp4(10, 'a')}));
  EXPECT_EQ(stats(h).dropped, 1U);
  EXPECT_EQ(stats(h).other_verdicts, 1U);
}

TEST_F(capture_handle_test, replacement_grows_shrinks_and_is_ignored_below_a_header) {
  auto h = listen(out);
  ASSERT_GT(read(h), 0);
  EXPECT_EQ(decide(h, accept, udp4(200, 'n')), 40 + 228);
  ASSERT_GT(read(h), 0);
  EXPECT_EQ(decide(h, accept, udp4(0)), 40 + 28);
  ASSERT_GT(read(h), 0);
  EXPECT_EQ(decide(h, accept, std::string(19, 'z')), 40 + 19);
  EXPECT_EQ(passed(), (std::vector{udp4(200, 'n'), udp4(0), udp4(30, 'c')}));
}

TEST_F(capture_handle_test, replacement_that_no_message_carries_drops_the_packet) {
  auto h = listen(out);
  ASSERT_GT(read(h), 0);
  EXPECT_EQ(decide(h, accept, std::string(65532, 'E')), 40 + 65532);
  EXPECT_EQ(passed(), std::vector<std::string>{});
  EXPECT_EQ(stats(h).dropped, 1U);
}

TEST_F(capture_handle_test, range_cuts_the_copy_and_what_is_returned_of_it_the_packet) {
  auto h = listen(out, ipv4, 24);
  ASSERT_EQ(read(h), 112 + 24);
  EXPECT_EQ(packet_read().data_len, 24U);
  EXPECT_EQ(decide(h, accept), 40);
  ASSERT_GT(read(h), 0);
  EXPECT_EQ(decide(h, accept, payload_read()), 40 + 24);
  EXPECT_EQ(passed(), (std::vector{udp4(10, 'a'), udp4(20, 'b').substr(0, 24)}));
}

TEST_F(capture_handle_test, packet_that_the_capture_cut_is_passed_but_not_changed) {
  const std::string whole = udp4(100, 'w'), cut = whole.substr(0, 40);
  capture_path = folder.write("in.pcap", capture_bytes().pcap(raw_ip).frame(cut, 1, 0, 128).frame(cut, 2, 0, 128).data);
  auto h = listen(out);
  ASSERT_GT(read(h), 0);
  EXPECT_EQ(payload_read(), cut);
  EXPECT_EQ(decide(h, accept, cut), 40 + 40);
  ASSERT_GT(read(h), 0);
  std::string changed = cut;
  changed.back() = 'X';
  EXPECT_EQ(decide(h, accept, changed), 40 + 40);
  EXPECT_EQ(passed(), std::vector{cut});
}

TEST_F(capture_handle_test, meta_mode_has_no_payload) {
  auto h = listen();
  ASSERT_GT(read(h), 0);
  EXPECT_EQ(ipq_set_mode(h.get(), IPQ_COPY_META, 500), 56);
  ASSERT_GT(read(h), 112);  // had arrived before
  EXPECT_EQ(read(h), 112);
  EXPECT_EQ(packet_read().data_len, 0U);
}

TEST_F(capture_handle_test, mode_none_lets_the_rest_go_by) {
  auto h = listen();
  EXPECT_EQ(ipq_set_mode(h.get(), IPQ_COPY_NONE, 0), 56);
  ASSERT_GT(read(h), 0);  // had arrived before
  EXPECT_EQ(decide(h, accept), 40);
  EXPECT_EQ(read(h), -1);
  EXPECT_STREQ(ipq_errstr(), "Received EOF on netlink socket");
}

TEST_F(capture_handle_test, refusals_are_messages) {
  auto h = listen();
  ASSERT_GT(read(h), 0);
  EXPECT_EQ(decide(h, accept), 40);
  const ipq_id_t id = packet_read().packet_id;
  EXPECT_EQ(ipq_set_verdict(h.get(), id, accept, 0, nullptr), 40);
  ASSERT_GT(read(h), 0);  // the next packet, which came first
  EXPECT_EQ(error_read(), 0);
  EXPECT_EQ(read(h), 60);
  EXPECT_EQ(error_read(), ENOENT);
  EXPECT_EQ(ipq_handle_errno(h.get()), IPQ_ERR_NLRECV);
  EXPECT_EQ(ipq_set_verdict(h.get(), id, 6, 0, nullptr), 40);
  EXPECT_EQ(ipq_set_mode(h.get(), 3, 0), 56);
  std::vector<int> errors;
  while (read(h) > 0) {
    if (error_read() != 0) errors.push_back(error_read());
  }
  EXPECT_EQ(errors, (std::vector{EINVAL, EINVAL}));
  EXPECT_EQ(stats(h).refused, 2U);
  EXPECT_EQ(stats(h).accepted, 1U);
}

TEST_F(capture_handle_test, refusal_of_the_last_packet_comes_before_the_end) {
  capture_path = capture({udp4(1)});
  auto h = listen();
  ASSERT_GT(read(h), 0);
  EXPECT_EQ(decide(h, accept), 40);
  EXPECT_EQ(decide(h, accept), 40);
  EXPECT_EQ(read(h), 60);
  EXPECT_EQ(error_read(), ENOENT);
  expect_end(h);
}

TEST_F(capture_handle_test, stolen_is_no_error) {
  auto h = listen(out);
  ASSERT_GT(read(h), 0);
  EXPECT_EQ(decide(h, stolen), 40);
  ASSERT_GT(read(h), 0);
  EXPECT_EQ(error_read(), 0);
  EXPECT_EQ(passed(), std::vector<std::string>{});
}

TEST_F(capture_handle_test, queue_and_repeat_bring_the_packet_back_as_it_is_now) {
  for (const unsigned again : {queue, repeat}) {
    capture_path = capture({udp4(10, 'a')});
    auto h = listen(out);
    ASSERT_GT(read(h), 0);
    const ipq_id_t first = packet_read().packet_id;
    std::string changed = udp4(12, 'A');
    EXPECT_EQ(
        ipq_set_vwmark(h.get(), first, again, 0x55, changed.size(), reinterpret_cast<unsigned char*>(changed.data())),
        40 + 40);
    ASSERT_GT(read(h), 0);
    EXPECT_NE(packet_read().packet_id, first);
    EXPECT_EQ(packet_read().mark, 0x55U);
    EXPECT_EQ(payload_read(), changed);
    EXPECT_EQ(decide(h, accept), 40);
    expect_end(h);
    EXPECT_EQ(passed(), std::vector{changed});
  }
}

TEST_F(capture_handle_test, queue_and_repeat_drop_the_packet_in_mode_none) {
  for (const unsigned again : {queue, repeat}) {
    capture_path = capture({udp4(10, 'a')});
    auto h = listen(out);
    ASSERT_GT(read(h), 0);
    ASSERT_EQ(ipq_set_mode(h.get(), IPQ_COPY_NONE, 0), 56);
    EXPECT_EQ(decide(h, again), 40);
    expect_end(h);
    EXPECT_EQ(passed(), std::vector<std::string>{});
  }
}

TEST_F(capture_handle_test, both_families_read_the_same_capture) {
  auto four = listen(out);
  auto six = listen(out, ipv6);
  ASSERT_GT(read(six), 0);  // behind two of IPv4, which have arrived with it
  EXPECT_EQ(payload_read(), udp6(5));
  EXPECT_EQ(decide(six, accept), 40);
  const ipq_id_t foreign = packet_read().packet_id;
  EXPECT_EQ(ipq_set_verdict(four.get(), foreign, accept, 0, nullptr), 40);
  for (const auto& expected : {udp4(10, 'a'), udp4(20, 'b'), udp4(30, 'c')}) {
    ASSERT_GT(read(four), 0);
    EXPECT_EQ(payload_read(), expected);
    EXPECT_EQ(decide(four, accept), 40);
  }
  EXPECT_EQ(read(four), 60);
  EXPECT_EQ(error_read(), ENOENT) << "a packet of the other's";
  expect_end(four);
  expect_end(six);
  EXPECT_EQ(stats(four).wrong_family + stats(six).wrong_family, 0U);
}

TEST_F(capture_handle_test, then_wait_lets_the_reader_wait_at_the_end) {
  auto h = listen(",then=wait");
  for (int i = 0; i < 3; ++i) ASSERT_GT(read(h), 0);
  EXPECT_FALSE(is_readable(h));
  errno = 77;
  EXPECT_EQ(read(h, -1), 0);
  EXPECT_EQ(read(h, 1000), 0);
  EXPECT_EQ(errno, 77);
  EXPECT_STREQ(ipq_errstr(), "Timeout");
}

/// A capture that comes through a pipe, packet by packet.
class capture_pipe_test : public capture_handle_test {
 protected:
  void SetUp() override {
    capture_handle_test::SetUp();
    ASSERT_EQ(::pipe(ends_), 0);
    capture_bytes head;
    head.pcap(raw_ip);
    put(head.data);
    capture_path = "/proc/self/fd/" + std::to_string(ends_[0]);
  }
  void TearDown() override {
    for (int end : ends_) ::close(end);
  }

  void put(const std::string& bytes) {
    ASSERT_EQ(::write(ends_[1], bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  void put_packet(char fill) {
    capture_bytes made;
    made.frame(udp4(10, fill), 100, 7);
    put(made.data);
  }
  void end() { ::close(std::exchange(ends_[1], -1)); }

  int ends_[2] = {-1, -1};
};

TEST_F(capture_pipe_test, packet_comes_when_it_is_there_and_not_with_the_next) {
  auto h = listen();
  for (const char fill : {'a', 'b'}) {
    put_packet(fill);
    ASSERT_GT(read(h), 0);
    EXPECT_EQ(payload_read().back(), fill);
    EXPECT_EQ(decide(h, accept), 40);
    errno = 77;
    for (const int timeout : {-1, 1, 20'000}) {
      EXPECT_EQ(read(h, timeout), 0);
      EXPECT_STREQ(ipq_errstr(), "Timeout");
    }
    EXPECT_EQ(errno, 77);
    EXPECT_TRUE(is_readable(h)) << "only reading tells";
  }
  end();
  expect_end(h);
}

TEST_F(capture_pipe_test, reader_that_waits_keeps_nobody_from_anything) {
  put_packet('a');
  auto h = listen();
  ASSERT_GT(read(h), 0);
  std::thread reader([&] {
    std::array<unsigned char, 1000> mine;
    EXPECT_GT(ipq_read(h.get(), mine.data(), mine.size(), 0), 0);
    EXPECT_EQ(ipq_message_type(mine.data()), NLMSG_ERROR);
    EXPECT_GT(ipq_read(h.get(), mine.data(), mine.size(), 0), 0);
    EXPECT_EQ(ipq_message_type(mine.data()), IPQM_PACKET);
  });
  EXPECT_EQ(decide(h, accept), 40);
  EXPECT_EQ(decide(h, accept), 40);  // no such packet
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  put_packet('b');
  reader.join();
}

TEST_F(capture_pipe_test, cancelled_reader_leaves_the_next_packet) {
  auto h = listen();
  std::thread reader([&] {
    std::array<unsigned char, 1000> mine;
    while (ipq_read(h.get(), mine.data(), mine.size(), 0) >= 0) {
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ASSERT_EQ(::pthread_cancel(reader.native_handle()), 0);
  reader.join();
  EXPECT_TRUE(is_readable(h));
  put_packet('a');
  ASSERT_GT(read(h), 0);
  end();
  expect_end(h);
}

TEST_F(capture_pipe_test, signal_ends_a_wait) {
  auto h = listen();
  struct sigaction caught {};
  struct sigaction before {};
  caught.sa_handler = [](int) {};
  ASSERT_EQ(::sigaction(SIGUSR1, &caught, &before), 0);
  std::atomic<bool> done = false;
  std::thread reader([&] {
    errno = 77;
    EXPECT_EQ(read(h), -1);
    EXPECT_EQ(errno, EINTR);
    EXPECT_EQ(read(h, 60'000'000), 0);
    EXPECT_EQ(errno, EINTR);
    done = true;
  });
  while (!done) {
    ::pthread_kill(reader.native_handle(), SIGUSR1);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  reader.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(capture_pipe_test, both_families_wait_for_the_same) {
  auto four = listen();
  auto six = create(ipv6);
  ASSERT_EQ(ipq_set_mode(six.get(), IPQ_COPY_PACKET, 0), 56);
  std::thread reader([&] {
    std::array<unsigned char, 1000> mine;
    EXPECT_GT(ipq_read(six.get(), mine.data(), mine.size(), 0), 0);
  });
  put_packet('a');
  ASSERT_GT(read(four), 0);
  capture_bytes made;
  made.frame(udp6(5), 101, 7);
  put(made.data);
  reader.join();
  end();
  expect_end(six);
  expect_end(four);
}

TEST_F(capture_handle_test, hook_and_interfaces_are_those_of_the_capture) {
  capture_path = folder.write(
      "in.pcapng", capture_bytes().section().interface(1, "eth7").packet(test::ethernet(0x0800) + udp4(1), 0, 5).data);
  for (const auto& [hook, in, out_name] : {std::tuple{"0", "eth7", ""}, {"1", "eth7", ""}, {"3", "", "eth7"}}) {
    auto h = listen(std::string(",hook=") + hook);
    ASSERT_GT(read(h), 0);
    EXPECT_EQ(packet_read().hook, static_cast<unsigned>(hook[0] - '0'));
    EXPECT_STREQ(packet_read().indev_name, in);
    EXPECT_STREQ(packet_read().outdev_name, out_name);
    if (*in != '\0') {
      EXPECT_EQ(packet_read().hw_type, 1);
      EXPECT_EQ(packet_read().hw_addrlen, 6);
      EXPECT_EQ(packet_read().hw_addr[0], 2);
    }
  }
}

TEST_F(capture_handle_test, packets_that_a_bridge_recorded_are_of_their_ip_version) {
  capture_bytes made;
  const auto note = [&](int id) {
    return made.option(1, "verdict drop, id " + std::to_string(id) + ", queue 0, hook forward, family 7") +
           made.option(0, "");
  };
  made.section().interface(raw_ip);
  made.packet("no IP", 0, 1, 0, note(0)).packet("E", 0, 1, 0, note(0)).packet("", 0, 1, 0, note(0));
  made.packet(udp4(1), 0, 1, 0, note(1)).packet(udp6(5), 0, 2, 0, note(2));
  capture_path = folder.write("in.pcapng", made.data);
  auto four = listen(out);
  auto six = listen(out, ipv6);
  for (const auto& [h, expected] : {std::pair{&four, udp4(1)}, {&six, udp6(5)}}) {
    ASSERT_GT(read(*h), 0);
    EXPECT_EQ(payload_read(), expected);
    EXPECT_EQ(decide(*h, accept), 40);
  }
  EXPECT_EQ(passed(), (std::vector{udp4(1), udp6(5)}));
}

TEST_F(capture_handle_test, what_a_recording_dropped_is_passed_once_when_it_is_accepted) {
  capture_bytes made;
  made.section().interface(raw_ip);
  made.packet(udp4(1), 0, 1, 0, made.option(1, "verdict accept, changed, id 4, queue 0, hook forward"));
  made.packet(udp4(2), 0, 1, 0, made.option(1, "replaced by the verdict, id 4"));
  capture_path = folder.write("in.pcapng", made.data);
  auto h = listen(out);
  ASSERT_GT(read(h), 0);
  EXPECT_EQ(payload_read(), udp4(1));
  EXPECT_EQ(decide(h, accept), 40);
  expect_end(h);
  EXPECT_EQ(passed(), std::vector{udp4(1)});
}

TEST_F(capture_handle_test, damage_is_told_before_a_handle_waits_for_ever) {
  std::string damaged = capture_bytes().pcap(raw_ip).frame(udp4(10, 'a'), 1).frame(udp4(10, 'b'), 2).data;
  damaged.resize(damaged.size() - 3);
  capture_path = folder.write("in.pcap", damaged);
  auto h = listen(",then=wait");
  ASSERT_GT(read(h), 0);
  EXPECT_EQ(decide(h, accept), 40);
  EXPECT_EQ(read(h), -1);
  EXPECT_EQ(errno, EBADMSG);
}

TEST_F(capture_handle_test, damage_is_told_to_both_handles) {
  std::string damaged = capture_bytes().pcap(raw_ip).frame(udp4(10), 1).frame(udp6(10), 2).data;
  for (const char* const then : {"", ",then=wait"}) {
    capture_path = folder.write("in.pcap", damaged + "cut");
    auto four = listen(then), six = listen(then, ipv6);
    for (const auto* h : {&four, &six}) {
      ASSERT_GT(read(*h), 0);
      EXPECT_EQ(decide(*h, accept), 40);
    }
    for (const auto* h : {&four, &six}) {
      EXPECT_TRUE(is_readable(*h));
      EXPECT_EQ(read(*h), -1);
      EXPECT_EQ(errno, EBADMSG);
      if (*then == '\0') {
        expect_end(*h);
      } else {
        EXPECT_FALSE(is_readable(*h));
      }
    }
  }
}

TEST_F(capture_handle_test, bare_headers_and_the_longest_packet_arrive_whole) {
  const std::string longest = udp4(65'535 - 28, 'l');
  capture_path = capture({udp4(0), longest});
  auto h = listen(out);
  for (const auto& expected : {udp4(0), longest}) {
    ASSERT_GT(read(h), 0);
    EXPECT_EQ(packet_read().data_len, expected.size());
    EXPECT_EQ(payload_read(), expected);
    EXPECT_EQ(decide(h, accept), 40);
  }
  EXPECT_EQ(passed(), (std::vector{udp4(0), longest}));
}

TEST_F(capture_handle_test, packet_of_over_64_kib_is_shown_in_part_and_passes_whole) {
  const std::string jumbogram = "\x60" + std::string(6, '\0') + "\x40" + std::string(100'000, 'j');
  capture_path = capture({jumbogram, jumbogram});
  auto six = listen(out, ipv6);
  ASSERT_GT(read(six), 0);
  EXPECT_LE(packet_read().data_len, 65'535U);
  EXPECT_EQ(payload_read(), jumbogram.substr(0, packet_read().data_len));
  EXPECT_EQ(decide(six, accept), 40);
  ASSERT_GT(read(six), 0);
  EXPECT_EQ(decide(six, drop), 40);
  expect_end(six);
  EXPECT_EQ(passed(), std::vector{jumbogram});
}

TEST_F(capture_handle_test, reads_ipv6_of_a_real_capture) {
  capture_path = test_data::capture("interfaces.pcapng");
  std::uint64_t packets = 0;
  auto whole = capture_reader::open(capture_path);
  ASSERT_TRUE(whole);
  ASSERT_TRUE(serve(*whole, [&](const packet& each) {
    packets += each.family == ipv6;
    return verdict::accept();
  }));
  ASSERT_GT(packets, 10U);
  auto six = listen(out, ipv6);
  std::uint64_t seen = 0;
  while (read(six) > 0) {
    ++seen;
    EXPECT_EQ(buffer[sizeof(nlmsghdr) + sizeof(ipq_packet_msg_t)] >> 4, 6);
    EXPECT_STRNE(packet_read().indev_name, "");
    EXPECT_EQ(decide(six, accept), 40);
  }
  EXPECT_EQ(seen, packets);
  EXPECT_EQ(passed().size(), packets);
}

TEST_F(capture_handle_test, damage_is_told_with_its_place_behind_all_that_was_whole) {
  std::string damaged = capture_bytes().pcap(raw_ip).frame(udp4(10, 'a'), 1).frame(udp4(10, 'b'), 2).data;
  damaged.resize(damaged.size() - 3);
  capture_path = folder.write("in.pcap", damaged);
  auto h = listen(out);
  ASSERT_GT(read(h), 0);
  EXPECT_EQ(decide(h, accept), 40);
  EXPECT_EQ(read(h), -1);
  EXPECT_EQ(errno, EBADMSG);
  EXPECT_STREQ(ipq_errstr(), "Failed to receive netlink message");
  EXPECT_NE(std::string(ipq_handle_errstr(h.get())).find("packet 2 at byte 78"), std::string::npos)
      << ipq_handle_errstr(h.get());
  expect_end(h);
  EXPECT_EQ(passed(), std::vector{udp4(10, 'a')});
}

TEST_F(capture_handle_test, what_can_not_be_written_is_told_by_the_verdict) {
  auto h = listen(out);
  ASSERT_GT(read(h), 0);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit head_only{24, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &head_only);
  const int failed = decide(h, accept), why = errno;
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(failed, -1);
  EXPECT_EQ(why, EFBIG);
  EXPECT_STREQ(ipq_errstr(), "Failed to send netlink message");
  EXPECT_STREQ(ipq_handle_errstr(h.get()),
               "set verdict: Failed to send netlink message: write output, packet 1 at byte 24: File too large");
  ASSERT_GT(read(h), 0);
  EXPECT_EQ(decide(h, accept), 40);
  EXPECT_EQ(passed(), (std::vector{udp4(10, 'a'), udp4(20, 'b')})) << "what could not be written is not lost";
}

TEST_F(capture_handle_test, output_that_can_not_be_begun_is_told_at_once) {
  source = "capture:" + capture_path + ",/dev/full";
  EXPECT_EQ(create(), nullptr);
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_STREQ(ipq_errstr(), "LIBIPQ_SOURCE: write /dev/full: No space left on device");
}

TEST_F(capture_handle_test, source_that_can_not_be_opened_is_named) {
  const auto refused_with = [&](const std::string& files) {
    source = "capture:" + files;
    EXPECT_EQ(create(), nullptr);
    return std::string(ipq_errstr());
  };
  const std::string missing = folder / "missing.pcap";
  EXPECT_EQ(refused_with(missing), "LIBIPQ_SOURCE: open " + missing + ": No such file or directory");
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(refused_with(capture_path + "," + missing + "/out"),
            "LIBIPQ_SOURCE: open " + missing + "/out: No such file or directory");
  EXPECT_EQ(refused_with(capture_path + "," + capture_path),
            "LIBIPQ_SOURCE: open " + capture_path + ": Invalid argument: it is the file that is read");
  const std::string longer(100, 'x');
  EXPECT_EQ(refused_with(longer + "/in"),
            "LIBIPQ_SOURCE: open ..." + longer.substr(0, 77) + "/in: No such file or directory");
  const std::string text = folder.write("text", "no capture at all, and long enough for a header");
  EXPECT_TRUE(refused_with(text).starts_with("LIBIPQ_SOURCE: read " + text + ": Bad message: ")) << ipq_errstr();
  EXPECT_EQ(errno, EBADMSG);
}

TEST_F(capture_handle_test, short_buffer_gets_the_beginning) {
  auto h = listen();
  std::array<unsigned char, 64> small;
  EXPECT_EQ(ipq_read(h.get(), small.data(), small.size(), 0), -1);
  EXPECT_STREQ(ipq_errstr(), "Received message truncated");
  EXPECT_EQ(ipq_message_type(small.data()), IPQM_PACKET);
  EXPECT_EQ(ipq_read(h.get(), small.data(), 19, 0), -1);
  EXPECT_STREQ(ipq_errstr(), "Receive buffer size invalid");
  EXPECT_GT(read(h), 0);
  EXPECT_EQ(payload_read(), udp4(20, 'b'));
}

TEST_F(capture_handle_test, verdicts_may_come_from_other_threads) {
  capture_path = capture(std::vector(1000, udp4(8)));
  auto h = listen(out);
  std::vector<ipq_id_t> ids;
  while (read(h) > 0) ids.push_back(packet_read().packet_id);
  ASSERT_EQ(ids.size(), 1000U);
  std::vector<std::thread> threads;
  for (std::size_t part = 0; part < 4; ++part) {
    threads.emplace_back([&, part] {
      for (std::size_t i = part; i < ids.size(); i += 4) ipq_set_verdict(h.get(), ids[i], accept, 0, nullptr);
    });
  }
  for (auto& each : threads) each.join();
  EXPECT_EQ(passed().size(), 1000U);
  EXPECT_EQ(stats(h).accepted, 1000U);
}

TEST_F(capture_handle_test, child_of_a_fork_may_go_on_with_the_capture) {
  auto h = listen(out);
  ASSERT_GT(read(h), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    bool good = decide(h, accept) == 40;
    for (int i = 0; i < 2; ++i) good = good && read(h) > 0 && decide(h, accept) == 40;
    ::_exit(good && read(h) == -1 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  h.reset();
  EXPECT_EQ(passed().size(), 3U);
}

TEST_F(capture_handle_test, files_of_a_program_that_closed_what_it_did_not_open_are_let_alone) {
  // Where a parent has the other ends yet, and where nobody has them.
  for (const bool inherits : {true, false}) {
    owned_handle h;
    if (inherits) h = listen(out);
    const pid_t child = ::fork();
    if (child == 0) {
      if (!inherits) h = listen(out);
      for (int fd = 3; fd < 256; ++fd) {
        if (fd != h->fd) ::close(fd);
      }
      std::vector<int> files;
      while (files.size() < 16) {
        files.push_back(::open((folder / std::to_string(files.size())).c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600));
      }
      bool good = read(h) > 0;  // it had come
      good =
          good && decide(h, accept) == -1 && errno == EBADF &&
          std::string_view(ipq_handle_errstr(h.get())).ends_with("the program closed this descriptor of the library");
      for (const int timeout : {0, 1000, -1}) good = good && read(h, timeout) == -1 && errno == EBADF;
      good = good && ipq_set_mode(h.get(), IPQ_COPY_META, 0) == 56 && ipq_set_mode(h.get(), 3, 0) == 56;
      h.reset();
      for (const int fd : files) {
        struct stat about {};
        good = good && ::fstat(fd, &about) == 0 && about.st_size == 0 && ::lseek(fd, 0, SEEK_CUR) == 0;
      }
      ::_exit(good ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
}

TEST_F(capture_handle_test, settings_are_those_of_every_handle) {
  source = "capture:" + capture_path;
  auto h = create();
  EXPECT_EQ(ipq_set_queue(h.get(), 7), 0);
  EXPECT_EQ(ipq_set_max_length(h.get(), 5), 0);
  EXPECT_EQ(ipq_set_max_length(h.get(), 0), -1);
  ipq_status status{};
  EXPECT_EQ(ipq_get_status(h.get(), &status, sizeof status), 0);
  EXPECT_EQ(status.queue, 7U);
  EXPECT_EQ(status.max_length, 5U);
  EXPECT_EQ(status.peer_portid, 0U);
  EXPECT_EQ(create(), nullptr) << "one a family";
  EXPECT_EQ(errno, EADDRINUSE);
  EXPECT_EQ(ipq_set_mode(h.get(), IPQ_COPY_PACKET, 100), 56);
  EXPECT_EQ(ipq_set_queue(h.get(), 8), -1);
  EXPECT_EQ(ipq_get_status(h.get(), &status, sizeof status), 0);
  EXPECT_EQ(status.peer_portid, static_cast<unsigned>(::getpid()));
  EXPECT_EQ(status.copy_mode, IPQ_COPY_PACKET);
  EXPECT_EQ(status.copy_range, 100U);
}

TEST_F(capture_handle_test, creation_leaves_nothing_open_behind) {
  const auto open_files = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  const auto before = open_files();
  for (int i = 0; i < 50; ++i) {
    auto four = listen(out), six = listen(out, ipv6);
    ASSERT_GT(read(four), 0);
  }
  EXPECT_EQ(open_files(), before);
}

}  // namespace
}  // namespace ipq::compat
