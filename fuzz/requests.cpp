// SPDX-License-Identifier: MIT
// Verdicts and configurations as we encode them against libnetfilter_queue's, and a refusal that echoes them.
#include <libmnl/libmnl.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter/nfnetlink_queue.h>

#include <array>
#include <vector>

#include "compat/request_note.hpp"
#include "input.hpp"
#include "wire/config.hpp"
#include "wire/message.hpp"
#include "wire/verdict.hpp"

namespace {

using namespace ipq;
using fuzz::bytes;
using fuzz::input;
using fuzz::require;

using storage = std::vector<char>;

bytes of(const nlmsghdr* header) {
  return {reinterpret_cast<const std::byte*>(header), header->nlmsg_len};
}

void compare_verdict(input& from) {
  wire::verdict answer{.queue = from.take<std::uint16_t>(),
                       .id = from.take<std::uint32_t>(),
                       .value = from.take<std::uint32_t>(),
                       .batch = from.flag()};
  if (from.flag()) answer.mark = from.take<std::uint32_t>();
  const bytes payload = from.rest().first(std::min(from.rest().size(), wire::max_payload));
  if (!payload.empty()) answer.payload_length = payload.size();

  std::vector<std::byte> ours(wire::encoded_size(answer));
  require(wire::encode_verdict(answer, ours) == ours.size());
  ours.insert(ours.end(), payload.begin(), payload.end());

  storage room(1024 + payload.size());
  nlmsghdr* theirs =
      nfq_nlmsg_put(room.data(), answer.batch ? NFQNL_MSG_VERDICT_BATCH : NFQNL_MSG_VERDICT, answer.queue);
  nfq_nlmsg_verdict_put(theirs, static_cast<int>(answer.id), static_cast<int>(answer.value));
  if (answer.mark) nfq_nlmsg_verdict_put_mark(theirs, *answer.mark);
  if (!payload.empty()) {
    nfq_nlmsg_verdict_put_pkt(theirs, payload.data(), static_cast<std::uint32_t>(payload.size()));
    theirs->nlmsg_len -=
        static_cast<std::uint32_t>(wire::align(payload.size()) - payload.size());  // we send no padding
  }
  require(fuzz::equal(ours, of(theirs)));
}

void compare_config(input& from) {
  wire::config wanted{.queue = from.take<std::uint16_t>()};
  if (from.flag()) wanted.command = static_cast<wire::config_command>(from.byte() % 5);
  if (from.flag()) {
    wanted.copy = {static_cast<wire::copy_mode>(from.byte() % 3), from.take<std::uint32_t>() & 0x7fffffff};
  }
  if (from.flag()) wanted.max_length = from.take<std::uint32_t>();
  alignas(4) std::array<std::byte, wire::max_config_size> ours;
  const std::size_t length = wire::encode_config(wanted, ours);

  storage room(1024);
  nlmsghdr* theirs = nfq_nlmsg_put(room.data(), NFQNL_MSG_CONFIG, wanted.queue);
  if (wanted.command) nfq_nlmsg_cfg_put_cmd(theirs, 0, static_cast<std::uint8_t>(*wanted.command));
  if (wanted.copy) {
    nfq_nlmsg_cfg_put_params(theirs, static_cast<std::uint8_t>(wanted.copy->mode),
                             static_cast<int>(wanted.copy->range));
  }
  if (wanted.max_length) nfq_nlmsg_cfg_put_qmaxlen(theirs, *wanted.max_length);
  require(fuzz::equal(bytes(ours).first(length), of(theirs)));
}

/// What a note says comes back from the request that the kernel refuses.
void carry_note(input& from) {
  compat::request_note note{.ipv6 = from.flag()};
  wire::error_reply reply;
  if (from.flag()) {
    note.verdict =
        compat::verdict_note{from.take<std::uint32_t>(), from.take<std::uint32_t>(), from.take<std::uint32_t>()};
    if (!compat::is_invalid_verdict(note.verdict->value)) note.internal = from.flag();
    reply.request_type =
        compat::is_invalid_verdict(note.verdict->value) ? wire::message_verdict_batch : wire::message_verdict;
  } else {
    note.internal = from.flag();
    note.mode = compat::mode_note{from.byte(), from.take<std::uint32_t>()};
    note.mode->binds = from.flag();
    if (note.mode->binds) note.mode->attempt = from.take<std::uint32_t>() & compat::bind_attempt_mask;
    reply.request_type = wire::message_config;
  }
  const auto fields = compat::write_note(note);
  reply.sequence = fields.sequence;
  reply.port_id = fields.port_id;
  reply.request_flags = fields.acknowledge ? wire::flag_ack : 0;
  const auto read = compat::read_note(reply);
  require(read && read->ipv6 == note.ipv6 && read->internal == note.internal);
  require(read->verdict.has_value() == note.verdict.has_value() && read->mode.has_value() == note.mode.has_value());
  if (note.verdict) {
    const bool invalid = compat::is_invalid_verdict(note.verdict->value);
    require(read->verdict->id == note.verdict->id && read->verdict->value == note.verdict->value);
    require(read->verdict->data_len == (invalid ? 0 : std::min<std::size_t>(note.verdict->data_len, 0xffff)));
  } else {
    require(read->mode->mode == note.mode->mode && read->mode->range == note.mode->range);
    require(read->mode->binds == note.mode->binds && read->mode->attempt == note.mode->attempt);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  input from(data, size);
  switch (from.byte() % 3) {
    case 0:
      compare_verdict(from);
      break;
    case 1:
      compare_config(from);
      break;
    default:
      carry_note(from);
  }
  return 0;
}
