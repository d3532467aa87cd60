// SPDX-License-Identifier: MIT
// Writes the first inputs of every fuzz target: recorded messages of a kernel, packets of every protocol, and scripts
// of edits and calls. usage: fuzz_seeds FOLDER
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "../tests/data/message_bytes.hpp"
#include "../tests/data/recorded.hpp"

namespace {

using test_data::be16;
using test_data::be32;
using test_data::byte_vector;
using test_data::bytes_of;
using test_data::message_bytes;

std::filesystem::path folder;

byte_vector joined(std::initializer_list<byte_vector> parts) {
  byte_vector whole;
  for (const auto& part : parts) whole.insert(whole.end(), part.begin(), part.end());
  return whole;
}

byte_vector zeros(std::size_t count) {
  return byte_vector(count);
}

unsigned length_of(const byte_vector& bytes) {
  return static_cast<unsigned>(bytes.size());
}

void write(const std::string& target, const std::string& name, const byte_vector& content) {
  std::filesystem::create_directories(folder / target);
  std::ofstream file(folder / target / name, std::ios::binary);
  file.write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
  if (!file.flush()) throw std::runtime_error("can't write " + (folder / target / name).string());
}

/// A packet message with every attribute there is.
byte_vector complete_message() {
  const byte_vector tag = message_bytes(0, 0).attribute(2, be16(42)).attribute(1, be16(0x8100)).done();
  return message_bytes::packet(7, 3, 99, 0x0800, 2)
      .attribute(7, be32(3))
      .attribute(5, be32(2))
      .attribute(8, be32(4))
      .attribute(6, be32(2))
      .attribute(3, be32(0x1234))
      .attribute(21, be32(6))
      .attribute(9, be16(6), be16(0), bytes_of({2, 0, 0, 0, 0, 1, 0, 0}))
      .attribute(0x8000 | 19, std::span(tag).subspan(16))
      .attribute(20, byte_vector(14, std::byte{0x22}))
      .attribute(4, test_data::be64(1'700'000'000), test_data::be64(123'456))
      .attribute(16, be32(1000))
      .attribute(17, be32(100))
      .attribute(22, be32(0x10001))
      .attribute(18, bytes_of("context"))
      .attribute(0x8000 | 11, bytes_of({8, 0, 8, 0, 0, 0, 0, 7}))
      .attribute(12, be32(2))
      .attribute(13, be32(1500))
      .attribute(14, be32(5))
      .attribute(10, byte_vector(61, std::byte{0x33}))
      .done();
}

void write_messages() {
  std::vector<std::pair<std::string, byte_vector>> messages{{"complete", complete_message()}};
  for (const std::string prefix : {"packet_", "error_", "link_"}) {
    for (const auto& name : test_data::recordings(prefix)) messages.emplace_back(name, test_data::recorded(name));
  }
  for (const auto& [name, bytes] : messages) {
    write("messages", name, joined({bytes_of({7}), bytes}));
    if (!name.starts_with("link_")) write("translation", name, joined({byte_vector(48, std::byte{'e'}), bytes}));
    if (name.starts_with("packet_") || name == "complete") write("decoder", name, bytes);
  }
}

// ---- packets: lengths are right, checksums are not, which no view looks at and edits keep as they are

byte_vector ipv4(unsigned protocol, const byte_vector& rest, unsigned fragment = 0, const byte_vector& options = {}) {
  const unsigned header = 20 + static_cast<unsigned>(options.size());
  return joined({bytes_of({0x40 | header / 4, 0}), be16(static_cast<std::uint16_t>(header + rest.size())), be16(7),
                 be16(static_cast<std::uint16_t>(fragment)),
                 bytes_of({64, protocol, 0x12, 0x34, 192, 0, 2, 1, 192, 0, 2, 2}), options, rest});
}

byte_vector ipv6(unsigned next, const byte_vector& rest) {
  return joined({bytes_of({0x60, 0, 0, 0}), be16(static_cast<std::uint16_t>(rest.size())), bytes_of({next, 64}),
                 byte_vector(16, std::byte{0x20}), byte_vector(16, std::byte{0x21}), rest});
}

std::vector<std::pair<std::string, byte_vector>> packets() {
  const byte_vector data = bytes_of("some payload");
  const byte_vector tcp =
      joined({be16(5000), be16(80), be32(1), be32(2), bytes_of({0x70, 2, 0x20, 0, 0x56, 0x78, 0, 0}),
              bytes_of({2, 4, 5, 0xb4, 1, 3, 3, 7}), data});
  const byte_vector udp = joined({be16(5000), be16(53), be16(20), be16(0x9abc), data});
  const byte_vector udp_without = joined({be16(5000), be16(53), be16(20), be16(0), data});
  const byte_vector echo = joined({bytes_of({8, 0, 0x11, 0x22, 0, 1, 0, 2}), data});
  const byte_vector echo6 = joined({bytes_of({128, 0, 0x11, 0x22, 0, 1, 0, 2}), data});
  const byte_vector error = joined({bytes_of({3, 3, 0x11, 0x22, 0, 0, 0, 0}), ipv4(17, udp)});
  const byte_vector hop = bytes_of({60, 0, 5, 2, 0, 0, 1, 0}), options = bytes_of({6, 0, 0xc9, 2, 1, 1, 1, 0});
  const byte_vector routing = joined({bytes_of({17, 2, 0, 1, 0, 0, 0, 0}), zeros(16)});
  return {{"ipv4_tcp", ipv4(6, tcp)},
          {"ipv4_udp", ipv4(17, udp)},
          {"ipv4_udp_without_checksum", ipv4(17, udp_without)},
          {"ipv4_icmp", ipv4(1, echo)},
          {"ipv4_icmp_error", ipv4(1, error)},
          {"ipv4_first_fragment", ipv4(17, udp, 0x2000)},
          {"ipv4_later_fragment", ipv4(17, udp, 0x0010)},
          {"ipv4_source_route", ipv4(6, tcp, 0, bytes_of({131, 7, 4, 192, 0, 2, 9, 0}))},
          {"ipv4_udp_lite", ipv4(136, udp)},
          {"ipv4_esp", ipv4(50, data)},
          {"ipv6_tcp", ipv6(6, tcp)},
          {"ipv6_udp", ipv6(17, udp)},
          {"ipv6_udp_without_checksum", ipv6(17, udp_without)},
          {"ipv6_icmp", ipv6(58, echo6)},
          {"ipv6_extensions", ipv6(0, joined({hop, options, tcp}))},
          {"ipv6_routing", ipv6(43, joined({routing, udp}))},
          {"ipv6_first_fragment", ipv6(44, joined({bytes_of({17, 0, 0, 1, 0, 0, 0, 9}), udp}))},
          {"ipv6_later_fragment", ipv6(44, joined({bytes_of({17, 0, 0, 8, 0, 0, 0, 9}), udp}))},
          {"ipv6_atomic_fragment", ipv6(44, joined({bytes_of({17, 0, 0, 0, 0, 0, 0, 9}), udp}))},
          {"ipv6_authenticated", ipv6(51, joined({bytes_of({6, 2, 0, 0}), zeros(12), tcp}))}};
}

void write_packets() {
  // Scripts of edits, at most 31 bytes each: see edits.cpp for the numbers.
  const std::vector<byte_vector> scripts{
      {},
      bytes_of({0, 10, 1, 2, 3, 1, 10, 4, 5, 6, 4, 1, 5, 9, 6, 2, 7, 1, 8, 0xab, 0xcd}),
      bytes_of({2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 9, 0, 80, 10, 1, 2}),
      bytes_of({9, 1, 2, 10, 3, 4, 11, 16, 12, 1, 2, 3, 4, 13, 5, 6, 7, 8, 14, 1, 0, 15, 100, 0, 16, 1, 2}),
      bytes_of({17, 0, 9, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9}),
      bytes_of({17, 2, 5, 1, 1, 17, 1, 3, 0, 0, 7, 8, 9, 17, 0, 0, 0, 1}),
      bytes_of({17, 1, 4, 1, 0, 5, 69, 6, 4, 4, 0}),
  };
  for (const auto& [name, bytes] : packets()) {
    write("views", name, bytes);
    write("checksums", name, joined({bytes_of({3, 21, 4, 6, 1, 2, 3, 4, 5, 6}), bytes}));
    for (std::size_t i = 0; i < scripts.size(); ++i) {
      write("edits", name + "_" + std::to_string(i),
            joined({bytes_of({length_of(scripts[i]) << 3}), scripts[i], bytes}));
    }
    write("edits", name + "_not_ready", joined({bytes_of({length_of(scripts[4]) << 3 | 1}), scripts[4], bytes}));
    write("edits", name + "_pseudo_sum", joined({bytes_of({length_of(scripts[4]) << 3 | 5}), scripts[4], bytes}));
    write("edits", name + "_gso", joined({bytes_of({length_of(scripts[5]) << 3 | 2}), scripts[5], bytes}));
  }
}

void write_texts() {
  for (const std::string text :
       {"192.0.2.1", "0.0.0.0", "255.255.255.255", "1.2.3", "01.2.3.4", "::", "::1", "2001:db8::1", "::ffff:192.0.2.1",
        "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:1.2.3.4", "1::2::3", "fe80::1%lo"}) {
    write("addresses", std::to_string(std::hash<std::string>{}(text) % 10'000'000), bytes_of(text));
  }
  write("addresses", "bytes_ipv6", byte_vector(16, std::byte{0}));
  write("addresses", "bytes_ipv4", bytes_of({192, 0, 2, 1}));
  write("counters", "two_queues",
        bytes_of("    0   4711    12 2 65531     3     4      100  1\n65535 4294967295 0 255 4294967295 0 0 0  1\n"));
  write("counters", "sockets",
        bytes_of("sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode\n"
                 "0000000000000000 12 812 00000000 0 0 0 2 0 4711\n"
                 "0000000000000000 0 0 00000000 0 0 0 2 0 4712\n"));
  write("counters", "damaged", bytes_of("0 1 2 1 0 0 0 9x\n\n-1 0\n7 2 0 1 0 0 0 0 1 more\n"));
  const auto value = [](std::string_view text) {
    return joined({bytes_of({static_cast<unsigned>(text.size())}), bytes_of(text)});
  };
  write("settings", "all",
        joined({bytes_of({31}), value("7"), value("65535"), value("1048576"), value("1"), value("0")}));
  write("settings", "none", bytes_of({0}));
  write("settings", "empty", bytes_of({31, 0, 0, 0, 0, 0}));
  write("settings", "beyond",
        joined({bytes_of({31}), value("65536"), value("-1"), value("1048577"), value("2"), value("01")}));
  write("settings", "words",
        joined({bytes_of({5}), value("0x10"), value("99999999999999999999999999999999999999999999 x")}));
}

void write_requests() {
  for (unsigned invalid = 0; invalid < 2; ++invalid) {
    write("requests", "verdict_" + std::to_string(invalid),
          joined({bytes_of({0}), be16(5), be32(77), be32(invalid << 16 | 1), bytes_of({invalid, 1}), be32(9),
                  bytes_of("a new payload")}));
    write("requests", "note_of_verdict_" + std::to_string(invalid),
          joined({bytes_of({2, invalid, 1}), be32(0xffffffff), bytes_of({invalid * 9, 0, 0, 0}), be32(0x12345678),
                  bytes_of({1})}));
    write("requests", "note_of_mode_" + std::to_string(invalid),
          joined({bytes_of({2, 1, 0, invalid, 2}), be32(65531), bytes_of({1}), be32(0x000fffff)}));
  }
  write("requests", "config",
        joined({bytes_of({1}), be16(0), bytes_of({1, 1, 1, 2}), be32(65531), bytes_of({1}), be32(1024)}));
}

void write_handles() {
  // See handles.cpp for the numbers: 0 mode, 1 packet, 2 datagram, 3 read, 5 verdict, 6 the other family, 7 and 8
  // interfaces.
  const byte_vector mode = bytes_of({0, 2, 0xff, 0xff});
  const byte_vector interface = bytes_of({8, 0, 3, 1, 0});
  const byte_vector packet = joined({bytes_of({1, 1, 1, 7, 0, 0, 0, 1, 0, 16}), byte_vector(16, std::byte{0x45})});
  const byte_vector packet_ipv6 = joined({bytes_of({1, 0, 1, 7, 0, 0, 0, 1, 0, 16}), byte_vector(16, std::byte{0x60})});
  const byte_vector read = bytes_of({3, 0, 8}), read_little = bytes_of({3, 30, 0});
  const byte_vector accept = bytes_of({5, 1, 1, 1, 0, 0}), again = bytes_of({5, 1, 1, 0, 1, 9, 0, 0, 0, 0});
  const byte_vector invalid = bytes_of({5, 1, 0, 77, 0, 0, 0, 0, 0});
  const byte_vector replaced = joined({bytes_of({5, 1, 1, 1, 0, 24}), byte_vector(24, std::byte{0x45})});
  write("handles", "one_packet", joined({mode, interface, packet, read, accept, read}));
  write("handles", "replaced", joined({mode, packet, read, replaced, again, read, read}));
  write("handles", "little_room", joined({mode, packet, read_little, packet, read, bytes_of({3, 4, 0})}));
  write("handles", "refusals", joined({bytes_of({0, 3, 0, 0}), read, mode, invalid, again, read, read}));
  write("handles", "two_families",
        joined({mode, bytes_of({6, 0}), bytes_of({0, 1, 2, 0, 1}), packet, packet_ipv6, bytes_of({3, 0, 8, 1}), accept,
                read}));
  write("handles", "wrong_family", joined({mode, packet_ipv6, read}));
  for (const auto& name : test_data::recordings("error_")) {
    const auto bytes = test_data::recorded(name);
    if (bytes.size() > 255) continue;
    write("handles", name, joined({mode, bytes_of({2, length_of(bytes)}), bytes, read}));
  }
  for (const auto& name : test_data::recordings("packet_")) {
    const auto bytes = test_data::recorded(name);
    if (bytes.size() > 255) continue;
    write("handles", name, joined({mode, interface, bytes_of({2, length_of(bytes)}), bytes, read, accept}));
  }
  const byte_vector lie =
      message_bytes(16, 0).raw(zeros(16)).attribute(3, bytes_of("a_name_much_too_long_for_it")).done();
  write("handles", "link_lies",
        joined({mode, bytes_of({7, length_of(lie)}), lie, packet, read, bytes_of({7, 3, 1, 2, 3}), packet, read}));
}

byte_vector little(std::uint32_t value) {
  return bytes_of({value & 0xff, value >> 8 & 0xff, value >> 16 & 0xff, value >> 24});
}

byte_vector padded(byte_vector bytes) {
  while (bytes.size() % 4 != 0) bytes.push_back({});
  return bytes;
}

// A capture of the older format: seconds and microseconds, lengths, frames.
byte_vector pcap(unsigned link_type, const std::vector<byte_vector>& frames, bool big_endian = false) {
  const auto number = [&](std::uint32_t value) { return big_endian ? be32(value) : little(value); };
  const auto version = big_endian ? bytes_of({0, 2, 0, 4}) : bytes_of({2, 0, 4, 0});
  byte_vector file = joined({number(0xa1b2c3d4), version, zeros(8), number(65535), number(link_type)});
  for (const auto& each : frames) {
    const auto length = number(length_of(each));
    file = joined({file, number(1'700'000'000), number(123'456), length, length, each});
  }
  return file;
}

byte_vector pcapng_block(unsigned type, const byte_vector& body) {
  const byte_vector length = little(length_of(padded(body)) + 12);
  return joined({little(type), length, padded(body), length});
}

byte_vector pcapng_begin() {
  return joined(
      {pcapng_block(0x0a0d0d0a,
                    joined({bytes_of({0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0}), byte_vector(8, std::byte{0xff})})),
       pcapng_block(1, joined({bytes_of({101, 0, 0, 0}), zeros(4), bytes_of({2, 0, 4, 0}), bytes_of("eth0")}))});
}

byte_vector pcapng_packet(const byte_vector& frame, const char* comment) {
  const byte_vector text = bytes_of(comment), size = little(length_of(frame));
  const byte_vector note = joined({bytes_of({1, 0, length_of(text), 0}), padded(text)});
  return pcapng_block(6, joined({zeros(12), size, size, padded(frame), note, zeros(4)}));
}

byte_vector pcapng(const byte_vector& frame) {
  return joined({pcapng_begin(), pcapng_packet(frame, "verdict drop, id 17, hook output, in eth0, took 31 us"),
                 pcapng_block(3, joined({little(length_of(frame)), padded(frame)}))});
}

// Packed without being made smaller: one block, as it is.
byte_vector in_gzip(const byte_vector& content) {
  std::uint32_t sum = ~0u;
  for (const std::byte each : content) {
    sum ^= std::to_integer<std::uint32_t>(each);
    for (int bit = 0; bit < 8; ++bit) sum = sum >> 1 ^ ((sum & 1) != 0 ? 0xedb88320 : 0);
  }
  const auto length = length_of(content);
  return joined({bytes_of({0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1}),
                 bytes_of({length & 0xff, length >> 8, ~length & 0xff, ~length >> 8 & 0xff}), content, little(~sum),
                 little(length)});
}

byte_vector in_zstandard(const byte_vector& content) {
  const auto length = length_of(content), block = length << 3 | 1;
  return joined({bytes_of({0x28, 0xb5, 0x2f, 0xfd, 0xa0}), little(length),
                 bytes_of({block & 0xff, block >> 8 & 0xff, block >> 16}), content});
}

void write_captures() {
  std::vector<byte_vector> all, framed, tagged, cooked, cooked_2, null;
  for (const auto& [name, bytes] : packets()) {
    all.push_back(bytes);
    const bool is_ipv4 = name.starts_with("ipv4");
    const byte_vector type = is_ipv4 ? be16(0x0800) : be16(0x86dd);
    framed.push_back(joined({zeros(12), type, bytes}));
    tagged.push_back(joined({zeros(12), be16(0x88a8), be16(7), be16(0x8100), be16(9), type, bytes}));
    cooked.push_back(joined({be16(0), be16(1), be16(6), zeros(8), be16(0x8100), be16(9), type, bytes}));
    cooked_2.push_back(joined({type, zeros(2), be32(3), be16(1), bytes_of({0, 6}), zeros(8), bytes}));
    null.push_back(joined({little(is_ipv4 ? 2 : 30), bytes}));
    write("captures", "pcapng_" + name, pcapng(bytes));
  }
  write("captures", "pcap_raw", pcap(101, all));
  write("captures", "pcap_ethernet", pcap(1, framed));
  write("captures", "pcap_vlan", pcap(1, tagged));
  write("captures", "pcap_cooked", pcap(113, cooked));
  write("captures", "pcap_cooked_2", pcap(276, cooked_2));
  write("captures", "pcap_null", pcap(0, null));
  write("captures", "pcap_big_endian", pcap(101, all, true));
  write("captures", "pcap_gzip", in_gzip(pcap(101, all)));
  write("captures", "pcap_zstandard", in_zstandard(pcap(101, all)));
  write("captures", "pcap_unknown_link", pcap(147, all));
  write("captures", "pcap_empty", pcap(1, {}));
  write("captures", "pcapng_changed",
        joined({pcapng_begin(),
                pcapng_packet(all[0], "verdict accept, connmark 0x3/0xf, changed, id 17, vlan 0x8100/0x9"),
                pcapng_packet(all[1], "replaced by the verdict, id 17"),
                pcapng_packet(all[2], "verdict drop, id 18, family 7")}));
}

// See capture_handles.cpp: calls, and the file.
void write_capture_handles() {
  const byte_vector mode = bytes_of({0, 2, 0, 0}), second = bytes_of({5});
  const byte_vector read = bytes_of({1, 0xff, 0xff}), accept = bytes_of({3, 1, 1, 1, 0, 0});
  const byte_vector change = joined({bytes_of({3, 1, 1, 1, 1}), be32(7), bytes_of({24, 0x45}), byte_vector(23)});
  const byte_vector alone = joined({mode, read, accept, read, change, read, bytes_of({3, 1, 1, 0, 0, 0}), read, accept,
                                    accept, read, bytes_of({3, 1, 1, 3, 0, 0}), read});
  const byte_vector both =
      joined({mode, second, bytes_of({0, 1, 2, 0, 0}), bytes_of({1, 1, 0xff, 0xff}), bytes_of({3, 1, 1, 1, 1, 0, 0}),
              bytes_of({1, 0, 0xff, 0xff}), bytes_of({3, 0, 1, 1, 4, 0, 0}), bytes_of({1, 1, 0xff, 0xff})});
  std::vector<byte_vector> all;
  for (const auto& [name, bytes] : packets()) all.push_back(bytes);
  for (const auto& [name, calls] : {std::pair{"alone", alone}, {"both", both}}) {
    for (const bool big_endian : {false, true}) {
      write("capture_handles", std::string(name) + (big_endian ? "_big_endian" : ""),
            joined({bytes_of({length_of(calls)}), calls, pcap(101, all, big_endian)}));
    }
  }
  write("capture_handles", "pcapng", joined({bytes_of({length_of(alone)}), alone, pcapng(all[0])}));
}

void write_recordings() {
  // See recordings.cpp: names of interfaces; then of each packet its facts, bytes, link header, verdict, replacement
  // and times.
  const byte_vector names = joined({bytes_of({4}), bytes_of("eth0"), bytes_of({3}), bytes_of("a,%"), zeros(2)});
  const byte_vector number = bytes_of({1, 2, 3, 4}), noted = joined({bytes_of({1}), number});
  const byte_vector facts = joined({number, bytes_of({5, 0, 2}), number, number, bytes_of({1, 2, 3, 4}), noted, noted,
                                    noted, noted, bytes_of({1, 1, 1})});
  const byte_vector plain_facts = zeros(4 + 3 + 8 + 4 + 4 + 3);
  const byte_vector link = joined({bytes_of({1}), byte_vector(12, std::byte{2})}), no_link = bytes_of({0, 3, 7, 8, 9});
  const byte_vector tag = bytes_of({1, 0x00, 0x81, 9, 0}), no_tag = zeros(1);
  const byte_vector verdict = joined({bytes_of({4, 0, 1, 4}), noted, noted, noted, noted, number});
  const byte_vector plain_verdict = zeros(3 + 1 + 4), times = joined({number, number, bytes_of({1}), number, number});
  for (const auto& [name, bytes] : packets()) {
    if (bytes.size() > 255) continue;
    const byte_vector packet = joined({bytes_of({name.starts_with("ipv6"), 0, length_of(bytes)}), bytes, zeros(1)});
    const byte_vector cut = joined({bytes_of({name.starts_with("ipv6"), 1, 30}), byte_vector(30), bytes_of({200})});
    write("recordings", name,
          joined({names,
                  facts,
                  packet,
                  link,
                  tag,
                  verdict,
                  bytes_of({50}),
                  byte_vector(50, std::byte{0x45}),
                  times,
                  plain_facts,
                  cut,
                  no_link,
                  tag,
                  plain_verdict,
                  zeros(1),
                  times,
                  plain_facts,
                  packet,
                  no_link,
                  no_tag,
                  plain_verdict}));
  }
}

void write_rules() {
  const std::vector<std::string> rules{
      "accept",
      "drop : udp port 53",
      "mark 0x10/0xf0, connmark 3, priority 9, continue : [indev=eth0 hook=output mark=0x1/0xff uid=1000] tcp",
      "queue 5 bypass : (host 192.0.2.1 or port 80) and not icmp",
      "log \"a\\x00\\n\", count web, record \"out put.pcap\" : net 10.0.0.0/8",
      "set src 192.0.2.1, set dst 192.0.2.9, set sport 1, set dport 2, set ttl 3, set dscp 4 : ip",
      "set src 2001:db8::1, set ttl 9, continue : ip6",
      "replace \"abc\" with \"\\xffbc\" : udp",
      "delay 50ms jitter 10ms, loss 10%, duplicate 50%, corrupt 50%, reorder 5% within 20ms, rate 1.5 Mbit/s within 1s",
      "drop : (src @none or dst host @none) and not icmp and tcp[tcpflags] & tcp-syn != 0",
      "set ttl 1 : [family=ipv6 physindev=port* physoutdev!=p queue=7 gid=5] udp[8:2] = 0x6162 or vlan 3",
      "log, count a, continue : src host 192.0.2.1 or dst net 2001:db8::/32\nduplicate 1% : src port 9 or ether[0] & 1 "
      "= 1",
      "priority 1, queue 3 : (udp or tcp) and src port 5000 and not dst portrange 1-9 and greater 60 and ip[8] < 5",
      "mark 1, repeat : portrange 1-1024 or ip proto \\tcp # comment\nstop : less 40\ncount rest, drop"};
  const auto traffic = packets();
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const auto length = bytes_of({length_of(bytes_of(rules[i])), 0});
    write("rules", "rule_" + std::to_string(i),
          joined({length, bytes_of(rules[i]), bytes_of({0x10}), traffic[i % traffic.size()].second}));
  }
}

