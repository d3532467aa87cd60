// SPDX-License-Identifier: MIT
// Packets and verdicts of any values, recorded: they are read back as they were, and recorded again they are the same
// bytes. See seeds.cpp for the order of the input.
#include <array>
#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "input.hpp"
#include "ipq/capture.hpp"
#include "ipq/recorder.hpp"
#include "memory_file.hpp"

namespace {

using namespace ipq;
using fuzz::require;

constexpr std::size_t memory = 1 << 20;  // the least: what is mapped anew for every input takes most of the time
constexpr std::uint16_t ethertype_ipv4 = 0x0800, ethertype_ipv6 = 0x86dd;

/// A packet and what was said of it, with the bytes that both point to.
struct judged {
  packet about;
  verdict given = verdict::accept();
  record_times times;
  std::vector<std::byte> payload, link, replacement;
};

std::vector<std::byte> copy_of(fuzz::bytes taken) {
  return {taken.begin(), taken.end()};
}

void put_be16(std::vector<std::byte>& into, std::size_t at, std::size_t value) {
  into[at] = static_cast<std::byte>(value >> 8);
  into[at + 1] = static_cast<std::byte>(value);
}

template <class Number>
std::optional<Number> take_optional(fuzz::input& from) {
  return from.flag() ? std::optional(from.take<Number>()) : std::nullopt;
}

verdict take_verdict(fuzz::input& from) {
  // One after the other: compilers differ in the order of arguments.
  const auto number = from.take<std::uint16_t>();
  const std::array plain{verdict::accept(), verdict::drop(), verdict::repeat(), verdict::stop(),
                         verdict::queue(number, from.flag())};
  verdict made = plain[from.byte() % plain.size()];
  if (const auto mark = take_optional<std::uint32_t>(from)) made = made.with_mark(*mark);
  if (const auto priority = take_optional<std::uint32_t>(from)) made = made.with_priority(*priority);
  if (from.flag()) made = made.with_connmark(from.take<std::uint32_t>());
  if (from.flag()) {
    const auto mark = from.take<std::uint32_t>();
    made = made.with_connmark(mark, from.take<std::uint32_t>());
  }
  return made;
}

/// A whole IP packet, or the beginning of one.
void take_packet(fuzz::input& from, judged& into) {
  packet& made = into.about;
  const bool ipv6 = from.flag();
  const bool bridged = from.flag();
  made.family = bridged ? 7 : ipv6 ? 10 : 2;
  made.hw_protocol = ipv6 ? ethertype_ipv6 : ethertype_ipv4;
  into.payload = copy_of(from.take(from.byte()));
  if (into.payload.size() < 40) into.payload.resize(40);
  into.payload[0] = std::byte{ipv6 ? std::uint8_t{0x60} : std::uint8_t{0x45}};
  const std::size_t whole = into.payload.size() + from.byte();
  put_be16(into.payload, ipv6 ? 4 : 2, ipv6 ? whole - 40 : whole);
  if (ipv6 && whole == 40) into.payload[6] = std::byte{59};
  made.payload = into.payload;
  made.original_length = static_cast<std::uint32_t>(whole);
  made.truncated = whole > into.payload.size();

  if (from.flag()) {
    into.link = copy_of(from.take(12));
    into.link.resize(14);
    put_be16(into.link, 12, made.hw_protocol);
    made.l2_header = into.link;
    for (std::size_t i = 0; i < 6; ++i) made.hw_addr[i] = std::to_integer<std::uint8_t>(into.link[6 + i]);
    made.hw_addr_length = 6;
  } else {
    made.hw_addr_length = from.byte() % 9;
    for (std::size_t i = 0; i < made.hw_addr_length; ++i) made.hw_addr[i] = from.byte();
  }
  if (from.flag()) made.vlan = vlan_tag{from.take<std::uint16_t>(), from.take<std::uint16_t>()};
}

void take_facts(fuzz::input& from, packet& made) {
  made.id = from.take<std::uint32_t>();
  made.queue = from.take<std::uint16_t>();
  made.hook = from.byte();
  for (auto* each : {&made.mark, &made.priority}) *each = from.take<std::uint32_t>();
  for (auto* each : {&made.indev, &made.outdev, &made.physindev, &made.physoutdev}) *each = from.byte() % 5;
  for (auto* each : {&made.uid, &made.gid, &made.cgroup_classid, &made.conntrack_info}) {
    *each = take_optional<std::uint32_t>(from);
  }
  for (auto* each : {&made.gso, &made.checksum_not_ready, &made.checksum_not_verified}) *each = from.flag();
}

/// Each has an index from 1; one without a name is called by it.
struct interfaces {
  std::array<std::string, 4> names;

