// SPDX-License-Identifier: MIT
// Addresses as text against inet_pton, and back.
#include <arpa/inet.h>

#include <string>

#include "input.hpp"
#include "ipq/address.hpp"

namespace {

using namespace ipq;
using fuzz::require;

template <class Address>
void compare(int family, const std::string& text) {
  Address theirs;
  const bool valid = text.find('\0') == std::string::npos && inet_pton(family, text.c_str(), theirs.bytes.data()) == 1;
  const auto ours = Address::parse(text);
  require(ours.has_value() == valid);
  if (!ours) return;
  require(*ours == theirs && Address::parse(ours->to_string()) == ours);
  require(std::hash<Address>{}(*ours) == std::hash<Address>{}(theirs));
}

template <class Address>
void write(fuzz::bytes raw, int family) {
  Address address;
  if (raw.size() < address.bytes.size()) return;
  std::memcpy(address.bytes.data(), raw.data(), address.bytes.size());
  compare<Address>(family, address.to_string());
  require(Address::parse(address.to_string()) == address);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  compare<ipv4_address>(AF_INET, text);
  compare<ipv6_address>(AF_INET6, text);
  const auto raw = std::as_bytes(std::span(data, size));
  write<ipv4_address>(raw, AF_INET);
  write<ipv6_address>(raw, AF_INET6);
  return 0;
}
