// SPDX-License-Identifier: MIT
// One program on the kernel and on a capture of what it saw there: the same packets, the same verdicts.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "flow.hpp"
#include "packet_bytes.hpp"

namespace kernel_tests {
namespace {

struct judged {
  bytes packet, answer;
  unsigned verdict;
  bool operator==(const judged&) const = default;
};

// A filter as they are written: it drops by content, changes some, passes the rest. `begin` is called when it listens.
std::vector<judged> filter(size_t packets, const std::function<void()>& begin) {
  std::vector<judged> all;
  handle h{ipv4, IPQ_COPY_PACKET};
  begin();
  while (all.size() < packets) {
    const message m = read_packet(h);
    judged next{m.payload(), m.payload(), NF_ACCEPT};
    if (next.packet.back() % 3 == 0) next.verdict = NF_DROP;
    if (next.packet.back() % 3 == 1) next.answer[8] = 9;  // TTL; the checksum is of no matter here
    set_verdict(h, m.id(), next.verdict, next.answer);
    all.push_back(std::move(next));
  }
  return all;
}

class on_both : public flow_test {
 protected:
  void SetUp() override {
    flow_test::SetUp();
    std::string pattern = (std::filesystem::temp_directory_path() / "capture_test_XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    folder_ = pattern;
  }
  void TearDown() override {
    unsetenv("LIBIPQ_SOURCE");
    std::filesystem::remove_all(folder_);
    flow_test::TearDown();
  }
  std::string path(const char* name) const { return (folder_ / name).string(); }

 private:
  std::filesystem::path folder_;
};

template <class Number>
void put(std::ofstream& to, Number value) {
  to.write(reinterpret_cast<const char*>(&value), sizeof value);
}

// pcap of raw IP.
void write_capture(const std::string& path, const std::vector<bytes>& packets) {
  std::ofstream file(path, std::ios::binary);
  for (const uint32_t word : {0xa1b2c3d4u, 0x00040002u, 0u, 0u, 262144u, 101u}) put(file, word);
  for (const bytes& each : packets) {
    const auto length = static_cast<uint32_t>(each.size());
    for (const uint32_t word : {1u, 2u, length, length}) put(file, word);
    file.write(reinterpret_cast<const char*>(each.data()), static_cast<std::streamsize>(each.size()));
  }
}

std::vector<bytes> read_capture(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  std::vector<bytes> packets;
  for (size_t at = 24; at + 16 <= all.size();) {
    uint32_t length = 0;
    memcpy(&length, all.data() + at + 8, sizeof length);
    at += 16;
    packets.emplace_back(all.begin() + static_cast<std::ptrdiff_t>(at),
                         all.begin() + static_cast<std::ptrdiff_t>(at + length));
    at += length;
  }
  return packets;
}

TEST_F(on_both, same_program_gives_the_same_verdicts) {
  constexpr size_t packets = 30;
  flow4().rule();
  const auto on_kernel = filter(packets, [&] {
    for (size_t i = 0; i < packets; ++i) flow4().send(std::to_string(i * 7919));
  });
  std::vector<bytes> captured, passed;
  for (const judged& each : on_kernel) {
    captured.push_back(each.packet);
    if (each.verdict == NF_ACCEPT) passed.push_back(each.answer);
  }
  write_capture(path("in.pcap"), captured);
  setenv("LIBIPQ_SOURCE", ("capture:" + path("in.pcap") + "," + path("out.pcap")).c_str(), 1);
  EXPECT_EQ(filter(packets, [] {}), on_kernel);
  EXPECT_EQ(read_capture(path("out.pcap")), passed);
  EXPECT_GT(passed.size(), 0u);
  EXPECT_LT(passed.size(), packets);
}

}  // namespace
}  // namespace kernel_tests
