// SPDX-License-Identifier: MIT
// What a reader writes of what passes: the file that came in, without what did not pass and with what was changed.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "capture/output.hpp"
#include "ipq/capture.hpp"
#include "unit/capture_bytes.hpp"

namespace ipq {
namespace {

using test::bytes_of;
using test::capture_bytes;
using test::ethernet;
using test::udp4;
using test::udp6;

struct passed_test : testing::Test {
  test::test_folder folder;

  /// What passes of `bytes`, judged by `judge`.
  template <class Judge>
  std::string filter(std::string_view bytes, Judge judge) {
    auto from = capture_reader::open(folder.write("in", bytes), {.passed = folder / "out"});
    EXPECT_TRUE(from) << from.error().message();
    const auto ended = serve(*from, judge);
    EXPECT_TRUE(ended) << ended.error().message();
    return folder.read("out");
  }
};

verdict drop_second(const packet& each) {
  return each.id == 2 ? verdict::drop() : verdict::accept();
}

TEST_F(passed_test, is_the_same_file_without_what_did_not_pass) {
  for (const bool swapped : {false, true}) {
    for (const bool nanoseconds : {false, true}) {
      const auto file = [&](bool whole) {
        capture_bytes made(swapped);
        made.pcap(1, nanoseconds).frame(ethernet(0x0800) + udp4(1) + "padding", 5, 7);
        if (whole) made.frame(ethernet(0x0806) + "who has").frame(ethernet(0x0800) + udp4(2), 6, 8);
        return made.frame(ethernet(0x86dd, {0x8100a00a}) + udp6(3).substr(0, 50), 7, 9, 500).data;
      };
      EXPECT_EQ(filter(file(true), drop_second), file(false));
    }
  }
}

TEST_F(passed_test, is_the_same_pcapng_with_names_comments_and_what_is_not_known) {
  for (const bool swapped : {false, true}) {
    const auto file = [&](bool whole) {
      capture_bytes made(swapped);
      const std::string comment = made.option(1, "a comment") + made.option(3, "hash") + made.option(0, "");
      made.section().interface(101, "eth0").block(4, "names...");
      if (whole) made.block(0x40000bad, "not to copy.");
      made.interface(1, "eth1").packet(udp4(1), 0, 77, 0, comment);
      if (whole) made.packet(udp4(2), 0, 78).block(5, std::string(12, '\0'));
      made.packet(ethernet(0x0800) + udp4(3), 1, 79).section().interface(101, "tun0").packet(udp4(4), 0, 80);
      return made.data;
    };
    EXPECT_EQ(filter(file(true), drop_second), file(false)) << swapped;
  }
}

TEST_F(passed_test, has_large_blocks_beside_packets_and_counts_those_that_are_too_large) {
  const std::string secrets(2 << 20, 's'), head = capture_bytes().section().interface(101).data;
  for (const bool swapped : {false, true}) {
    capture_bytes in(swapped), expected(swapped);
    in.section()
        .interface(101)
        .packet(udp4(1))
        .block(10, secrets)
        .packet(udp4(2))
        .block(10, std::string(16 << 20, 'l'));
    in.block(5, secrets).block(0x40000bad, secrets).packet(udp4(3)).block(10, secrets);
    expected.section().interface(101).packet(udp4(1)).block(10, secrets).packet(udp4(3)).block(10, secrets);
    auto from = capture_reader::open(folder.write("in", in.data), {.passed = folder / "out"});
    ASSERT_TRUE(from);
    ASSERT_TRUE(serve(*from, drop_second));
    EXPECT_EQ(folder.read("out").size(), expected.data.size());
    EXPECT_TRUE(folder.read("out") == expected.data) << swapped;
    EXPECT_EQ(from->counts().left_out, 1u);
    auto unwritten = capture_reader::open(folder / "in");
    ASSERT_TRUE(serve(*unwritten, drop_second));
    EXPECT_EQ(unwritten->counts().left_out, 0u) << "nothing passes";
  }
  auto torn = capture_bytes().section().interface(101).packet(udp4(1)).block(10, secrets).data;
  torn.back() ^= 1;
  for (const std::size_t cut : {std::size_t{0}, std::size_t{1000}}) {
    const auto bytes = torn.substr(0, torn.size() - cut);
    auto from = capture_reader::open(folder.write("in", bytes), {.passed = folder / "out"});
    const auto ended = serve(*from, [](const packet&) { return verdict::accept(); });
    ASSERT_FALSE(ended);
    EXPECT_TRUE(ended.error().is(EBADMSG));
    EXPECT_TRUE(from->flush());
    EXPECT_EQ(folder.read("out"), capture_bytes().section().interface(101).packet(udp4(1)).data);
  }
}

TEST_F(passed_test, has_only_its_head_where_nothing_passes) {
  const auto head = capture_bytes().pcap(101).data;
  EXPECT_EQ(filter(head, drop_second), head);
  EXPECT_EQ(filter(capture_bytes().pcap(101).frame(udp4(1)).data, [](const packet&) { return verdict::drop(); }), head);
}

TEST_F(passed_test, passes_what_would_go_on) {
  const auto in = capture_bytes().pcap(101).frame(udp4(1)).frame(udp4(2)).frame(udp4(3)).frame(udp4(4)).frame(udp4(5));
  const auto out = filter(in.data, [](const packet& each) {
    const std::vector<verdict> all{verdict::drop(), verdict::repeat(), verdict::stop(), verdict::queue(3),
                                   verdict::queue(3, true)};
    return all[each.id - 1];
  });
  EXPECT_EQ(out, capture_bytes().pcap(101).frame(udp4(2)).frame(udp4(3)).frame(udp4(5)).data);
}

TEST_F(passed_test, has_replacements_behind_their_link_headers) {
  const std::string shorter = udp4(1, 'r'), longer = udp4(1000, 'r');
  const auto judge = [&](const packet& each) {
    return verdict::accept().with_payload(bytes_of(each.id == 1 ? shorter : longer));
  };
  for (const bool swapped : {false, true}) {
    const auto out = filter(capture_bytes(swapped)
                                .pcap(1)
                                .frame(ethernet(0x0800, {0x8100a00a}) + udp4(5) + "padding", 1, 2)
                                .frame(ethernet(0x0800) + udp4(6), 3, 4)
                                .data,
                            judge);
    EXPECT_EQ(out, capture_bytes(swapped)
                       .pcap(1)
                       .frame(ethernet(0x0800, {0x8100a00a}) + shorter, 1, 2)
                       .frame(ethernet(0x0800) + longer, 3, 4)
                       .data);

    capture_bytes in(swapped), expected(swapped), old(swapped), simple(swapped);
    const std::string comment = in.option(1, "kept") + in.option(3, "hash") + in.option(0, "");
    old.add<std::uint16_t>(1).add<std::uint16_t>(7).add<std::uint64_t>(0).add<std::uint32_t>(14 + 29);
    old.add<std::uint32_t>(14 + 29).add_text(ethernet(0x0800) + udp4(1) + '\0');
    in.section().interface(101, "a").interface(1, "b").packet(udp4(7), 0, 9, 0, comment).block(2, old.data);
    expected.section().interface(101, "a").interface(1, "b");
    expected.packet(shorter, 0, 9, 0, in.option(1, "kept") + in.option(0, ""));
    expected.packet(ethernet(0x0800) + longer, 1, 0);
    EXPECT_EQ(filter(in.data, judge), expected.data);
  }
}

// Readers hold frames against the length at which the capture cut them.
TEST_F(passed_test, says_of_no_length_that_replacements_outgrow_it) {
  const auto judge = [](const packet& each) {
    static const std::string longer = udp4(1000, 'r');
    return each.id == 2 ? verdict::accept().with_payload(bytes_of(longer)) : verdict::accept();
  };
  const std::string cut = udp4(100).substr(0, 64), whole = udp4(36), longer = udp4(1000, 'r');
  for (const bool swapped : {false, true}) {
    const auto plain = [&](std::uint32_t snap_length, std::string_view second) {
      std::string head = capture_bytes(swapped).pcap(101).data;
      head.replace(16, 4, capture_bytes(swapped).add(snap_length).data);
      return head + capture_bytes(swapped).frame(cut, 0, 0, 128).frame(second).data;
    };
    EXPECT_EQ(filter(plain(64, whole), judge), plain(262'144, longer));
    EXPECT_EQ(filter(plain(300'000, whole), judge), plain(300'000, longer));
    EXPECT_EQ(filter(plain(0, whole), judge), plain(0, longer));

    // A simple block has as many bytes as that length says, and so becomes one that says it itself.
    const auto simple = [&](std::uint32_t original, std::string_view bytes) {
      capture_bytes body(swapped);
      return body.add(original).add_text(bytes).data;
    };
    capture_bytes in(swapped), expected(swapped);
    in.section().interface(101, "a", {}, 64).interface(101, "b", {}, 300'000);
    in.block(3, simple(128, cut)).block(3, simple(64, whole)).block(3, simple(64, whole)).packet(cut, 1, 9, 128);
    expected.section().interface(101, "a").interface(101, "b", {}, 300'000).packet(cut, 0, 0, 128).packet(longer);
    expected.block(3, simple(64, whole)).packet(cut, 1, 9, 128);
    EXPECT_EQ(filter(in.data, judge), expected.data) << swapped;

    // Also in a head that is written again, for a packet that was held.
    capture_bytes later(swapped), written(swapped);
    later.section().interface(101, "a", {}, 64).block(3, simple(128, cut)).section().interface(101, "b");
    later.packet(whole);
    written.section().interface(101, "a").section().interface(101, "b").packet(longer);
    written.section().interface(101, "a").packet(cut, 0, 0, 128);
    auto from = capture_reader::open(folder.write("in", later.data), {.passed = folder / "held"});
    ASSERT_TRUE(from);
    auto held = from->hold(from->receive().value()[0]);
    ASSERT_TRUE(held);
    const auto second = from->receive();
    ASSERT_TRUE(second);
    EXPECT_TRUE(from->set_verdict((*second)[0], judge((*second)[0])));
    EXPECT_TRUE(std::move(*held).set_verdict(verdict::accept()));
    EXPECT_TRUE(from->flush());
    EXPECT_EQ(folder.read("held"), written.data) << swapped;
  }
}

TEST_F(passed_test, of_a_recording_has_what_passes_now_and_nothing_of_what_became_of_it_once) {
  for (const bool swapped : {false, true}) {
    capture_bytes in(swapped), expected(swapped);
    const auto options = [&](std::string_view comment) {
      return in.option(1, comment) + in.option(1, "a comment") + in.option(3, "hash") + in.option(7, "\1verdict.");
    };
    const std::string end = in.option(0, ""), kept = in.option(1, "a comment");
    in.section().interface(101, "a");
    in.packet(udp4(1), 0, 1, 0, options("verdict accept, changed, id 7, queue 0, hook forward, in a") + end);
    in.packet(udp4(5, 'r'), 0, 1, 0, in.option(1, "replaced by the verdict, id 7") + end);
    in.packet(udp4(2), 0, 2, 0, options("verdict drop, id 8, queue 0, hook forward, in a") + end);
    in.packet(udp4(3).substr(0, 30), 0, 3, 900, options("verdict drop, id 9, queue 0, hook forward, in a") + end);
    in.packet(udp4(4), 0, 4, 0, options("verdict drop, id 10, queue 0, hook forward, in a"));
    const std::string longer = udp4(99, 'n');
    expected.section().interface(101, "a").packet(udp4(1), 0, 1, 0, kept + in.option(3, "hash") + end);
    expected.packet(udp4(3).substr(0, 30), 0, 3, 900, kept + in.option(3, "hash") + end);
    expected.packet(longer, 0, 4, 0, kept);
    const auto judge = [&](const packet& each) {
      return each.id == 4 ? verdict::accept().with_payload(bytes_of(longer)) : drop_second(each);
    };
    EXPECT_EQ(filter(in.data, judge), expected.data) << swapped;

    auto from = capture_reader::open(folder / "in", {.passed = folder / "held"});
    ASSERT_TRUE(from);
    const auto all = from->receive();
    ASSERT_TRUE(all);
    for (const packet& each : *all) EXPECT_TRUE(std::move(*from->hold(each)).set_verdict(judge(each)));
    EXPECT_TRUE(from->flush());
    EXPECT_EQ(folder.read("held"), expected.data) << swapped;
  }
}

TEST_F(passed_test, has_held_packets_when_they_are_decided_in_their_own_section) {
  capture_bytes in, expected;
  in.section().interface(101, "a").packet(udp4(1), 0, 1).packet(udp4(2), 0, 2);
  in.section().interface(101, "b").packet(udp4(3), 0, 3).packet(udp4(4), 0, 4);
  std::vector<held_packet> held;
  {
    auto from = capture_reader::open(folder.write("in", in.data), {.passed = folder / "out"});
    ASSERT_TRUE(from);
    while (const auto all = from->receive()) {
      for (const packet& each : *all) {
        if (each.id % 2 == 1) {
          held.push_back(*from->hold(each));
        } else {
          EXPECT_TRUE(from->set_verdict(each, verdict::accept()));
        }
      }
    }
    EXPECT_TRUE(std::move(held[0]).set_verdict(verdict::accept().with_payload(bytes_of(udp4(9)))));
    EXPECT_TRUE(std::move(held[1]).set_verdict(verdict::accept()));
  }
  expected.section().interface(101, "a").packet(udp4(2), 0, 2).section().interface(101, "b").packet(udp4(4), 0, 4);
  expected.section().interface(101, "a").packet(udp4(9), 0, 1).section().interface(101, "b").packet(udp4(3), 0, 3);
  EXPECT_EQ(folder.read("out"), expected.data);
}

void wait_until_asleep(pid_t thread) {
  for (std::string stat; stat.find(") S ") == std::string::npos; std::this_thread::yield()) {
    std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
    std::getline(file, stat);
  }
}

int waiting_in(int pipe) {
  int size = -1;
  return ::ioctl(pipe, FIONREAD, &size) == 0 ? size : -1;
}

// A holder begins to write the section while the reader meets another interface of it.
TEST_F(passed_test, has_each_interface_once_whatever_holders_do_meanwhile) {
  ASSERT_EQ(::mkfifo((folder / "in").c_str(), 0600) | ::mkfifo((folder / "out").c_str(), 0600), 0);
  const auto open_both = [&](const char* name) { return ::open((folder / name).c_str(), O_RDWR | O_CLOEXEC); };
  const int in = open_both("in"), out = open_both("out");
  ASSERT_TRUE(in >= 0 && out >= 0);
  // So large that it is written when another follows, for which a pipe has no room.
  const std::string large = ethernet(0x0800) + udp4(1) + std::string(262'144 - 14 - 29, '\0');
  capture_bytes first, more, expected;
  first.section().interface(1, "a").packet(large).section().interface(101, "b").packet(udp4(2));
  more.interface(101, "c").packet(udp4(3), 1);
  expected.section().interface(1, "a").section().interface(101, "b").add_text(first.data).add_text(more.data);
  const auto put = [&](const capture_bytes& what) {
    EXPECT_EQ(::write(in, what.data.data(), what.data.size()), static_cast<ssize_t>(what.data.size()));
  };

  auto from = capture_reader::open(folder / "in", {.passed = folder / "out"});
  ASSERT_TRUE(from);
  const pid_t reading = ::gettid();
  std::atomic<pid_t> deciding = 0;
  std::string passed;
  std::thread world([&] {
    put(first);
    while (deciding == 0 || waiting_in(out) <= 0) std::this_thread::yield();
    wait_until_asleep(deciding);
    put(more);
    while (waiting_in(in) > 0) std::this_thread::yield();
    wait_until_asleep(reading);
    std::string part(1 << 16, '\0');
    while (passed.size() < expected.data.size()) {
      const ssize_t size = ::read(out, part.data(), part.size());
      if (size <= 0) break;
      passed.append(part, 0, static_cast<std::size_t>(size));
    }
  });
  std::vector<held_packet> held;
  while (held.size() < 2) {
    const auto all = from->receive();
    for (const packet& each : *all) held.push_back(*from->hold(each));
  }
  std::thread holder([&] {
    wait_until_asleep(reading);
    deciding = ::gettid();
    for (held_packet& each : held) EXPECT_TRUE(std::move(each).set_verdict(verdict::accept()));
  });
  const auto last = from->receive();
  EXPECT_TRUE(last && from->set_verdict((*last)[0], verdict::accept()));
  EXPECT_TRUE(from->flush());
  holder.join();
  world.join();
  EXPECT_EQ(waiting_in(out), 0);
  EXPECT_TRUE(passed == expected.data) << passed.size() << " bytes, not " << expected.data.size();
  ::close(in);
  ::close(out);
}

// A file may say far more beside its packets than is in them.
TEST_F(passed_test, holds_no_packets_whose_file_says_too_much_beside_them) {
  capture_bytes in;
  std::string comments;
  for (int i = 0; i < 15; ++i) comments += in.option(1, std::string(65'532, 'c'));
  for (int i = 0; i < 8; ++i) {
    // Of 15 MiB, most of them behind a packet that is held.
    in.section().interface(101, "a").packet(udp4(1));
    for (int j = 0; j < 16; ++j) in.interface(101, "b", comments);
    if (i % 2 == 0) in.packet(udp4(2));
  }
  in.section().interface(101, "a");
  for (int i = 0; i < 80; ++i) in.packet(udp4(3), 0, 0, 0, comments);
  std::vector<held_packet> held;
  std::size_t refused = 0;
  auto from = capture_reader::open(folder.write("in", in.data), {.passed = folder / "out"});
  ASSERT_TRUE(from);
  const auto hold_all = [&](std::size_t count) {
    for (std::size_t taken = 0; taken < count;) {
      const auto all = from->receive();
      ASSERT_TRUE(all) << all.error().message();
      for (const packet& each : *all) {
        auto one = from->hold(each);
        ++taken;
        if (one) {
          held.push_back(*std::move(one));
          continue;
        }
        EXPECT_TRUE(one.error().is(ENOMEM));
        EXPECT_TRUE(from->set_verdict(each, verdict::drop()));
        ++refused;
      }
    }
    EXPECT_GT(refused, 0u);
    EXPECT_GT(held.size(), 4u);
  };
  hold_all(12);
  for (held_packet& each : held) EXPECT_TRUE(std::move(each).set_verdict(verdict::drop()));
  held.clear();
  refused = 0;
  hold_all(80);
  EXPECT_GT(held.size(), 60u);
}

// Whoever reads the file takes so many bytes from the end of each frame.
TEST_F(passed_test, has_a_check_sequence_behind_what_was_changed_where_the_file_says_that_frames_have_one) {
  const std::string changed = udp4(3, 'r'), link = ethernet(0x0800);
  const std::string sum = "\x2a\x12\xa0\xa3";  // by zlib's crc32
  const auto judge = [&](const packet& each) {
    return each.id == 1 ? verdict::accept() : verdict::accept().with_payload(bytes_of(changed));
  };
  const std::string kept = link + udp4(1) + "sum0", other = link + udp4(2) + "padding, sum0";
  for (const bool swapped : {false, true}) {
    for (const auto& [size, end] : {std::pair{0u, std::string()}, {2u, sum}, {1u, std::string(2, '\0')}}) {
      const auto file = [&](std::string_view second) {
        const std::uint32_t says_size = size == 0 ? 0u : 0x04000000u | size << 28;
        return capture_bytes(swapped).pcap(1 | says_size).frame(kept).frame(second).data;
      };
      EXPECT_EQ(filter(file(other), judge), file(link + changed + end)) << size;
    }
    const auto file = [&](const std::vector<std::string>& frames) {
      capture_bytes made(swapped);
      const auto flags = [&](std::uint32_t bits) {
        return made.option(2, capture_bytes(swapped).add(bits).data) + made.option(0, "");
      };
      made.section().interface(1).interface(1, "checked", made.option(13, "\4"));
      made.interface(1, "in bits", made.option(13, "\x20")).packet(frames[0], 0, 0, 0, flags(4 << 5 | 1));
      made.packet(frames[1], 0, 0, 0, flags(4 << 5 | 2)).packet(frames[2], 1).packet(frames[3], 2, 0, 0, flags(1));
      return made.packet(frames[4], 0, 0, 0, flags(1)).packet(frames[5], 1, 0, 0, flags(2 << 5)).data;
    };
    const std::string plain = link + changed;
    EXPECT_EQ(filter(file({kept, other, other, other, other, other}), judge),
              file({kept, plain + sum, plain + sum, plain + sum, plain, plain + std::string(2, '\0')}));
  }
}

TEST_F(passed_test, has_duplicates_behind_their_packets) {
  const auto in = capture_bytes().pcap(101).frame(udp4(1)).frame(udp4(2)).frame(udp4(3)).data;
  const std::string copy = udp4(7, 'c');
  auto from = capture_reader::open(folder.write("in", in), {.passed = folder / "out"});
  const auto all = from->receive();
  EXPECT_TRUE(from->duplicate((*all)[0], bytes_of(copy)).error().is(EINVAL)) << "undecided";
  auto passing = from->hold((*all)[0]);
  auto dropped = from->hold((*all)[1]);
  EXPECT_TRUE(from->duplicate((*all)[0], bytes_of(copy)));
  EXPECT_TRUE(from->duplicate((*all)[1], bytes_of(copy)));
  EXPECT_TRUE(from->set_verdict((*all)[2], verdict::drop()));
  EXPECT_TRUE(from->duplicate((*all)[2], bytes_of(copy)));
  EXPECT_TRUE(std::move(*dropped).set_verdict(verdict::drop()));
  EXPECT_TRUE(std::move(*passing).set_verdict(verdict::accept()));
  EXPECT_TRUE(from->duplicate((*all)[0], bytes_of(copy)).error().is(ENODEV));
  EXPECT_TRUE(from->duplicate({.id = 9}, bytes_of(copy)).error().is(EINVAL));
  EXPECT_TRUE(from->flush());
  EXPECT_EQ(folder.read("out"), capture_bytes().pcap(101).frame(copy).frame(udp4(1)).frame(copy).data);
}

TEST_F(passed_test, never_overwrites_what_is_read_nor_anything_for_what_is_no_capture) {
  const auto file = capture_bytes().pcap(101).frame(udp4(1)).data;
  const std::string path = folder.write("in", file);
  std::filesystem::create_hard_link(path, folder / "same");
  const auto same = capture_reader::open(path, {.passed = folder / "same"});
  ASSERT_FALSE(same);
  EXPECT_EQ(same.error().message(), "open output: Invalid argument: it is the file that is read");
  EXPECT_EQ(folder.read("in"), file);
  folder.write("kept", "kept");
  EXPECT_FALSE(capture_reader::open(folder.write("none", "no capture"), {.passed = folder / "kept"}));
  EXPECT_EQ(folder.read("kept"), "kept");
  const auto nowhere = capture_reader::open(path, {.passed = folder / "nowhere/out"});
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().message(), "open output: No such file or directory");
}

// ---- what can't be written

std::string many(unsigned count) {
  capture_bytes file;
  file.pcap(101);
  for (unsigned i = 0; i < count; ++i) file.frame(udp4(1000), i);
  return file.data;
}

TEST_F(passed_test, a_full_disk_is_told_and_nothing_is_read_beyond) {
  auto from = capture_reader::open(folder.write("in", many(1000)), {.passed = "/dev/full"});
  ASSERT_TRUE(from);
  const auto ended = serve(*from, drop_second);
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().message(), "write output, packet 1 at byte 24: No space left on device");
  const auto received = from->stats().received;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(from->receive().error().is(ENOSPC));
  EXPECT_EQ(from->stats().received, received);
  EXPECT_TRUE(from->flush().error().is(ENOSPC));

  auto small = capture_reader::open(folder.write("in", many(3)), {.passed = "/dev/full"});
  const auto at_end = serve(*small, drop_second);
  ASSERT_FALSE(at_end) << "what was never written is told at the end";
  EXPECT_TRUE(at_end.error().is(ENOSPC));
}

TEST_F(passed_test, a_full_disk_is_told_before_all_that_has_no_packets_is_in_memory) {
  capture_bytes file;
  file.section().interface(101);
  for (int i = 0; i < 12; ++i) file.block(4, std::string(1 << 20, 'n'));
  auto from = capture_reader::open(folder.write("in", file.data), {.passed = "/dev/full"});
  ASSERT_TRUE(from);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(from->receive().error().is(ENOSPC));
  EXPECT_LT(from->counts().bytes, 8u << 20);
  auto written = capture_reader::open(folder / "in", {.passed = folder / "out"});
  EXPECT_TRUE(serve(*written, drop_second));
  EXPECT_TRUE(folder.read("out") == file.data);
}

TEST_F(passed_test, a_pipe_that_closes_is_an_error_and_no_signal) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  auto from = capture_reader::open(folder.write("in", many(3)), {.passed = "/dev/fd/" + std::to_string(ends[1])});
  ::close(ends[1]);
  if (!from) GTEST_SKIP() << "a pipe without readers can't be opened again here: " << from.error().message();
  const auto ended = serve(*from, drop_second);
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().message(), "write output, packet 1 at byte 24: Broken pipe");
}

TEST_F(passed_test, a_disk_that_fills_up_leaves_whole_records_and_takes_the_rest_later) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto ignored = ::signal(SIGXFSZ, SIG_IGN);
  const auto file = many(700);
  auto from = capture_reader::open(folder.write("in", file), {.passed = folder / "out"});
  rlimit small = before;
  small.rlim_cur = 400'000;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto ended = serve(*from, [](const packet&) { return verdict::accept(); });
  const auto size = std::filesystem::file_size(folder / "out");
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_FALSE(ended);
  EXPECT_GT(size, 400'000u - (16 + 1028)) << "as many as there is room for";
  EXPECT_EQ((size - 24) % (16 + 1028), 0u) << "only whole records";
  EXPECT_EQ(ended.error().message(), "write output, packet " + std::to_string((size - 24) / (16 + 1028) + 1) +
                                         " at byte " + std::to_string(size) + ": File too large");
  EXPECT_TRUE(serve(*from, [](const packet&) { return verdict::accept(); }));
  EXPECT_EQ(folder.read("out"), file) << "once there is room, nothing is missing and nothing is twice";
  ::signal(SIGXFSZ, ignored);
}

}  // namespace
}  // namespace ipq
