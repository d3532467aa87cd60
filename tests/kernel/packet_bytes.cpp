// SPDX-License-Identifier: MIT
#include "packet_bytes.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <stdexcept>

namespace kernel_tests {
namespace {

constexpr size_t udp_header_size = 8;

void put16(bytes& packet, size_t at, size_t value) {
  packet.at(at) = static_cast<unsigned char>(value >> 8);
  packet.at(at + 1) = static_cast<unsigned char>(value);
}

uint32_t sum16(const bytes& data, size_t from, size_t to) {
  uint32_t sum = 0;
  for (size_t at = from; at < to; ++at) sum += static_cast<uint32_t>(data[at]) << (at % 2 == from % 2 ? 8 : 0);
  return sum;
}

size_t folded(uint32_t sum) {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

bool is_ipv6(std::string_view address) {
  return address.find(':') != std::string_view::npos;
}

void put_address(bytes& packet, size_t at, std::string_view address) {
  if (inet_pton(is_ipv6(address) ? AF_INET6 : AF_INET, std::string{address}.c_str(), &packet.at(at)) != 1)
    throw std::invalid_argument("not an address: " + std::string{address});
}

std::string address_at(const bytes& packet, size_t at) {
  char text[INET6_ADDRSTRLEN];
  return inet_ntop(ip_version(packet) == 4 ? AF_INET : AF_INET6, &packet.at(at), text, sizeof text);
}

}  // namespace

int ip_version(const bytes& packet) {
  return packet.at(0) >> 4;
}

size_t ip_header_size(const bytes& packet) {
  return ip_version(packet) == 4 ? (packet[0] & 15u) * 4u : 40u;
}

uint8_t transport_protocol(const bytes& packet) {
  return packet.at(ip_version(packet) == 4 ? 9 : 6);
}

std::string source_of(const bytes& packet) {
  return address_at(packet, ip_version(packet) == 4 ? 12 : 8);
}

std::string destination_of(const bytes& packet) {
  return address_at(packet, ip_version(packet) == 4 ? 16 : 24);
}

uint16_t destination_port(const bytes& packet) {
  const size_t at = ip_header_size(packet) + 2;
  return static_cast<uint16_t>(packet.at(at) << 8 | packet.at(at + 1));
}

std::string udp_payload(const bytes& packet) {
  const size_t at = ip_header_size(packet) + udp_header_size;
  if (transport_protocol(packet) != IPPROTO_UDP || packet.size() < at) return "";
  return {packet.begin() + static_cast<ptrdiff_t>(at), packet.end()};
}

bytes udp_packet(std::string_view from, uint16_t from_port, std::string_view to, uint16_t to_port,
                 std::string_view payload) {
  const bool six = is_ipv6(from);
  const size_t header = six ? 40 : 20;
  bytes packet(header + udp_header_size);
  packet[0] = six ? 0x60 : 0x45;
  packet[six ? 7 : 8] = 64;
  packet[six ? 6 : 9] = IPPROTO_UDP;
  put_address(packet, six ? 8 : 12, from);
  put_address(packet, six ? 24 : 16, to);
  put16(packet, header, from_port);
  put16(packet, header + 2, to_port);
  return with_udp_payload(std::move(packet), payload);
}

bytes with_udp_payload(bytes packet, std::string_view payload) {
  packet.resize(ip_header_size(packet) + udp_header_size);
  packet.insert(packet.end(), payload.begin(), payload.end());
  make_correct(packet);
  return packet;
}

bytes with_destination(bytes packet, std::string_view address) {
  put_address(packet, ip_version(packet) == 4 ? 16 : 24, address);
  make_correct(packet);
  return packet;
}

void make_correct(bytes& packet) {
  const bool four = ip_version(packet) == 4;
  const size_t header = ip_header_size(packet), transport_size = packet.size() - header;
  if (four) {
    put16(packet, 2, packet.size());
    put16(packet, 10, 0);
    put16(packet, 10, folded(sum16(packet, 0, header)));
  } else {
    put16(packet, 4, transport_size);
  }
  if (transport_protocol(packet) != IPPROTO_UDP) return;
  put16(packet, header + 4, transport_size);
  put16(packet, header + 6, 0);
  const uint32_t pseudo =
      sum16(packet, four ? 12 : 8, four ? 20 : 40) + IPPROTO_UDP + static_cast<uint32_t>(transport_size);
  const size_t checksum = folded(pseudo + sum16(packet, header, packet.size()));
  put16(packet, header + 6, checksum == 0 ? 0xffff : checksum);
}

void spoil_udp_checksum(bytes& packet) {
  const size_t at = ip_header_size(packet) + 6;
  packet.at(at) ^= 0x5a;
  // Zero would mean that there is no checksum.
  if (packet[at] == 0 && packet[at + 1] == 0) packet[at] = 1;
}

}  // namespace kernel_tests
