// SPDX-License-Identifier: MIT
// The reader on files that are not as they should be: everything before the damage is given, and its place is told.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "ipq/capture.hpp"
#include "ipq/decode.hpp"
#include "unit/capture_bytes.hpp"

namespace ipq {
namespace {

using test::capture_bytes;
using test::ethernet;
using test::udp4;
using test::udp6;

struct damage_test : testing::Test {
  test::test_folder folder;

  struct outcome {
    std::uint64_t packets = 0;
    std::string message;
  };
  outcome read(std::string_view bytes) {
    auto from = capture_reader::open(folder.write("capture", bytes));
    if (!from) return {0, from.error().message()};
    outcome made;
    const auto ended = serve(*from, [&](const packet&) {
      ++made.packets;
      return verdict::accept();
    });
    if (!ended) {
      made.message = ended.error().message();
      EXPECT_TRUE(from->receive().error().is(ENODATA)) << "told once";
    }
    return made;
  }
};

TEST_F(damage_test, refuses_what_is_no_capture_and_says_what_is_wrong) {
  const std::vector<std::pair<std::string, std::string>> all{
      {"", "read capture: Bad message: it is empty"},
      {"abc", "read capture: Bad message: neither pcap nor pcapng, nor one of them in gzip or Zstandard"},
      {"GIF89a, and more", "read capture: Bad message: neither pcap nor pcapng, nor one of them in gzip or Zstandard"},
      {capture_bytes().pcap(1).data.substr(0, 23), "read capture: Bad message: the file ends within its header"},
      {capture_bytes().pcap(253).data,
       "read capture: Protocol not supported: link type 253 (netlink) is not read, but Ethernet, raw IP, Linux cooked "
       "and null/loop are"},
      {capture_bytes().pcap(147).data,
       "read capture: Protocol not supported: link type 147 is not read, but Ethernet, raw IP, Linux cooked and "
       "null/loop are"},
      {capture_bytes().pcap(2).data,
       "read capture: Protocol not supported: link type 2 is not read, but Ethernet, raw IP, Linux cooked and "
       "null/loop are"},
      {capture_bytes().pcap(319).data,
       "read capture: Protocol not supported: link type 319 is not read, but Ethernet, raw IP, Linux cooked and "
       "null/loop are"},
      {capture_bytes().pcap(320).data,
       "read capture: Protocol not supported: this link type is not read, but Ethernet, raw IP, Linux cooked and "
       "null/loop are"},
      {capture_bytes().add<std::uint32_t>(0xa1b2cd34).data,
       "read capture: Protocol not supported: a modified pcap format; convert it: editcap -F pcapng"},
      {capture_bytes().add<std::uint32_t>(0xa1b2c3d4).add<std::uint16_t>(3).add_text(std::string(18, '\0')).data,
       "read capture: Bad message: a pcap file of another version than 2.4"},
  };
  for (const auto& [bytes, message] : all) EXPECT_EQ(read(bytes).message, message);
  EXPECT_EQ(capture_reader::open(folder / "nowhere").error().message(), "open capture: No such file or directory");
  EXPECT_EQ(capture_reader::open("/").error().message(), "open capture: Is a directory");
  EXPECT_EQ(capture_reader::open("/dev/null")->receive().error().message(), "read capture: Bad message: it is empty");
}

/// What the program did not open and closed: the number of the file at `path` is given to another one.
void take_number(const std::string& path, int other) {
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code none;
    if (std::filesystem::read_symlink(each.path(), none) != path) continue;
    ASSERT_GE(::dup2(other, std::stoi(each.path().filename())), 0);
    return;
  }
  FAIL() << path << " is not open";
}

TEST_F(damage_test, file_that_took_the_number_of_another_is_let_alone) {
  const std::string in = folder.write("in", capture_bytes().pcap(101).frame(udp4(200'000)).frame(udp4(200'000)).data);
  const std::string out = folder / "out", other = folder.write("other", "the program's own");
  auto from = capture_reader::open(in, {.passed = out});
  ASSERT_TRUE(from);
  const auto first = from->receive();
  ASSERT_TRUE(first);
  ASSERT_TRUE(from->flush());
  const int own = ::open(other.c_str(), O_RDWR | O_CLOEXEC);
  take_number(in, own);
  take_number(out, own);
  ASSERT_TRUE(from->set_verdict((*first)[0], verdict::accept()));
  const auto written = from->flush();
  ASSERT_FALSE(written);
  EXPECT_EQ(
      written.error().message(),
      "write output, packet 1 at byte 24: Bad file descriptor: the program closed this descriptor of the library");
  const auto second = from->receive();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message(),
            "read capture, packet 2 at byte 262168: Bad file descriptor: the program closed this descriptor of the "
            "library");
  EXPECT_EQ(std::filesystem::file_size(other), 17U);
  EXPECT_EQ(::lseek(own, 0, SEEK_CUR), 0);
  ::close(own);
}

