// SPDX-License-Identifier: MIT
#include "queue/outgoing.hpp"

#include <cstring>
#include <optional>
#include <span>

#include "wire/bytes.hpp"
#include "wire/constants.hpp"
#include "wire/verdict.hpp"

namespace ipq::queues {
namespace {

constexpr std::byte padding[4] = {};

iovec part(std::span<const std::byte> bytes) noexcept {
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};
}

}  // namespace

void outgoing::add(std::uint32_t id, const verdict& answer, std::uint32_t count) noexcept {
  wire::verdict message{.queue = queue_,
                        .id = id,
                        .value = answer.value(),
                        .batch = count != 1,
                        .sequence = id,
                        .port_id = verdict_cookie{answer.what(), count, load_.messages == 0}.encoded(),
                        .mark = answer.mark(),
                        .priority = answer.priority()};
  // CTA_MARK and CTA_MARK_MASK (nfnetlink_conntrack.h): be32.
  constexpr std::uint16_t conntrack_mark = 8, conntrack_mark_mask = 21;
  std::byte connection[16];
  std::size_t length = 0;
  const auto add_number = [&](std::uint16_t type, std::uint32_t value) {
    wire::store(connection + length, std::uint16_t{8});
    wire::store(connection + length + 2, type);
    wire::store_be(connection + length + 4, value);
    length += 8;
  };
  if (answer.connmark()) {
    add_number(conntrack_mark, *answer.connmark());
    if (~answer.connmark_mask() != 0) add_number(conntrack_mark_mask, answer.connmark_mask());
    message.conntrack = std::span(connection).first(length);
  }
  const auto payload = answer.payload();
  if (!payload.empty()) message.payload_length = payload.size();
  used_ += wire::encode_verdict(message, std::span(encoded_).subspan(used_));
  if (load_.messages++ == 0) load_.first_id = id;
  load_.only_accepts = load_.only_accepts && answer.what() == verdict::action::accept;
  load_.verdicts[static_cast<std::size_t>(answer.what())] += count;
  if (payload.empty()) return;
  replaced_ += wire::align(payload.size());
  parts_[part_count_++] = part(std::span(encoded_).subspan(began_, used_ - began_));
  parts_[part_count_++] = part(payload);
  if (const auto odd = wire::align(payload.size()) - payload.size(); odd != 0) {
    parts_[part_count_++] = part(std::span(padding).first(odd));
  }
  began_ = used_;
}

result<void> outgoing::send(const netlink::socket& to) {
  if (load_.messages == 0) return {};
  if (part_count_ == 0) {
    if (const auto sent = to.send(std::span<const std::byte>(encoded_).first(used_)); !sent) return sent;
  } else {
    const bool tail = used_ != began_;
    if (tail) parts_[part_count_] = part(std::span(encoded_).subspan(began_, used_ - began_));
    if (const auto sent = to.send(std::span<const iovec>(parts_).first(part_count_ + (tail ? 1 : 0))); !sent) {
      return sent;
    }
  }
  clear();
  return {};
}

void outgoing::clear() noexcept {
  load_ = {};
  used_ = began_ = replaced_ = part_count_ = 0;
}

}  // namespace ipq::queues