void write_filters() {
  // See filters.cpp: each expression is a shape, and for a primitive direction, kind and values.
  const byte_vector udp_53 = bytes_of({0, 2, 0, 2, 53, 0}), any_80 = bytes_of({0, 0, 1, 0, 80, 0});
  const byte_vector range = bytes_of({0, 1, 2, 0x88, 0x13, 5}), host = bytes_of({0, 1, 3, 0, 0, 7, 0});
  const byte_vector not_icmp = bytes_of({3, 0, 0, 6, 1}), both = joined({bytes_of({4}), udp_53, range});
  const byte_vector either = joined({bytes_of({5}), host, any_80}), flags = bytes_of({0, 0, 11, 2, 0});
  for (const auto& [name, bytes] : packets()) {
    write("filters", name, joined({bytes_of({7}), both, udp_53, any_80, range, either, not_icmp, host, flags, bytes}));
  }
}

void write_firewall() {
  const std::string saved =
      "*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p udp -m udp --dport 53 -m comment --comment \"ipq:1:2\" -j NFQUEUE "
      "--queue-num 3\n-A INPUT -j NFQUEUE --queue-balance 4:7 --queue-bypass --queue-cpu-fanout\nCOMMIT\n"
      "*filter\n-A INPUT -m comment --comment \"a \\\"b\\\" \\\\ c\" -j QUEUE\nCOMMIT\n";
  write("firewall", "saved_rules", bytes_of(saved));
  const std::string ruleset =
      "{\"nftables\": [{\"rule\": {\"family\": \"inet\", \"table\": \"ipq\", \"chain\": \"output\", \"handle\": 3, "
      "\"expr\": [{\"queue\": {\"num\": {\"range\": [4, 7]}, \"flags\": [\"bypass\", \"fanout\"]}}]}}, {\"rule\": "
      "{\"expr\": [{\"queue\": {\"num\": 9, \"flags\": \"bypass\"}}, {\"queue\": null}]}}]}";
  const std::string listing =
      "table inet ipq { # handle 2\n\tchain output { # handle 1\n\t\tudp dport 53 queue to 4-7 # handle 3\n\t}\n}\n";
  write("firewall", "nft_ruleset", joined({bytes_of(ruleset), bytes_of({0}), bytes_of(listing)}));
  const std::vector<std::string> matches{
      "udp dport 53", "tcp dport { 80, 443, 1000-2000 } tcp flags & (syn|ack) == syn",
      "ip saddr 192.0.2.0/24 ip daddr != 192.0.2.7-192.0.2.9 icmp type echo-request",
      "ip6 saddr 2001:db8::1 meta l4proto { tcp, udp } th dport 53 iifname \"eth*\" oif != lo",
      "ct state new,established ct mark 7 meta mark & 0xff == 0x1 meta skuid 1000 meta length 100-200 counter"};
  for (std::size_t i = 0; i < matches.size(); ++i) {
    write("firewall", "match_" + std::to_string(i), bytes_of(matches[i]));
  }
}