TEST_F(damage_test, gives_what_is_before_the_cut_wherever_a_file_is_cut) {
  capture_bytes plain, blocks;
  plain.pcap(101);
  blocks.section().interface(101, "eth0");
  std::vector<std::size_t> plain_ends{plain.data.size()}, block_ends{blocks.data.size()};
  for (unsigned i = 0; i < 3; ++i) {
    plain_ends.push_back(plain.frame(udp4(i)).data.size());
    block_ends.push_back(blocks.packet(udp4(i), 0, i).data.size());
  }
  for (const auto& [data, ends] : {std::pair(plain.data, plain_ends), std::pair(blocks.data, block_ends)}) {
    for (std::size_t cut = ends[0]; cut < data.size(); ++cut) {
      const auto made = read(data.substr(0, cut));
      std::size_t whole = 0;
      while (ends[whole + 1] <= cut) ++whole;
      EXPECT_EQ(made.packets, whole) << cut;
      const std::string place = ", packet " + std::to_string(whole + 1) + " at byte " + std::to_string(ends[whole]);
      EXPECT_EQ(made.message, ends[whole] == cut ? ""
                                                 : "read capture" + place +
                                                       ": Bad message: the file ends here, within a record: it is cut, "
                                                       "or still being written");
    }
  }
}

