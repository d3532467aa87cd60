// SPDX-License-Identifier: MIT
// Opens the editor when it is first needed, and asks it once where it refuses.
#include "packet_changes.hpp"

#include <cstring>
#include <string_view>

namespace ipq::tool::rules {

packet_editor* packet_changes::open() {
  if (!is_opened_) {
    is_opened_ = true;
    if (auto made = packet_editor::edit(*original_, buffer_)) editor_.emplace(std::move(*made));
  }
  return editor_ ? &*editor_ : nullptr;
}

bool packet_changes::apply(const set_address& what) {
  packet_editor* const editor = open();
  if (editor == nullptr) return false;
  const auto done = std::visit(
      [&](const auto& address) {
        return what.field == address_field::source ? editor->set_source(address) : editor->set_destination(address);
      },
      what.value);
  is_changed_ |= done.has_value();
  return done.has_value();
}

bool packet_changes::apply(const set_number& what) {
  packet_editor* const editor = open();
  if (editor == nullptr) return false;
  result<void> done;
  switch (what.field) {
    case number_field::source_port:
      done = editor->set_source_port(what.value);
      break;
    case number_field::destination_port:
      done = editor->set_destination_port(what.value);
      break;
    case number_field::ttl:
      editor->set_ttl(static_cast<std::uint8_t>(what.value));
      break;
    case number_field::dscp:
      done = editor->set_dscp(what.value);
      break;
  }
  is_changed_ |= done.has_value();
  return done.has_value();
}

bool packet_changes::apply(const replace_bytes& what) {
  packet_editor* const editor = open();
  if (editor == nullptr) return false;
  const auto payload = editor->payload();
  const std::string_view text(reinterpret_cast<const char*>(payload.data()), payload.size());
  for (auto at = text.find(what.from); at != std::string_view::npos; at = text.find(what.from, at + what.to.size())) {
    if (!editor->overwrite_payload(at, std::as_bytes(std::span(what.to)))) return false;
    is_changed_ = true;
  }
  return true;
}

bool packet_changes::corrupt(std::uint64_t number) {
  // The kernel makes a checksum for each of its segments, from the bytes that it finds.
  if (original_->gso) return false;
  packet_editor* const editor = open();
  if (editor == nullptr) return false;
  const std::size_t begin = editor->decoded().transport_offset;
  if (begin >= buffer_.size()) return false;
  if (!is_corrupted_) static_cast<void>(editor->finish());
  is_corrupted_ = true;
  const std::uint64_t bits = (buffer_.size() - begin) * 8;
  const auto bit = static_cast<std::size_t>(number % bits);
  buffer_[begin + bit / 8] ^= std::byte{1} << (bit % 8);
  return true;
}

std::span<const std::byte> packet_changes::whole() {
  if (is_changed()) return bytes();
  if (original_->truncated) return {};
  if (!original_->checksum_not_ready) return original_->payload;
  packet_editor* const editor = open();
  return editor == nullptr ? std::span<const std::byte>{} : editor->finish();
}

}  // namespace ipq::tool::rules