void write_queues() {
  // See queues.cpp: 0 a packet, 2 receive, 3 decide, 4 hold, 5 release, 6 flush, 7 any bytes.
  const byte_vector begin = bytes_of({1, 1, 0xfe, 0xff, 0xff, 0xff}), liar = bytes_of({0, 0, 1, 0, 0, 0});
  const byte_vector packet = joined({bytes_of({0, 1, 3, 15}), byte_vector(16, std::byte{0x45})});
  const byte_vector four = joined({packet, packet, packet, packet, bytes_of({2})});
  const byte_vector drop = bytes_of({3, 0, 0}), accept = bytes_of({3, 0, 7}), last = bytes_of({3, 1, 1, 1});
  const byte_vector hold = bytes_of({4, 0}), release = bytes_of({5, 0, 1, 2, 9}), give_up = bytes_of({5, 0, 0});
  const byte_vector replace = bytes_of({3, 0, 4, 19}), flush = bytes_of({6});
  write("queues", "in_order", joined({begin, four, accept, accept, accept, drop, bytes_of({2})}));
  write("queues", "out_of_order", joined({begin, four, last, drop, replace, flush, accept}));
  write("queues", "held", joined({begin, four, hold, accept, hold, four, release, accept, give_up, drop, flush}));
  write("queues", "forgotten", joined({begin, four, hold, four, accept, four}));
  for (const auto& name : test_data::recordings("error_")) {
    const auto bytes = test_data::recorded(name);
    if (bytes.size() > 255) continue;
    write("queues", name, joined({liar, four, accept, bytes_of({7, length_of(bytes)}), bytes, bytes_of({2}), drop}));
  }
  for (const auto& name : test_data::recordings("packet_")) {
    const auto bytes = test_data::recorded(name);
    if (bytes.size() > 255) continue;
    write("queues", name, joined({liar, bytes_of({7, length_of(bytes)}), bytes, bytes_of({2}), drop, hold, release}));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  folder = argv[1];
  write_messages();
  write_packets();
  write_texts();
  write_requests();
  write_handles();
  write_captures();
  write_recordings();
  write_capture_handles();
  write_rules();
  write_filters();
  write_firewall();
  write_queues();
}
