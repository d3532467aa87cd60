// SPDX-License-Identifier: MIT
// Any message of the kernel, translated into ip_queue's form: into buffers of any size, never beyond them.
#include <libipq/libipq.h>

#include <vector>

#include "compat/translate.hpp"
#include "input.hpp"
#include "wire/message.hpp"
#include "wire/packet.hpp"

namespace {

using namespace ipq;
using fuzz::bytes;
using fuzz::input;
using fuzz::require;

netlink::interface take_interface(input& from) {
  netlink::interface made;
  const bytes name = from.take(from.byte() % made.name.size());  // the last byte stays 0, as interfaces::find promises
  if (!name.empty()) std::memcpy(made.name.data(), name.data(), name.size());
  made.type = from.take<std::uint16_t>();
  return made;
}

using buffer = std::vector<unsigned char>;

void check_beginning(const buffer& whole, const buffer& part) {
  require(std::equal(part.begin(), part.end(), whole.begin()));
}

void translate_packet(const packet& queued, input& from) {
  const auto indev = take_interface(from), outdev = take_interface(from);
  const auto find = [&](std::uint32_t index, netlink::name_room name) {
    const netlink::interface& found = index == queued.indev ? indev : outdev;
    std::ranges::copy(found.name, name.begin());
    return found.type;
  };
  buffer whole(65536 + 256);
  const std::size_t length = compat::write_packet(queued, find, whole);
  constexpr std::size_t head = sizeof(nlmsghdr) + sizeof(ipq_packet_msg_t);
  require(length == (head + queued.payload.size() + 3) / 4 * 4);
  whole.resize(length);

  require(ipq_message_type(whole.data()) == IPQM_PACKET);
  const ipq_packet_msg_t& written = *ipq_get_packet(whole.data());
  require(written.packet_id == queued.id && written.mark == queued.mark && written.hook == queued.hook);
  require(written.data_len == queued.payload.size() && written.hw_addrlen <= sizeof written.hw_addr);
  require(std::memchr(written.indev_name, 0, sizeof written.indev_name) != nullptr);
  require(std::memchr(written.outdev_name, 0, sizeof written.outdev_name) != nullptr);
  require(written.timestamp_usec >= 0 && written.timestamp_usec < 1'000'000);
  require(fuzz::equal(std::as_bytes(std::span(written.payload, queued.payload.size())), queued.payload));

  buffer shorter(compat::min_read_buffer + from.take<std::uint16_t>() % (length - compat::min_read_buffer + 1));
  require(compat::write_packet(queued, find, shorter) == length);
  check_beginning(whole, shorter);
}

void translate_refusal(const wire::error_reply& reply, input& from) {
  const auto note = compat::read_note(reply);
  if (!note) return;
  buffer whole(128);
  const std::size_t length = compat::write_refusal(reply.code, *note, from.take<std::uint32_t>(), whole);
  require(length == (note->verdict ? 60u : 76u));
  require(ipq_message_type(whole.data()) == NLMSG_ERROR && ipq_get_msgerr(whole.data()) == reply.code);
  buffer shorter(compat::min_read_buffer + from.byte() % (length - compat::min_read_buffer + 1));
  static_cast<void>(compat::write_refusal(reply.code, *note, 0, shorter));
  whole.assign(whole.size(), 0);
  static_cast<void>(compat::write_refusal(reply.code, *note, 0, whole));
  check_beginning(whole, shorter);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  input from(data, size);
  input choices(data, std::min<std::size_t>(size, 48));
  from.take(48);
  wire::bytes rest = from.rest();
  while (const auto message = wire::next_message(rest)) {
    if (const auto queued = wire::parse_packet(*message)) translate_packet(*queued, choices);
    if (const auto reply = wire::parse_error(*message)) translate_refusal(*reply, choices);
  }
  return 0;
}
