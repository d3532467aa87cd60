// SPDX-License-Identifier: MIT
#include "capture/block_writer.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "capture/format.hpp"
#include "ipq/bytes.hpp"

namespace ipq::capture {
namespace {

constexpr std::string_view application = "libipq";
constexpr std::uint8_t nanoseconds = 9;  // 10^-9

bytes bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

template <class Number>
void append(std::vector<std::byte>& to, Number value) {
  const std::size_t at = to.size();
  to.resize(at + sizeof value);
  std::memcpy(to.data() + at, &value, sizeof value);
}

void append(std::vector<std::byte>& to, bytes data) {
  to.insert(to.end(), data.begin(), data.end());
}

void pad(std::vector<std::byte>& to) {
  to.resize(padded(to.size()));
}

void append_option(std::vector<std::byte>& to, std::uint16_t code, bytes value) {
  value = value.first(std::min<std::size_t>(value.size(), 65'535));
  append(to, code);
  append(to, static_cast<std::uint16_t>(value.size()));
  append(to, value);
  pad(to);
}

template <class Number>
void append_option(std::vector<std::byte>& to, std::uint16_t code, Number value) {
  append_option(to, code, std::as_bytes(std::span(&value, 1)));
}

/// A queue's packet has no link header, but one link type in the whole file is all that tcpdump reads, and Ethernet has
/// a place for the hardware address.
using made_header = std::array<std::byte, 14>;
made_header make_header(const packet& which) {
  made_header made{};
  constexpr std::uint8_t ipv4 = 2, ipv6 = 10;
  if (which.hw_addr_length == 6) std::memcpy(made.data() + 6, which.hw_addr.data(), 6);
  write_be16(made, 12, which.family == ipv4 ? 0x0800 : which.family == ipv6 ? 0x86dd : which.hw_protocol);
  return made;
}

/// TC_ACT_*: what the format has a name for.
std::int64_t traffic_control_action(const verdict& given) {
  switch (given.what()) {
    case verdict::action::drop:
      return 2;  // TC_ACT_SHOT
    case verdict::action::queue:
      return 5;  // TC_ACT_QUEUED
    case verdict::action::repeat:
      return 6;  // TC_ACT_REPEAT
    default:
      return 0;  // TC_ACT_OK
  }
}

}  // namespace

void block_writer::begin(output& to) {
  to_ = &to;
  interfaces_.clear();
  body_.clear();
  append(body_, block::byte_order_magic);
  append(body_, std::uint16_t{1});
  append(body_, std::uint16_t{0});
  append(body_, ~std::uint64_t{0});  // as long as it is
  append_option(body_, option_code::application, bytes_of(application));
  append(body_, std::uint32_t{option_code::end});
  write_block(block::section);
}

void block_writer::write_block(std::uint32_t type) {
  const auto length = static_cast<std::uint32_t>(block::least + body_.size());
  std::byte* at = to_->grow(length).data();
  std::memcpy(at, &type, 4);
  std::memcpy(at + 4, &length, 4);
  std::memcpy(at + 8, body_.data(), body_.size());
  std::memcpy(at + length - 4, &length, 4);
}

std::uint32_t block_writer::interface_of(std::string_view name) {
  const auto found = interfaces_.find(name);
  if (found != interfaces_.end()) return found->second;
  body_.clear();
  append(body_, static_cast<std::uint16_t>(link_type::ethernet));
  append(body_, std::uint16_t{0});  // reserved
  append(body_, std::uint32_t{0});
  if (!name.empty()) append_option(body_, option_code::name, bytes_of(name));
  append_option(body_, option_code::time_resolution, nanoseconds);
  append(body_, std::uint32_t{option_code::end});
  write_block(block::interface);
  return interfaces_.emplace(name, static_cast<std::uint32_t>(interfaces_.size())).first->second;
}

void block_writer::write(const packet& which, const verdict& given, const interface_names& names, std::int64_t time,
                         std::optional<std::chrono::nanoseconds> took) {
  const std::uint32_t interface = interface_of(names.in.empty() ? names.out : names.in);
  const made_header made = make_header(which);
  const bytes link = which.l2_header.empty() ? bytes(made) : which.l2_header;
  const auto since = static_cast<std::uint64_t>(std::max<std::int64_t>(time, 0));
  constexpr std::uint8_t last_input_hook = 2;
  constexpr std::uint32_t inbound = 1, outbound = 2;

  text_.clear();
  write_note(text_, which, given, names, took);
  options_.clear();
  append_option(options_, option_code::comment, bytes_of(text_));
  append_option(options_, option_code::flags, which.hook <= last_input_hook ? inbound : outbound);
  append_option(options_, option_code::packet_id, std::uint64_t{which.id});
  append_option(options_, option_code::queue, std::uint32_t{which.queue});
  std::array<std::byte, 9> code{std::byte{1}};  // Linux traffic control
  const std::int64_t action = traffic_control_action(given);
  std::memcpy(code.data() + 1, &action, sizeof action);
  append_option(options_, option_code::verdict, bytes(code));
  append(options_, std::uint32_t{option_code::end});
  write_packet(interface, since, link, which.payload, which.original_length);
  if (given.payload().empty()) return;

  text_.clear();
  write_replacement_note(text_, which.id);
  options_.clear();
  append_option(options_, option_code::comment, bytes_of(text_));
  append_option(options_, option_code::packet_id, std::uint64_t{which.id});
  append(options_, std::uint32_t{option_code::end});
  write_packet(interface, since, link, given.payload(), given.payload().size());
}

void block_writer::write_packet(std::uint32_t interface, std::uint64_t time, bytes link, bytes packet,
                                std::size_t original_length) {
  const std::size_t original = link.size() + std::max(original_length, packet.size());
  // With a link header that it did not have, the largest packet would be too large for anybody who reads it.
  packet = packet.first(std::min(packet.size(), max_frame - link.size()));
  const std::size_t size = link.size() + packet.size();
  body_.clear();
  append(body_, interface);
  append(body_, static_cast<std::uint32_t>(time >> 32));
  append(body_, static_cast<std::uint32_t>(time));
  append(body_, static_cast<std::uint32_t>(size));
  append(body_, static_cast<std::uint32_t>(std::min<std::size_t>(original, ~std::uint32_t{0})));
  append(body_, link);
  append(body_, packet);
  pad(body_);
  append(body_, bytes(options_));
  write_block(block::packet);
}

}  // namespace ipq::capture
