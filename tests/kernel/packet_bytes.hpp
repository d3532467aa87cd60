// SPDX-License-Identifier: MIT
// IPv4 and IPv6 packets with UDP inside, as bytes: to read what was queued and to make replacements for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "reader.hpp"

namespace kernel_tests {

// 4 or 6.
int ip_version(const bytes& packet);

// Bytes of the IP header: 20 or more, or 40.
size_t ip_header_size(const bytes& packet);

uint8_t transport_protocol(const bytes& packet);

// Addresses as text.
std::string source_of(const bytes& packet);
std::string destination_of(const bytes& packet);

uint16_t destination_port(const bytes& packet);

// Behind the UDP header; "" for anything but UDP.
std::string udp_payload(const bytes& packet);

// A packet that is correct in every length and checksum.
bytes udp_packet(std::string_view from, uint16_t from_port, std::string_view to, uint16_t to_port,
                 std::string_view payload);

// The same packet with another UDP payload of any length; lengths and checksums are right again.
bytes with_udp_payload(bytes packet, std::string_view payload);

// The same packet for another destination; checksums are right again.
bytes with_destination(bytes packet, std::string_view address);

// Sets the lengths and checksums of IPv4, IPv6 and UDP headers to what the bytes say.
void make_correct(bytes& packet);

// Spoils the UDP checksum.
void spoil_udp_checksum(bytes& packet);

}  // namespace kernel_tests
