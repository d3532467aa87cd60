// SPDX-License-Identifier: MIT
// Recordings: written, read back, cut, rotated, and when they can't be written.
#include "ipq/recorder.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "ipq/capture.hpp"
#include "unit/capture_bytes.hpp"

namespace ipq {
namespace {

using namespace std::chrono_literals;
using test::bytes_of;
using test::capture_bytes;
using test::ethernet;
using test::udp4;
using test::udp6;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

packet packet_of(std::string_view bytes, std::uint32_t id) {
  packet made{.id = id, .family = 2, .hook = 2, .hw_protocol = 0x0800};
  made.payload = bytes_of(bytes);
  made.original_length = static_cast<std::uint32_t>(bytes.size());
  return made;
}

struct recorder_test : testing::Test {
  test::test_folder folder;
  recorder_options options{.interface_name = [](std::uint32_t index) {
    return index == 1 ? std::string_view("eth0") : index == 2 ? std::string_view("eth1") : std::string_view();
  }};

  static std::string output_of(const std::string& command) {
    std::string text;
    FILE* const pipe = ::popen(command.c_str(), "r");
    for (int c; pipe != nullptr && (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
    return pipe == nullptr || ::pclose(pipe) != 0 ? "failed: " + command + "\n" + text : text;
  }
};

TEST_F(recorder_test, gives_back_packets_verdicts_and_replacements) {
  auto made = recorder::open(folder / "r.pcapng", options);
  ASSERT_TRUE(made) << made.error().message();
  const std::string first = udp4(10), second = udp6(20), replacement = udp4(300, 'r');
  packet one = packet_of(first, 17);
  one.queue = 3;
  one.indev = 1;
  one.outdev = 2;
  one.mark = 5;
  one.uid = 1000;
  one.checksum_not_ready = true;
  one.hw_addr = {2, 0, 0, 0, 0, 1};
  one.hw_addr_length = 6;
  packet two = packet_of(std::string_view(second).substr(0, 60), 18);
  two.family = 10;
  two.hook = 3;
  two.outdev = 7;
  two.original_length = 68;
  two.truncated = true;
  const std::string link = ethernet(0x0800);
  packet three = packet_of(first, 19);
  three.l2_header = bytes_of(link);
  three.indev = 1;
  EXPECT_TRUE(made->record(one, verdict::accept().with_mark(9).with_payload(bytes_of(replacement)),
                           {.came = 1'700'000'000'123'456'789ns, .took = 31us}));
  EXPECT_TRUE(made->record(two, verdict::drop(), {.came = 1'700'000'001s}));
  EXPECT_TRUE(made->record(three, verdict::queue(4, true), {.came = 1'700'000'002s}));
  ASSERT_TRUE(made->close());
  EXPECT_EQ(made->counts().recorded, 3u);
  EXPECT_EQ(made->counts().files, 1u);
  EXPECT_EQ(made->counts().bytes, std::filesystem::file_size(folder / "r.pcapng"));
  EXPECT_FALSE(made->record(one, verdict::drop())) << "it is closed";

  auto from = capture_reader::open(folder / "r.pcapng", {.hook = 0});
  ASSERT_TRUE(from);
  const auto all = from->receive();
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 3u);
  const packet& a = (*all)[0];
  const auto* about = from->frame_of(a);
  EXPECT_EQ(text_of(a.payload), first);
  EXPECT_EQ(a.id, 1u);
  EXPECT_EQ(a.queue, 3);
  EXPECT_EQ(a.hook, 2);
  EXPECT_EQ(a.mark, 5u);
  EXPECT_EQ(a.uid, 1000u);
  EXPECT_TRUE(a.checksum_not_ready);
  EXPECT_EQ(a.hw_addr, one.hw_addr);
  EXPECT_EQ(from->interface_name(a.indev), "eth0");
  EXPECT_EQ(from->interface_name(a.outdev), "eth1");
  EXPECT_EQ(about->time.count(), 1'700'000'000'123'456'789);
  ASSERT_TRUE(about->recorded);
  EXPECT_EQ(about->recorded->id, 17u);
  EXPECT_EQ(about->recorded->took, 31us);
  EXPECT_EQ(about->recorded->given.what(), verdict::action::accept);
  EXPECT_EQ(about->recorded->given.mark(), 9u);
  EXPECT_EQ(text_of(about->recorded->given.payload()), replacement);
  const packet& b = (*all)[1];
  EXPECT_EQ(text_of(b.payload), second.substr(0, 60));
  EXPECT_TRUE(b.truncated);
  EXPECT_EQ(b.original_length, 68u);
  EXPECT_EQ(b.indev, 0u);
  EXPECT_EQ(from->interface_name(b.outdev), "if7");
  EXPECT_EQ(from->frame_of(b)->number, 3u) << "behind the replacement";
  EXPECT_TRUE(from->frame_of(b)->recorded->given.payload().empty());
  EXPECT_EQ(text_of((*all)[2].l2_header), link);
  EXPECT_TRUE(a.l2_header.empty()) << "which the recording made";
  EXPECT_EQ(b.hw_addr_length, 0);
  EXPECT_EQ(text_of((*all)[2].payload), first);
  EXPECT_EQ(from->frame_of((*all)[2])->recorded->given.value(), verdict::queue(4, true).value());
  EXPECT_EQ(from->counts().frames, 4u);
}

TEST_F(recorder_test, is_read_by_tshark_and_tcpdump_with_the_verdicts) {
  if (std::system("tshark --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "there is no tshark";
  auto made = recorder::open(folder / "r.pcapng", options);
  const std::string bytes = udp4(10);
  packet one = packet_of(bytes, 17);
  one.indev = 1;
  one.outdev = 2;
  EXPECT_TRUE(made->record(one, verdict::accept().with_mark(1).with_payload(bytes_of(bytes)), {.took = 31us}));
  one.id = 18;
  const std::string link = ethernet(0x0800);
  one.l2_header = bytes_of(link);
  one.indev = 0;
  one.hook = 3;
  EXPECT_TRUE(made->record(one, verdict::drop()));
  ASSERT_TRUE(made->close());
  EXPECT_EQ(output_of("tshark -r " + (folder / "r.pcapng") +
                      " -T fields -E separator=';' -e frame.number -e frame.comment -e frame.interface_name"
                      " -e frame.packet_id -e frame.packet_flags_direction -e udp.dstport 2>/dev/null"),
            "1;verdict accept, mark 0x1, changed, id 17, queue 0, hook forward, in eth0, out eth1, took 31 us;"
            "eth0;17;0x00000001;53\n"
            "2;replaced by the verdict, id 17;eth0;17;;53\n"
            "3;verdict drop, id 18, queue 0, hook output, out eth1, link header;eth1;18;0x00000002;53\n");
  EXPECT_NE(output_of("tshark -V -r " + (folder / "r.pcapng") + " 2>&1").find("TC_ACT_SHOT"), std::string::npos);
  if (std::system("tcpdump --version >/dev/null 2>&1") == 0) {
    EXPECT_EQ(output_of("tcpdump -nqt -r " + (folder / "r.pcapng") + " 2>/dev/null | wc -l"), "3\n");
  }
}

TEST_F(recorder_test, loses_what_finds_no_room_and_counts_it) {
  options.memory = 1 << 20;
  auto made = recorder::open("/dev/full", options);
  ASSERT_FALSE(made) << "its first bytes can't be written";
  EXPECT_EQ(made.error().message(), "write recording: No space left on device");
  made = recorder::open(folder / "r.pcapng", options);
  const std::string large = udp4(60'000);
  std::uint64_t kept = 0;
  for (std::uint32_t i = 0; i < 5000; ++i) kept += made->record(packet_of(large, i), verdict::accept()) ? 1 : 0;
  EXPECT_FALSE(made->record(packet_of(std::string(600'000, 'x'), 1), verdict::accept())) << "it never has room";
  ASSERT_TRUE(made->close());
  EXPECT_EQ(made->counts().recorded, kept);
  EXPECT_EQ(made->counts().lost, 5001 - kept);
  EXPECT_GE(kept, 8u);
  EXPECT_LT(kept, 5000u) << "the disk is as fast as memory";
  auto from = capture_reader::open(folder / "r.pcapng");
  ASSERT_TRUE(serve(*from, [](const packet&) { return verdict::accept(); }));
  EXPECT_EQ(from->stats().received, kept);
}

TEST_F(recorder_test, loses_nothing_where_it_may_wait) {
  options.memory = 1 << 20;
  options.wait_when_full = true;
  auto made = recorder::open(folder / "r.pcapng", options);
  const std::string large = udp4(10'000);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (std::uint32_t id = 0; id < 500; ++id) EXPECT_TRUE(made->record(packet_of(large, id), verdict::accept()));
    });
  }
  threads.clear();
  ASSERT_TRUE(made->close());
  EXPECT_EQ(made->counts().recorded, 2000u);
  auto from = capture_reader::open(folder / "r.pcapng");
  ASSERT_TRUE(serve(*from, [](const packet&) { return verdict::accept(); }));
  EXPECT_EQ(from->stats().received, 2000u);
}

TEST_F(recorder_test, rotates_by_size_and_by_the_packets_time) {
  const std::string bytes = udp4(1000);
  options.rotate_bytes = 10'000;
  auto by_size = recorder::open(folder / "size.pcapng", options);
  for (std::uint32_t i = 0; i < 30; ++i) EXPECT_TRUE(by_size->record(packet_of(bytes, i), verdict::accept()));
  ASSERT_TRUE(by_size->close());
  EXPECT_GE(by_size->counts().files, 3u);
  options.rotate_bytes = 0;
  options.rotate_after = 10s;
  auto by_time = recorder::open(folder / "time", options);
  for (std::uint32_t i = 0; i < 30; ++i) {
    EXPECT_TRUE(by_time->record(packet_of(bytes, i), verdict::accept(), {.came = std::chrono::seconds(1000 + i)}));
  }
  ASSERT_TRUE(by_time->close());
  EXPECT_EQ(by_time->counts().files, 3u);
  std::uint64_t packets = 0, size = 0;
  for (std::uint64_t i = 1; i <= by_size->counts().files; ++i) {
    const std::string path = folder / ("size.0000" + std::to_string(i) + ".pcapng");
    size += std::filesystem::file_size(path);
    auto from = capture_reader::open(path);
    ASSERT_TRUE(from) << path;
    EXPECT_TRUE(serve(*from, [](const packet&) { return verdict::accept(); }));
    packets += from->stats().received;
  }
  EXPECT_EQ(packets, 30u);
  EXPECT_EQ(size, by_size->counts().bytes);
  for (const char* name : {"time.00001", "time.00002", "time.00003"}) {
    auto from = capture_reader::open(folder / name);
    ASSERT_TRUE(from) << name;
    EXPECT_TRUE(serve(*from, [](const packet&) { return verdict::accept(); }));
    EXPECT_EQ(from->stats().received, 10u);
  }
}

TEST_F(recorder_test, rotates_behind_the_files_that_are_there) {
  const std::string bytes = udp4(4);
  const auto record = [&](const char* path, const std::vector<std::int64_t>& seconds) {
    auto made = recorder::open(folder / path, options);
    ASSERT_TRUE(made) << made.error().message();
    for (const std::int64_t each : seconds) {
      EXPECT_TRUE(made->record(packet_of(bytes, 1), verdict::drop(), {.came = std::chrono::nanoseconds(each)}));
    }
    ASSERT_TRUE(made->close());
  };
  const auto packets_in = [&](const std::string& path) {
    auto from = capture_reader::open(folder / path);
    EXPECT_TRUE(from) << path;
    return from && serve(*from, [](const packet&) { return verdict::accept(); }) ? from->stats().received : 0;
  };
  options.rotate_after = 10ns;
  record("r.pcapng", {0, 10, 20});
  for (const char* other : {"r.00007.pcapng", "r.0009.pcapng", "r.1x009.pcapng", "r.00009.pcap", "q.00009.pcapng",
                            "r.99999999999999999999.pcapng"}) {
    folder.write(other, "another's");
  }
  record("r.pcapng", {0, 10});
  EXPECT_EQ(packets_in("r.00003.pcapng"), 1u);
  EXPECT_EQ(folder.read("r.00007.pcapng"), "another's");
  EXPECT_EQ(packets_in("r.00008.pcapng"), 1u);
  EXPECT_EQ(packets_in("r.00009.pcapng"), 1u);

  // Two at once have numbers of their own.
  options.rotate_after = 0ns;
  options.rotate_bytes = 1'000'000;
  auto first = recorder::open(folder / "two", options);
  record("two", {0, 0});
  EXPECT_TRUE(first->record(packet_of(bytes, 1), verdict::drop()));
  ASSERT_TRUE(first->close());
  EXPECT_EQ(packets_in("two.00001"), 1u);
  EXPECT_EQ(packets_in("two.00002"), 2u);
}

TEST_F(recorder_test, rotates_where_the_packets_clock_goes_back_and_by_times_far_apart) {
  const std::string bytes = udp4(4);
  constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min(), most = -(least + 1);
  options.rotate_after = 10ns;
  const struct {
    std::vector<std::int64_t> times;
    std::uint64_t files;
  } cases[] = {{{1000, 500, 509, 1001}, 2}, {{1000, 500, 509, 510, 519}, 2}, {{least, most}, 2}, {{most, least}, 1}};
  for (const auto& [times, files] : cases) {
    auto made = recorder::open(folder / "r", options);
    for (const std::int64_t each : times) {
      EXPECT_TRUE(made->record(packet_of(bytes, 1), verdict::drop(), {.came = std::chrono::nanoseconds(each)}));
    }
    ASSERT_TRUE(made->close());
    EXPECT_EQ(made->counts().files, files) << times[0];
  }
}

TEST_F(recorder_test, is_readable_up_to_where_a_crash_left_it) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto made = recorder::open(folder / "r.pcapng", options);
    const std::string bytes = udp4(100);
    for (std::uint32_t i = 0; made; ++i) {
      static_cast<void>(made->record(packet_of(bytes, i), verdict::accept()));
      if (i % 1000 == 0) std::this_thread::sleep_for(1ms);
    }
    ::_exit(1);
  }
  for (int i = 0; i < 500; ++i) {
    std::error_code none;
    if (std::filesystem::file_size(folder / "r.pcapng", none) > 300'000 && !none) break;
    std::this_thread::sleep_for(10ms);
  }
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  auto from = capture_reader::open(folder / "r.pcapng");
  ASSERT_TRUE(from);
  std::uint32_t expected = 0;
  const auto ended = serve(*from, [&](const packet& each) {
    const auto id = from->frame_of(each)->recorded->id;
    EXPECT_GE(id, expected) << "in order; those that found no room are missing";
    expected = id + 1;
    return verdict::accept();
  });
  EXPECT_TRUE(ended || ended.error().is(EBADMSG));
  EXPECT_GT(from->stats().received, 1000u);
}

/// No file may be longer, as on a disk that is full then, until there is room again.
class full_disk {
 public:
  explicit full_disk(rlim_t bytes) : handler_(::signal(SIGXFSZ, SIG_IGN)) {
    EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &before_), 0);
    rlimit small = before_;
    small.rlim_cur = bytes;
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  }
  full_disk(const full_disk&) = delete;
  full_disk& operator=(const full_disk&) = delete;
  ~full_disk() {
    make_room();
    ::signal(SIGXFSZ, handler_);
  }
  void make_room() { EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &before_), 0); }

 private:
  rlimit before_{};
  sighandler_t handler_;
};

TEST_F(recorder_test, tells_of_a_disk_that_fills_up_and_goes_on_when_there_is_room) {
  auto made = recorder::open(folder / "r.pcapng", options);
  full_disk disk(100'000);
  const std::string bytes = udp4(1000);
  for (std::uint32_t i = 0; i < 200; ++i) EXPECT_TRUE(made->record(packet_of(bytes, i), verdict::accept()));
  // The writer may come to them in turns, and the file have a part of a packet in the midst of each.
  std::optional<error> failure;
  std::string expected;
  for (int i = 0; i < 1000 && (!failure || failure->message() != expected); ++i) {
    std::this_thread::sleep_for(5ms);
    failure = made->failure();
    auto whole = capture_reader::open(folder / "r.pcapng");
    if (!whole || !serve(*whole, [](const packet&) { return verdict::accept(); })) continue;
    if (whole->counts().bytes <= 100'000u - 1200) continue;  // as many as there is room for
    expected = "write recording, packet " + std::to_string(whole->stats().received + 1) + " at byte " +
               std::to_string(whole->counts().bytes) + ": File too large";
  }
  disk.make_room();
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->message(), expected) << "only whole packets are left";
  EXPECT_TRUE(made->record(packet_of(bytes, 200), verdict::accept()));
  ASSERT_TRUE(made->close());
  EXPECT_FALSE(made->failure());
  EXPECT_EQ(made->counts().recorded, 201u);
  auto from = capture_reader::open(folder / "r.pcapng");
  ASSERT_TRUE(serve(*from, [](const packet&) { return verdict::accept(); }));
  EXPECT_EQ(from->stats().received, 201u);

  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  auto piped = recorder::open("/dev/fd/" + std::to_string(ends[1]), options);
  ASSERT_TRUE(piped);
  ::close(ends[1]);
  ::close(ends[0]);
  EXPECT_TRUE(piped->record(packet_of(bytes, 0), verdict::accept()));
  EXPECT_TRUE(piped->close().error().is(EPIPE));
  EXPECT_EQ(piped->counts().lost, 1u);
}

TEST_F(recorder_test, gives_back_tags_and_families_that_no_link_header_has) {
  const std::string bytes = udp4(10), link = ethernet(0x0800);
  packet cooked = packet_of(bytes, 1);
  cooked.vlan = vlan_tag{0x8100, 0x000a};
  packet bridged = cooked;
  bridged.family = 7;
  bridged.l2_header = bytes_of(link);
  {
    auto made = recorder::open(folder / "r.pcapng", options);
    ASSERT_TRUE(made);
    for (const packet& each : {cooked, bridged}) EXPECT_TRUE(made->record(each, verdict::accept()));
  }
  auto from = capture_reader::open(folder / "r.pcapng");
  const auto all = from->receive();
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 2u);
  for (const packet& each : *all) {
    ASSERT_TRUE(each.vlan);
    EXPECT_EQ(each.vlan->protocol, 0x8100);
    EXPECT_EQ(each.vlan->tci, 0x000a);
    EXPECT_EQ(text_of(each.payload), bytes);
  }
  EXPECT_TRUE((*all)[0].l2_header.empty());
  EXPECT_EQ((*all)[0].family, 2);
  EXPECT_EQ(text_of((*all)[1].l2_header), link);
  EXPECT_EQ((*all)[1].family, 7);
}

// A bridge's queue has all that it forwards.
TEST_F(recorder_test, gives_back_what_is_no_ip_and_what_was_behind_packets) {
  const std::string arp(46, 'a'), padded = udp4(1) + "padding", empty, broken = "E";
  const std::string arp_link = ethernet(0x0806), link = ethernet(0x0800);
  {
    auto made = recorder::open(folder / "r.pcapng", options);
    std::uint32_t id = 0;
    for (const std::string* each : {&arp, &padded, &empty, &broken}) {
      for (const bool has_link : {true, false}) {
        packet one = packet_of(*each, ++id);
        one.family = 7;
        one.hw_protocol = each == &arp ? 0x0806 : 0x0800;
        if (has_link) one.l2_header = bytes_of(each == &arp ? arp_link : link);
        const auto given = each == &arp ? verdict::drop() : verdict::accept();
        EXPECT_TRUE(made->record(one, given.with_payload(bytes_of(has_link ? "another" : ""))));
      }
    }
    packet cut = packet_of(arp, ++id);
    cut.family = 7;
    cut.hw_protocol = 0x0806;
    cut.original_length = 99;
    EXPECT_TRUE(made->record(cut, verdict::drop()));
    ASSERT_TRUE(made->close());
  }
  auto from = capture_reader::open(folder / "r.pcapng", {.passed = folder / "p"});
  const auto all = from->receive();
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 9u);
  EXPECT_EQ(from->counts().frames, 13u);
  for (std::size_t i = 0; i < all->size(); ++i) {
    const packet& each = (*all)[i];
    const bool is_arp = i < 2 || i == 8;
    EXPECT_EQ(text_of(each.payload), is_arp ? arp : i < 4 ? padded : i < 6 ? empty : broken) << i;
    EXPECT_EQ(each.original_length, i == 8 ? 99u : each.payload.size()) << i;
    EXPECT_EQ(each.truncated, i == 8) << i;
    EXPECT_EQ(each.family, 7) << i;
    EXPECT_EQ(each.hw_protocol, is_arp ? 0x0806 : 0x0800) << i;
    EXPECT_EQ(text_of(each.l2_header), i % 2 == 1 || i == 8 ? "" : is_arp ? arp_link : link) << i;
    const auto& recorded = from->frame_of(each)->recorded;
    ASSERT_TRUE(recorded) << i;
    EXPECT_EQ(recorded->given.what(), is_arp ? verdict::action::drop : verdict::action::accept) << i;
    EXPECT_EQ(text_of(recorded->given.payload()), i % 2 == 1 || i == 8 ? "" : "another") << i;
    EXPECT_TRUE(from->set_verdict(each, verdict::accept()));
  }
  EXPECT_TRUE(from->flush());
  auto passed = capture_reader::open(folder / "p");
  EXPECT_TRUE(serve(*passed, [](const packet&) { return verdict::accept(); }));
  EXPECT_EQ(passed->counts().frames, 9u);
  EXPECT_EQ(passed->counts().not_ip, 3u) << "without its verdict it is a frame as any";
}

TEST_F(recorder_test, what_a_full_disk_has_lost_is_told_in_the_end_though_there_is_room_again) {
  auto made = recorder::open(folder / "r.pcapng", options);
  full_disk disk(100'000);
  const std::string bytes = udp4(1000);
  std::uint32_t id = 0;
  for (; id < 5000 && made->counts().lost == 0; ++id) {
    EXPECT_TRUE(made->record(packet_of(bytes, id), verdict::accept()));
    if (id % 100 == 0) std::this_thread::sleep_for(5ms);
  }
  disk.make_room();
  ASSERT_NE(made->counts().lost, 0u);
  const auto closed = made->close();
  EXPECT_FALSE(made->failure()) << "what waited was written";
  ASSERT_FALSE(closed);
  auto from = capture_reader::open(folder / "r.pcapng");
  std::uint32_t first_missing = 0;
  std::uint64_t offset = 0;
  ASSERT_TRUE(serve(*from, [&](const packet& each) {
    const auto* frame = from->frame_of(each);
    if (frame->recorded->id == first_missing) {
      ++first_missing;
    } else if (offset == 0) {
      offset = frame->offset;
    }
    return verdict::accept();
  }));
  if (offset == 0) offset = from->counts().bytes;
  EXPECT_EQ(from->stats().received + made->counts().lost, id);
  EXPECT_EQ(closed.error().message(), "write recording, packet " + std::to_string(first_missing + 1) + " at byte " +
                                          std::to_string(offset) + ": File too large");
}

TEST_F(recorder_test, takes_packets_of_256_kib_and_empty_ones) {
  // A jumbogram does not say its length.
  std::string large = "\x60" + std::string(5, '\0') + "\x11\x40" + std::string(262'136, 'j');
  {
    auto made = recorder::open(folder / "r.pcapng", options);
    packet largest = packet_of(large, 1);
    largest.family = 10;
    largest.hw_protocol = 0x86dd;
    EXPECT_TRUE(made->record(largest, verdict::accept()));
    EXPECT_TRUE(made->record(packet_of("", 2), verdict::drop()));
    const std::string small = udp4(1);
    packet huge = packet_of(small, 3);
    huge.original_length = ~std::uint32_t{0};
    EXPECT_TRUE(made->record(huge, verdict::drop()));
    ASSERT_TRUE(made->close());
  }
  auto from = capture_reader::open(folder / "r.pcapng");
  std::vector<std::size_t> sizes, original;
  const auto ended = serve(*from, [&](const packet& each) {
    sizes.push_back(each.payload.size());
    original.push_back(each.original_length);
    return verdict::accept();
  });
  ASSERT_TRUE(ended) << ended.error().message();
  EXPECT_EQ(sizes, (std::vector<std::size_t>{262'144 - 14, 0, 29})) << "the link header takes its room";
  EXPECT_EQ(original, (std::vector<std::size_t>{262'144, 0, 0xffff'ffff - 14})) << "and has none in the largest number";
}

TEST_F(recorder_test, writes_to_what_is_open_already) {
  const std::string path = folder.write("adopted", std::string(1000, 'x'));
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_APPEND);
  ASSERT_GE(fd, 0);
  ::chmod(path.c_str(), 0);
  {
    auto to = recorder::adopt(fd);
    ASSERT_TRUE(to) << to.error().message();
    EXPECT_TRUE(to->record(packet_of(udp4(4), 1), verdict::drop()));
    EXPECT_TRUE(to->close());
    EXPECT_EQ(to->counts().bytes, std::filesystem::file_size(path));
  }
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1) << "it is closed";
  ::chmod(path.c_str(), 0600);
  auto from = capture_reader::open(path);
  ASSERT_TRUE(from) << from.error().message();
  const auto all = from->receive();
  ASSERT_TRUE(all && all->size() == 1);
  EXPECT_EQ(from->frame_of((*all)[0])->recorded->given.what(), verdict::action::drop);

  EXPECT_TRUE(recorder::adopt(-1).error().is(EBADF));
  EXPECT_TRUE(recorder::adopt(1'000'000).error().is(EBADF));
  const int refused = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  EXPECT_TRUE(recorder::adopt(refused, {.rotate_bytes = 5}).error().is(EINVAL));
  EXPECT_EQ(::fcntl(refused, F_GETFD), -1) << "also if there is an error";
  EXPECT_GT(std::filesystem::file_size(path), 0u) << "and nothing is lost then";
}

TEST_F(recorder_test, leaves_a_file_to_the_one_that_writes_it) {
  const std::string path = folder / "r.pcapng", bytes = udp4(4);
  const std::string capture = folder.write("in", capture_bytes().pcap(101).frame(bytes).data);
  const auto expect_refused = [](const auto& opened, const std::string& operation) {
    ASSERT_FALSE(opened);
    EXPECT_TRUE(opened.error().is(EWOULDBLOCK));
    EXPECT_EQ(opened.error().message(), operation +
                                            ": Resource temporarily unavailable: another writer has it open: write to"
                                            " another place");
  };
  auto first = recorder::open(path, options);
  ASSERT_TRUE(first);
  EXPECT_TRUE(first->record(packet_of(bytes, 1), verdict::drop()));
  expect_refused(recorder::open(path, options), "open recording");
  expect_refused(recorder::adopt(::open(path.c_str(), O_WRONLY | O_CLOEXEC)), "open recording");
  expect_refused(capture_reader::open(capture, {.passed = path}), "open output");
  // A child has the very file; whoever reads it is no writer.
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(first->record(packet_of(bytes, 2), verdict::drop()));
  ASSERT_TRUE(first->close());
  auto from = capture_reader::open(path, {.passed = folder / "out"});
  ASSERT_TRUE(from);
  EXPECT_EQ(from->receive()->size(), 2u) << "nothing of it was overwritten";
  expect_refused(recorder::open(folder / "out", options), "open recording");

  *first = *recorder::open(folder / "another", options);
  EXPECT_TRUE(recorder::open(path, options)) << "when its writer is gone";
  // What is no file has no one writer.
  for (const char* shared : {"/dev/null", "/dev/null"}) EXPECT_TRUE(recorder::open(shared, options));
}

TEST_F(recorder_test, refuses_bad_options_and_paths) {
  EXPECT_TRUE(recorder::open(folder / "r", {.memory = 1000}).error().is(EINVAL));
  EXPECT_TRUE(recorder::open(folder / "r", {.rotate_after = -1s}).error().is(EINVAL));
  EXPECT_TRUE(recorder::open("-", {.rotate_bytes = 5}).error().is(EINVAL));
  EXPECT_EQ(recorder::open(folder / "no/r").error().message(), "open recording: No such file or directory");
}

}  // namespace
}  // namespace ipq
