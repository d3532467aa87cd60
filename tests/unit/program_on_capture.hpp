// SPDX-License-Identifier: MIT
// A program of libipq on a capture that the test makes, with the calls that programs make.
#pragma once

#include <gtest/gtest.h>
#include <libipq/libipq.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "compat/registry.hpp"
#include "ipq/capture.hpp"
#include "unit/capture_bytes.hpp"

namespace ipq::compat {

using test::capture_bytes;
using test::udp4;
using test::udp6;

inline constexpr std::uint32_t ipv4 = 2, ipv6 = 10;
inline constexpr unsigned drop = 0, accept = 1, stolen = 2, queue = 3, repeat = 4, stop = 5;
inline constexpr std::uint32_t raw_ip = 101;

inline std::string source;
inline std::map<std::string, std::string> others;

inline const char* look_up(const char* name) {
  if (name == std::string_view("LIBIPQ_SOURCE")) return source.c_str();
  const auto found = others.find(name);
  return found == others.end() ? nullptr : found->second.c_str();
}

struct destroyer {
  void operator()(ipq_handle* h) const { ipq_destroy_handle(h); }
};
using owned_handle = std::unique_ptr<ipq_handle, destroyer>;

class program_on_capture : public ::testing::Test {
 protected:
  void SetUp() override {
    others.clear();
    errno = 0;
  }

  /// Three of IPv4 and one of IPv6 between them, unless told otherwise.
  std::string capture(const std::vector<std::string>& packets = {udp4(10, 'a'), udp4(20, 'b'), udp6(5),
                                                                 udp4(30, 'c')}) {
    capture_bytes made;
    made.pcap(raw_ip);
    std::uint32_t time = 100;
    for (const auto& each : packets) made.frame(each, time++, 7);
    return folder.write("in.pcap", made.data);
  }

  owned_handle create(std::uint32_t protocol = ipv4) {
    return owned_handle(create_handle(0, protocol, netlink::kernel(), look_up));
  }
  owned_handle listen(const std::string& options = "", std::uint32_t protocol = ipv4, std::size_t range = 0) {
    source = "capture:" + capture_path + options;
    auto h = create(protocol);
    if (h == nullptr) throw std::runtime_error(ipq_errstr());
    EXPECT_EQ(ipq_set_mode(h.get(), IPQ_COPY_PACKET, range), 56);
    return h;
  }

  ssize_t read(const owned_handle& h, int timeout = 0) {
    return ipq_read(h.get(), buffer.data(), buffer.size(), timeout);
  }
  const ipq_packet_msg_t& packet_read() { return *ipq_get_packet(buffer.data()); }
  std::string payload_read() {
    return {reinterpret_cast<const char*>(buffer.data()) + sizeof(nlmsghdr) + sizeof(ipq_packet_msg_t),
            packet_read().data_len};
  }
  int error_read() { return ipq_message_type(buffer.data()) == NLMSG_ERROR ? ipq_get_msgerr(buffer.data()) : 0; }
  int decide(const owned_handle& h, unsigned verdict, std::string replacement = {}) {
    return ipq_set_verdict(h.get(), packet_read().packet_id, verdict, replacement.size(),
                           replacement.empty() ? nullptr : reinterpret_cast<unsigned char*>(replacement.data()));
  }
  static bool is_readable(const owned_handle& h) {
    pollfd watched{h->fd, POLLIN, 0};
    return ::poll(&watched, 1, 0) == 1;
  }
  void expect_end(const owned_handle& h) {
    EXPECT_TRUE(is_readable(h));
    errno = 77;
    EXPECT_EQ(read(h), -1);
    EXPECT_EQ(errno, 77);
    EXPECT_STREQ(ipq_errstr(), "Received EOF on netlink socket");
    EXPECT_STREQ(ipq_handle_errstr(h.get()), "read: Received EOF on netlink socket: the capture is at its end");
    EXPECT_TRUE(is_readable(h)) << "and stays at its end";
  }
  /// What is in the file of what passed.
  std::vector<std::string> passed() {
    std::vector<std::string> found;
    auto from = capture_reader::open(folder / "out.pcap");
    if (!from) return {from.error().message()};
    EXPECT_TRUE(serve(*from, [&](const packet& each) {
      found.emplace_back(reinterpret_cast<const char*>(each.payload.data()), each.payload.size());
      return verdict::accept();
    }));
    return found;
  }
  ipq_stats stats(const owned_handle& h) {
    ipq_stats now{};
    EXPECT_EQ(ipq_get_stats(h.get(), &now, sizeof now), 0);
    return now;
  }

  test::test_folder folder;
  std::string capture_path = capture();
  std::string out = "," + (folder / "out.pcap");
  alignas(8) std::array<unsigned char, 70000> buffer{};
};

}  // namespace ipq::compat