  explicit interfaces(fuzz::input& from) {
    for (auto& each : names) {
      const auto text = from.take(from.byte() % 20);
      each.assign(reinterpret_cast<const char*>(text.data()), text.size());
    }
  }
  [[nodiscard]] std::string_view name(std::uint32_t index) const { return names[index - 1]; }
  [[nodiscard]] std::string shown(std::uint32_t index) const {
    if (index == 0) return "";
    return names[index - 1].empty() ? "if" + std::to_string(index) : names[index - 1];
  }
};

void require_same(const packet& was, const packet& is, const interfaces& named, const capture_reader& from) {
  require(fuzz::equal(was.payload, is.payload) && fuzz::equal(was.l2_header, is.l2_header));
  require(was.original_length == is.original_length && was.truncated == is.truncated);
  require(was.family == is.family && was.hw_protocol == is.hw_protocol);
  require(was.queue == is.queue && was.hook == is.hook && was.mark == is.mark && was.priority == is.priority);
  require(was.uid == is.uid && was.gid == is.gid && was.cgroup_classid == is.cgroup_classid);
  require(was.conntrack_info == is.conntrack_info && was.gso == is.gso);
  require(was.checksum_not_ready == is.checksum_not_ready && was.checksum_not_verified == is.checksum_not_verified);
  require(was.hw_addr == is.hw_addr && was.hw_addr_length == is.hw_addr_length);
  require(was.vlan.has_value() == is.vlan.has_value());
  if (was.vlan) require(was.vlan->protocol == is.vlan->protocol && was.vlan->tci == is.vlan->tci);
  require(named.shown(was.indev) == from.interface_name(is.indev));
  require(named.shown(was.outdev) == from.interface_name(is.outdev));
  require(named.shown(was.physindev) == from.interface_name(is.physindev));
  require(named.shown(was.physoutdev) == from.interface_name(is.physoutdev));
}

void require_same(const verdict& was, const verdict& is) {
  require(was.value() == is.value() && was.mark() == is.mark() && was.priority() == is.priority());
  require(was.connmark() == is.connmark() && was.connmark_mask() == is.connmark_mask());
  require(fuzz::equal(was.payload(), is.payload()));
}

std::vector<std::byte> record(const std::deque<judged>& all, const interfaces& named) {
  const fuzz::memory_file file({});
  auto to = recorder::open(
      file.path(), {.interface_name = [&](std::uint32_t index) { return named.name(index); }, .memory = memory});
  require(to.has_value());
  for (const judged& each : all) require(to->record(each.about, each.given, each.times));
  require(to->close().has_value() && to->counts().recorded == all.size() && to->counts().lost == 0);
  return file.content();
}

/// What the reader gives, recorded anew.
std::vector<std::byte> read_back(const std::vector<std::byte>& recording, const std::deque<judged>& all,
                                 const interfaces& named) {
  const fuzz::memory_file file(recording), again({});
  auto from = capture_reader::open(file.path());
  require(from.has_value());
  auto to = recorder::open(
      again.path(),
      {.interface_name = [&](std::uint32_t index) { return from->interface_name(index); }, .memory = memory});
  require(to.has_value());
  std::size_t count = 0;
  const auto served = serve(*from, [&](const packet& each) {
    require(count < all.size());
    const judged& was = all[count++];
    const capture_frame* const about = from->frame_of(each);
    require(about != nullptr && about->recorded && about->recorded->id == was.about.id);
    require(about->time == *was.times.came && about->recorded->took.has_value() == was.times.took.has_value());
    if (was.times.took) require(*about->recorded->took <= *was.times.took);
    require_same(was.about, each, named, *from);
    require_same(was.given, about->recorded->given);
    packet as_recorded = each;
    as_recorded.id = about->recorded->id;
    require(to->record(as_recorded, about->recorded->given, {.came = about->time, .took = about->recorded->took}));
    return verdict::accept();
  });
  require(served.has_value() && count == all.size() && to->close().has_value());
  return again.content();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input from(data, size);
  const interfaces named(from);
  std::deque<judged> all;
  while (!from.empty() && all.size() < 20) {
    judged& made = all.emplace_back();
    take_facts(from, made.about);
    take_packet(from, made);
    made.given = take_verdict(from);
    made.replacement = copy_of(from.take(from.byte()));
    made.given = made.given.with_payload(std::span(made.replacement));
    made.times.came = std::chrono::nanoseconds(from.take<std::uint64_t>() >> 2);
    if (from.flag()) made.times.took = std::chrono::nanoseconds(from.take<std::uint64_t>() >> 1);
  }
  const auto recording = record(all, named);
  require(read_back(recording, all, named) == recording);
  return 0;
}
