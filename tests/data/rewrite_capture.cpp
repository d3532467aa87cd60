// SPDX-License-Identifier: MIT
// Makes of a capture of Ethernet what this machine can't record itself: see captures/record.sh.
// usage: rewrite_capture IN FOLDER              null.pcap, loop.pcap, raw.pcap and big_endian.pcapng
//        rewrite_capture IN --send INTERFACE    its packets once more, with VLAN tags
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "ipq/capture.hpp"
#include "unit/capture_bytes.hpp"

namespace {

using ipq::test::capture_bytes;

constexpr bool big_endian = true;
constexpr std::int64_t second = 1'000'000'000;

struct link_frame {
  std::string addresses, packet;  // destination and source; behind the link header
  bool ipv6;
  std::int64_t time;  // nanoseconds
};

template <class Take>
void each_of(const std::string& path, Take take) {
  auto from = ipq::capture_reader::open(path);
  if (!from) throw std::runtime_error(path + ": " + from.error().message());
  const auto text_of = [](std::span<const std::byte> bytes) {
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  const auto ended = ipq::serve(*from, [&](const ipq::packet& packet) {
    take(link_frame{text_of(packet.l2_header).substr(0, 12), text_of(packet.payload), packet.family != 2,
                    from->frame_of(packet)->time.count()});
    return ipq::verdict::accept();
  });
  if (!ended) throw std::runtime_error(path + ": " + ended.error().message());
}

std::string number(std::uint32_t value, bool swapped) {
  return capture_bytes(swapped).add(value).data;
}

void rewrite(const std::string& in, const std::string& folder) {
  constexpr std::uint32_t inet = 2, inet6_of_freebsd = 28, inet6_of_openbsd = 24;
  capture_bytes null, loop(big_endian), raw, blocks(big_endian);
  null.pcap(0);
  loop.pcap(108, true);
  raw.pcap(101);
  const std::string nanoseconds = blocks.option(9, "\x09");
  blocks.section().interface(1, "eth0", nanoseconds).interface(101, "tun0").interface(0, "lo0", nanoseconds);
  int count = 0;
  each_of(in, [&](const link_frame& each) {
    const auto seconds = static_cast<std::uint32_t>(each.time / second);
    const auto rest = static_cast<std::uint32_t>(each.time % second);
    null.frame(number(each.ipv6 ? inet6_of_freebsd : inet, false) + each.packet, seconds, rest / 1000);
    loop.frame(number(each.ipv6 ? inet6_of_openbsd : inet, big_endian) + each.packet, seconds, rest + 7);
    raw.frame(each.packet, seconds, rest / 1000);
    const auto time = static_cast<std::uint64_t>(each.time);
    const std::string ethertype = each.ipv6 ? "\x86\xdd" : std::string("\x08\0", 2);
    switch (count++ % 3) {
      case 0:
        blocks.packet(each.addresses + ethertype + each.packet, 0, time + 7);
        break;
      case 1:
        blocks.packet(each.packet, 1, time / 1000);
        break;
      default:
        blocks.packet(number(each.ipv6 ? inet6_of_freebsd : inet, big_endian) + each.packet, 2, time + 7);
    }
  });
  const auto write = [&](const char* name, const capture_bytes& made) {
    std::ofstream file(folder + "/" + name, std::ios::binary);
    if (!file.write(made.data.data(), static_cast<std::streamsize>(made.data.size())).flush()) {
      throw std::runtime_error(folder + "/" + name + " can't be written");
    }
  };
  write("null.pcap", null);
  write("loop.pcap", loop);
  write("raw.pcap", raw);
  write("big_endian.pcapng", blocks);
}

void send_tagged(const std::string& in, const std::string& interface) {
  const int fd = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
  if (fd < 0 || to.sll_ifindex == 0) throw std::runtime_error("no packet socket on " + interface);
  // One tag with a priority, two tags of a provider's network, and a priority alone, which hosts answer.
  constexpr std::string_view tags[]{{"\x81\0\xa0\x07", 4}, {"\x88\xa8\0\x64\x81\0\0\x07", 8}, {"\x81\0\x60\0", 4}};
  int count = 0;
  each_of(in, [&](const link_frame& each) {
    const std::string ethertype = each.ipv6 ? "\x86\xdd" : std::string("\x08\0", 2);
    const std::string frame = each.addresses + std::string(tags[count++ % 3]) + ethertype + each.packet;
    if (::sendto(fd, frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) !=
        static_cast<ssize_t>(frame.size())) {
      throw std::runtime_error("a frame can't be sent");
    }
  });
  ::close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 4 && std::string_view(argv[2]) == "--send") return send_tagged(argv[1], argv[3]), 0;
    if (argc == 3) return rewrite(argv[1], argv[2]), 0;
  } catch (const std::exception& failed) {
    return std::fprintf(stderr, "rewrite_capture: %s\n", failed.what()), 1;
  }
  return std::fputs("usage: rewrite_capture IN FOLDER | IN --send INTERFACE\n", stderr), 2;
}