TEST_F(damage_test, does_not_believe_lengths) {
  const auto before = [] { return std::move(capture_bytes().section().interface(101, "eth0").packet(udp4(1))); };
  const auto with_length = [&](std::uint32_t type, std::uint32_t first, std::uint32_t second) {
    return before().add(type).add(first).add_text(std::string(16, '\0')).add(second).data;
  };
  capture_bytes greedy, huge, lonely, odd_time;
  greedy.add<std::uint32_t>(0).add<std::uint64_t>(0).add<std::uint32_t>(100).add<std::uint32_t>(100).add_text("1234");
  huge.add<std::uint32_t>(0).add<std::uint64_t>(0).add<std::uint32_t>(262'145).add<std::uint32_t>(0);
  lonely.add<std::uint32_t>(1).add<std::uint64_t>(0).add<std::uint64_t>(0);
  const auto many_names = [] {
    capture_bytes made;
    made.section();
    for (int i = 0; i < 65'537; ++i) made.interface(101, "");
    return made.data;
  };
  const std::vector<std::pair<std::string, std::string>> all{
      {with_length(9, 11, 11), "a block with an impossible length"},
      {with_length(9, 29, 29), "a block with an impossible length"},
      {with_length(9, 28, 32), "a block whose two lengths differ"},
      {with_length(6, 0x7ffffffc, 0), "a packet or interface of more than 1 MiB"},
      {with_length(9, 0x7ffffffc, 0), "the file ends here, within a block: it is cut, or still being written"},
      {before().block(6, "short...").data, "a packet block that is too short"},
      {before().block(6, greedy.data).data, "the packet says that it has more bytes than its block"},
      {before().block(6, huge.data).data, "the packet says that it has more than 262144 bytes"},
      {before().block(6, lonely.data).data, "a packet of an interface that was not described"},
      {before().block(3, "").data, "a packet block that is too short"},
      {before().block(1, "1234").data, "an interface block that is too short"},
      {before().interface(101, "", odd_time.option(9, std::string(1, 20))).data,
       "an interface whose unit of time is too small to count in"},
      {before().block(0x0a0d0d0a, std::string(16, '\0')).data, "a section without its byte order magic"},
      {before().add_text(many_names()).data, "more than 65536 interfaces"},
      {before().section().packet(udp4(1)).data, "a packet of an interface that was not described"},
      {capture_bytes().pcap(101).frame(udp4(1)).add<std::uint64_t>(0).add<std::uint64_t>(262'145).data,
       "the packet says that it has more than 262144 bytes"},
  };
  for (const auto& [bytes, why] : all) {
    const auto made = read(bytes);
    EXPECT_EQ(made.packets, 1u) << why;
    EXPECT_TRUE(made.message.ends_with(": Bad message: " + why)) << why << "\nand not\n" << made.message;
    EXPECT_TRUE(made.message.starts_with("read capture, packet 2 at byte ")) << made.message;
  }
  EXPECT_EQ(read(capture_bytes().section().packet(udp4(1)).data.substr(28)).packets, 0u);
}

TEST_F(damage_test, takes_empty_packets_and_those_of_256_kib) {
  capture_bytes file;
  const std::string large = udp4(10) + std::string(262'144 - 38, 'x');
  file.pcap(101).frame("").frame(large).frame(udp4(1));
  auto from = capture_reader::open(folder.write("capture", file.data));
  std::vector<std::size_t> sizes;
  ASSERT_TRUE(serve(*from, [&](const packet& each) {
    sizes.push_back(each.payload.size());
    return verdict::accept();
  }));
  EXPECT_EQ(sizes, (std::vector<std::size_t>{38, 29}));
  EXPECT_EQ(from->counts().not_ip, 1u);
}

TEST_F(damage_test, passes_over_interfaces_of_unknown_link_types_unless_there_is_nothing_else) {
  capture_bytes file;
  file.section().interface(253, "nlmon0").interface(101, "tun0").packet("netlink", 0).packet(udp4(1), 1);
  auto from = capture_reader::open(folder.write("capture", file.data));
  ASSERT_TRUE(serve(*from, [](const packet&) { return verdict::accept(); }));
  EXPECT_EQ(from->stats().received, 1u);
  EXPECT_EQ(from->counts().unknown_link, 1u);
  file = capture_bytes().section().interface(253, "nlmon0").interface(77);
  const std::string place = "read capture, packet 1 at byte " + std::to_string(file.data.size());
  const auto only = read(file.packet("netlink").packet("more", 1).data);
  EXPECT_TRUE(only.message.starts_with(place + ": Protocol not supported: link type 253 (netlink) ")) << only.message;
}

TEST_F(damage_test, tells_of_packed_data_that_is_cut_or_damaged_behind_all_that_is_good) {
  capture_bytes file;
  file.pcap(101);
  std::mt19937 random(1);
  for (unsigned i = 0; i < 4000; ++i) file.frame(udp4(200, static_cast<char>(random())), i);
  folder.write("plain", file.data);
  for (const std::string pack : {"gzip", "zstd -q"}) {
    const std::string command = pack + " -c " + (folder / "plain") + " >" + (folder / "packed");
    if (std::system(command.c_str()) != 0) GTEST_SKIP() << "there is no " << pack;
    const std::string packed = folder.read("packed");
    const auto cut = read(packed.substr(0, packed.size() - 5));
    EXPECT_GT(cut.packets, 3000u);
    EXPECT_TRUE(cut.message.starts_with("read capture, packet " + std::to_string(cut.packets + 1) + " at byte "));
    EXPECT_TRUE(cut.message.ends_with("Bad message: the packed data is cut")) << cut.message;
    const auto trailing = read(packed + "trailing");
    EXPECT_EQ(trailing.packets, 4000u);
    EXPECT_NE(trailing.message.find("data is damaged"), std::string::npos) << trailing.message;
  }
}

// Of a window of 128 MiB and of one above: a frame with nothing in it, whose size is not said.
TEST_F(damage_test, tells_of_zstandard_that_takes_too_much_memory_what_to_do) {
  const auto frame = [](char window) { return "\x28\xb5\x2f\xfd" + std::string{0, window, 1, 0, 0}; };
  EXPECT_EQ(read(frame('\x88')).message, "read capture: Bad message: it is empty");
  EXPECT_EQ(
      read(frame('\x90')).message,
      "read capture: Protocol not supported: Zstandard with a window of over 128 MiB; unpack it: zstd -d --long=31");
}

TEST_F(damage_test, a_file_that_grows_or_shrinks_while_it_is_read_is_read_as_far_as_it_goes) {
  capture_bytes file;
  file.pcap(101);
  for (unsigned i = 0; i < 2000; ++i) file.frame(udp4(1000), i);
  const std::string path = folder.write("capture", file.data);
  auto growing = capture_reader::open(path);
  ASSERT_EQ(growing->receive()->size(), 64u);
  std::ofstream(path, std::ios::app | std::ios::binary) << capture_bytes().frame(udp4(7)).data;
  std::uint64_t count = 0;
  const auto counting = [&](const packet&) {
    ++count;
    return verdict::accept();
  };
  EXPECT_TRUE(serve(*growing, counting));
  EXPECT_EQ(count, 2001u - 64);
  auto shrinking = capture_reader::open(path);
  std::filesystem::resize_file(path, 24 + 1000 * (16 + 1028) + 1);
  count = 0;
  const auto ended = serve(*shrinking, counting);
  ASSERT_FALSE(ended);
  EXPECT_EQ(count, 1000u);
  EXPECT_EQ(ended.error().packet, 1001u) << ended.error().message();
}

TEST_F(damage_test, a_file_that_is_overwritten_while_it_is_read_gives_what_was_read_and_the_place_of_the_rest) {
  constexpr std::size_t record = 16 + 1028;
  capture_bytes file;
  file.pcap(101);
  for (unsigned i = 0; i < 2000; ++i) file.frame(udp4(1000), i);
  const std::string path = folder.write("capture", file.data);
  auto from = capture_reader::open(path);
  ASSERT_EQ(from->receive()->size(), 64u);
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp(24 + 1500 * record)
      << std::string(500 * record, '\xff');
  std::uint64_t count = 64;
  const auto ended = serve(*from, [&](const packet& each) {
    EXPECT_EQ(each.payload.size(), 1028u);
    ++count;
    return verdict::accept();
  });
  ASSERT_FALSE(ended);
  EXPECT_EQ(count, 1500u);
  EXPECT_EQ(ended.error().message(), "read capture, packet 1501 at byte " + std::to_string(24 + 1500 * record) +
                                         ": Bad message: the packet says that it has more than 262144 bytes");
}

TEST_F(damage_test, reads_any_bytes_without_reading_beyond_them) {
  // Under AddressSanitizer this is the test that looks for what the ones above did not think of; ThreadSanitizer sees
  // one thread, slowly.
#ifdef __SANITIZE_THREAD__
  constexpr int rounds = 250;
#else
  constexpr int rounds = 5000;
#endif
  std::vector<std::string> seeds;
  for (const bool swapped : {false, true}) {
    capture_bytes plain(swapped), cooked(swapped), blocks(swapped), null(swapped);
    plain.pcap(1).frame(ethernet(0x0800, {0x81000001, 0x81000002}) + udp4(4)).frame(ethernet(0x86dd) + udp6(4));
    cooked.pcap(276).frame(std::string("\x08\0\0\0\0\0\0\3\0\1\0\6abcdefgh", 20) + udp4(4));
    null.pcap(0).frame(capture_bytes(swapped).add<std::uint32_t>(2).data + udp4(4));
    const std::string note = blocks.option(
        1, "verdict queue 3 bypass, mark 0x1, changed, id 17, hook output, in a%2cb, uid 0, from 02:00, took 31 us");
    blocks.section().interface(1, "eth0", blocks.option(14, "12345678")).interface(276);
    blocks.packet(ethernet(0x0800) + udp4(4), 0, 1, 0, note);
    blocks.packet(ethernet(0x0800) + udp4(9), 0, 1, 0, blocks.option(1, "replaced by the verdict, id 17"));
    blocks.block(3, std::string("\0\0\0\1\0\0\0\0", 8)).block(2, std::string(24, '\0'));
    for (const auto* each : {&plain, &cooked, &null, &blocks}) seeds.push_back(each->data);
  }
  std::mt19937 random(20'000);
  std::uint64_t packets = 0;
  for (int round = 0; round < rounds; ++round) {
    std::string bytes = seeds[random() % seeds.size()];
    for (auto changes = random() % 4 + 1; changes != 0; --changes) {
      const std::size_t at = random() % bytes.size();
      switch (random() % 4) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ 1 << random() % 8);
          break;
        case 2:
          bytes.resize(at + 1);
          break;
        default:
          bytes.insert(at, bytes.substr(0, random() % 40));
      }
    }
    std::filesystem::remove(folder / "passed");
    auto from = capture_reader::open(folder.write("capture", bytes), {.passed = folder / "passed"});
    if (!from) continue;
    static_cast<void>(serve(*from, [&](const packet& each) {
      ++packets;
      unsigned sum = 0;
      for (const auto part : {each.payload, each.l2_header}) {
        for (const std::byte byte : part) sum += static_cast<unsigned>(byte);
      }
      EXPECT_LE(each.payload.size(), each.original_length);
      EXPECT_EQ(each.truncated, each.payload.size() < each.original_length);
      static_cast<void>(decode(each.payload));
      const auto* about = from->frame_of(each);
      EXPECT_NE(about, nullptr);
      if (!about->recorded) return sum % 2 == 0 ? verdict::accept() : verdict::drop();
      for (const std::byte byte : about->recorded->given.payload()) sum += static_cast<unsigned>(byte);
      return sum == 0 ? verdict::drop() : about->recorded->given;
    }));
  }
  EXPECT_GT(packets, rounds * 3u / 10) << "the damage leaves something to read";
}

}  // namespace
}  // namespace ipq
