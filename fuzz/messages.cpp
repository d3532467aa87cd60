// SPDX-License-Identifier: MIT
// Any bytes as a datagram of the kernel: frames, attributes, error replies, packet messages, and their trimming.
#include <optional>
#include <vector>

#include "input.hpp"
#include "wire/message.hpp"
#include "wire/packet.hpp"

namespace {

using namespace ipq;
using fuzz::bytes;
using fuzz::lies_in;
using fuzz::require;

bytes bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

void check_attributes(bytes attributes) {
  const bytes all = attributes;
  std::size_t before = attributes.size();
  while (const auto found = wire::next_attribute(attributes)) {
    require(lies_in(found->value, all) && found->type <= 0x3fff);
    require(attributes.size() < before);
    before = attributes.size();
  }
}

void check_reply(const wire::message& message) {
  const auto reply = wire::parse_error(message);
  if (!reply) return;
  require(reply->code >= 0 && reply->code <= 4095);
  require(lies_in(bytes_of(reply->text), message.body) && reply->text.find('\0') == std::string_view::npos);
}

void check_packet(const packet& parsed, bytes body) {
  for (const bytes view : {parsed.payload, parsed.l2_header, parsed.conntrack, bytes_of(parsed.security_context)}) {
    require(lies_in(view, body));
  }
  require(parsed.hw_addr_length <= parsed.hw_addr.size());
  require(parsed.original_length >= parsed.payload.size());
  require(parsed.truncated == (parsed.original_length > parsed.payload.size()));
  require(!parsed.timestamp || (parsed.timestamp->microseconds >= 0 && parsed.timestamp->microseconds < 1'000'000));
}

void check_trimming(bytes datagram, std::size_t length) {
  std::vector<std::byte> copy(datagram.begin(), datagram.end());
  bytes rest = copy;
  const auto message = wire::next_message(rest);
  if (!message) return;
  const auto before = wire::parse_packet(*message);
  if (!before) return;
  const packet kept = *before;
  const auto left = wire::trim_payload(copy, kept, length);
  require(lies_in(left, copy));
  std::vector<std::byte> alone(left.begin(), left.end());
  bytes trimmed = alone;
  const auto again = wire::next_message(trimmed);
  require(again.has_value());
  const auto after = wire::parse_packet(*again);
  require(after && after->id == kept.id && after->family == kept.family);
  if (left.size() == copy.size()) return;  // nothing to trim, or the payload is not the last attribute
  require(after->mark == kept.mark && after->hook == kept.hook);
  require(after->payload.size() <= length || kept.payload.size() <= length);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t trimmed_to = data[0];
  const bytes datagram = std::as_bytes(std::span(data, size)).subspan(1);
  bytes rest = datagram;
  std::size_t before = rest.size();
  while (const auto message = wire::next_message(rest)) {
    require(lies_in(message->body, datagram) && rest.size() < before);
    before = rest.size();
    check_attributes(message->body);
    check_reply(*message);
    if (const auto parsed = wire::parse_packet(*message)) check_packet(*parsed, message->body);
  }
  check_trimming(datagram, trimmed_to);
  return 0;
}
