// SPDX-License-Identifier: MIT
#include "capture/passed.hpp"

#include <cstring>

#include "capture/note.hpp"

namespace ipq::capture {
namespace {

constexpr std::uint16_t hash_option = 3;  // of the packet as it was

std::byte* put(std::byte* at, bytes data) noexcept {
  if (!data.empty()) std::memcpy(at, data.data(), data.size());
  return at + data.size();
}
std::byte* put(std::byte* at, std::uint32_t value, bool swapped) noexcept {
  value = in_order(value, swapped);
  std::memcpy(at, &value, sizeof value);
  return at + sizeof value;
}

/// Those that hold for the frame as it is written: not the hash of what was changed, and of a recording not what
/// became of the packet once, which may be another thing than now.
std::vector<std::byte> options_that_hold(const section& from, const original& frame, bool changed) {
  const auto holds = [&](const option& each) {
    if (frame.recorded && each.code == option_code::verdict) return false;
    if (frame.recorded && each.code == option_code::comment) return !parse_note(text_of(each.value)).has_value();
    return !changed || each.code != hash_option;
  };
  std::vector<std::byte> kept;
  for (bytes rest = frame.options; !rest.empty();) {
    const bytes before = rest;
    option each{};
    if (!next_option(rest, from.swapped, each)) {
      kept.insert(kept.end(), before.begin(), before.end());
      break;
    }
    const bytes taken = before.first(before.size() - rest.size());
    if (holds(each)) kept.insert(kept.end(), taken.begin(), taken.end());
  }
  return kept;
}

/// Bytes of the check sequence (FCS) that the file says its frames end with.
std::size_t check_size_of(const section& from, const original& frame) {
  option each{};
  for (bytes rest = frame.options; next_option(rest, from.swapped, each);) {
    if (each.code != option_code::flags || each.value.size() != 4) continue;
    const std::size_t size = load<std::uint32_t>(each.value.data(), from.swapped) >> 5 & 15;
    if (size != 0) return size;
  }
  return frame.check_size;
}

/// Goes on with that of Ethernet, which begins with ~0 and ends inverted.
std::uint32_t check(std::uint32_t sum, bytes data) noexcept {
  for (const std::byte each : data) {
    sum ^= static_cast<std::uint32_t>(each);
    for (int bit = 0; bit < 8; ++bit) sum = sum >> 1 ^ ((sum & 1) != 0 ? 0xedb88320 : 0);
  }
  return sum;
}

/// A simple block whose frame was cut: how long it is the head said, and does not any more.
bool is_cut_simple(const section& from, const original& frame) noexcept {
  return from.pcapng && load<std::uint32_t>(frame.record.data(), from.swapped) == block::simple_packet &&
         load<std::uint32_t>(frame.record.data() + 8, from.swapped) > frame.size;
}

}  // namespace

bytes section::add(bytes record) {
  const std::size_t begin = head.size();
  head.insert(head.end(), record.begin(), record.end());
  const bytes taken = bytes(head).subspan(begin);
  if (pcapng && begin == 0) {
    // How long the section was; it may be shorter now.
    std::memset(head.data() + 16, 0xff, 8);
    return taken;
  }
  std::byte* const at = head.data() + begin + (pcapng ? 12 : 16);
  const auto snap_length = load<std::uint32_t>(at, swapped);
  // In pcapng 0 is without a limit; in pcap it is left to readers what that means.
  if (snap_length != 0 && snap_length < max_frame) put(at, pcapng ? 0 : std::uint32_t{max_frame}, swapped);
  return taken;
}

bool passes(const verdict& given) noexcept {
  switch (given.what()) {
    case verdict::action::drop:
      return false;
    case verdict::action::queue:
      return (given.value() & 0x8000) != 0;
    default:
      return true;
  }
}

void passed::begin(const std::shared_ptr<const section>& next) {
  current_ = next;
  output_.append(current_->head);
}

void passed::add_to_head(const std::shared_ptr<const section>& to, bytes record) {
  if (to != current_) return begin(to);
  output_.append(record);
}

void passed::add(const std::shared_ptr<const section>& to, bytes record) {
  if (to != current_) begin(to);
  output_.append(record);
}

void passed::write(const std::shared_ptr<const section>& from, const original& frame, bytes replacement) {
  if (from != current_) begin(from);
  waiting_.push_back({frame.number, frame.offset});
  if (!replacement.empty()) {
    write_changed(*from, frame, replacement);
  } else if (frame.recorded) {
    write_without_note(*from, frame);
  } else if (is_cut_simple(*from, frame)) [[unlikely]] {
    const auto original_size = load<std::uint32_t>(frame.record.data() + 8, from->swapped);
    write_block(*from, frame, {}, frame.record.subspan(frame.frame_at, frame.size), original_size, {});
  } else {
    output_.append(frame.record);
  }
  output_.end_record();
}

result<void> passed::flush() {
  auto flushed = output_.flush();
  waiting_.erase(waiting_.begin(), waiting_.end() - static_cast<std::ptrdiff_t>(output_.records()));
  if (!flushed && !waiting_.empty()) {
    flushed.error().packet = waiting_.front().number;
    flushed.error().offset = waiting_.front().offset;
  }
  return flushed;
}

void passed::write_without_note(const section& from, const original& frame) {
  const bytes head = frame.record.first(static_cast<std::size_t>(frame.options.data() - frame.record.data()));
  const auto options = options_that_hold(from, frame, false);
  const auto total = static_cast<std::uint32_t>(head.size() + options.size() + sizeof(std::uint32_t));
  std::byte* const begin = output_.grow(total).data();
  put(put(put(begin, head), options), total, from.swapped);
  put(begin + sizeof(std::uint32_t), total, from.swapped);  // behind the type
}

void passed::write_changed(const section& from, const original& frame, bytes replacement) {
  const bytes link = frame.record.subspan(frame.frame_at, frame.link_size);
  std::vector<std::byte> checked;
  if (const std::size_t check_size = check_size_of(from, frame); check_size != 0) [[unlikely]] {
    checked.assign(replacement.begin(), replacement.end());
    checked.resize(replacement.size() + check_size);  // of other sizes than Ethernet's it is 0
    const std::uint32_t sum = ~check(check(~std::uint32_t{0}, link), replacement);
    for (std::size_t i = 0; check_size == 4 && i < 4; ++i) {
      checked[replacement.size() + i] = static_cast<std::byte>(sum >> 8 * i);
    }
    replacement = checked;
  }
  const std::size_t size = link.size() + replacement.size();
  const auto size_now = static_cast<std::uint32_t>(size);
  if (!from.pcapng) {
    std::byte* at = output_.grow(16 + size).data();
    at = put(at, frame.record.first(8));  // the time
    at = put(put(at, size_now, from.swapped), size_now, from.swapped);
    put(put(at, link), replacement);
    return;
  }
  write_block(from, frame, link, replacement, size_now, options_that_hold(from, frame, true));
}

/// Simple and old blocks become of the common kind, too: it can say everything.
void passed::write_block(const section& from, const original& frame, bytes link, bytes rest,
                         std::uint32_t original_size, bytes options) {
  const std::size_t size = link.size() + rest.size();
  const auto total = static_cast<std::uint32_t>(32 + padded(size) + options.size());
  std::byte* at = output_.grow(total).data();
  const bool timeless = load<std::uint32_t>(frame.record.data(), from.swapped) == block::simple_packet;
  constexpr std::byte no_time[8]{};
  for (const std::uint32_t value : {block::packet, total, frame.interface}) at = put(at, value, from.swapped);
  at = put(at, timeless ? bytes(no_time) : frame.record.subspan(12, 8));
  at = put(put(at, static_cast<std::uint32_t>(size), from.swapped), original_size, from.swapped);
  at = put(put(at, link), rest);
  std::memset(at, 0, padded(size) - size);
  at = put(at + (padded(size) - size), options);
  put(at, total, from.swapped);
}

}  // namespace ipq::capture
