// SPDX-License-Identifier: MIT
#include "capture/note.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>

#include "capture/link.hpp"
#include "ipq/bytes.hpp"

namespace ipq::capture {
namespace {

constexpr std::array<std::string_view, 5> hooks{"prerouting", "input", "forward", "output", "postrouting"};
constexpr std::string_view verdict_key = "verdict ", replacement_key = "replaced by the verdict, id ";

constexpr std::int64_t longest_took = 1'000'000'000'000'000;  // microseconds: what is longer is no time
constexpr std::uint32_t whole_mark = ~std::uint32_t{0};

void append_number(std::string& text, std::string_view before, std::uint64_t value, int base) {
  std::array<char, 24> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, base).ptr;
  text.append(before).append(digits.data(), end);
}

void write_number(std::string& text, std::string_view key, std::uint64_t value, int base = 10) {
  text.append(", ").append(key);
  append_number(text, base == 16 ? " 0x" : " ", value, base);
}

void write_interface(std::string& text, std::string_view key, std::string_view name) {
  if (name.empty()) return;
  text.append(", ").append(key).append(" ");
  write_name(text, name);
}

void write_action(std::string& text, const verdict& given) {
  using enum verdict::action;
  switch (given.what()) {
    case accept:
      text += "accept";
      break;
    case drop:
      text += "drop";
      break;
    case repeat:
      text += "repeat";
      break;
    case stop:
      text += "stop";
      break;
    case queue:
      text += "queue " + std::to_string(given.value() >> 16);
      if ((given.value() & 0x8000) != 0) text += " bypass";
      break;
  }
}

template <class Number>
bool parse_number(std::string_view text, Number& value, int base = 10) {
  if (base == 16) {
    if (!text.starts_with("0x")) return false;
    text.remove_prefix(2);
  }
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return fault == std::errc{} && end == text.data() + text.size() && !text.empty();
}

/// "0x1/0xff", or "0x1", which leaves the second number as it is.
template <class Number>
bool parse_masked(std::string_view text, Number& value, Number& mask) {
  const std::size_t end = text.find('/');
  if (end != std::string_view::npos && !parse_number(text.substr(end + 1), mask, 16)) return false;
  return parse_number(text.substr(0, end), value, 16);
}

std::optional<verdict> parse_action(std::string_view text) {
  if (text == "accept") return verdict::accept();
  if (text == "drop") return verdict::drop();
  if (text == "repeat") return verdict::repeat();
  if (text == "stop") return verdict::stop();
  if (!text.starts_with("queue ")) return std::nullopt;
  text.remove_prefix(6);
  const bool bypass = text.ends_with(" bypass");
  if (bypass) text.remove_suffix(7);
  std::uint16_t number = 0;
  if (!parse_number(text, number)) return std::nullopt;
  return verdict::queue(number, bypass);
}

bool parse_hw_addr(std::string_view text, packet& about) {
  std::size_t length = 0;
  for (; !text.empty(); ++length) {
    const std::string_view digits = text.substr(0, text.find(':'));
    if (length == about.hw_addr.size() || digits.size() != 2) return false;
    const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), about.hw_addr[length], 16);
    if (fault != std::errc{} || end != digits.data() + digits.size()) return false;
    text.remove_prefix(std::min<std::size_t>(3, text.size()));
  }
  about.hw_addr_length = static_cast<std::uint8_t>(length);
  return true;
}

/// Or not known; else it is that of the bridge, which the packet does not tell.
bool is_ip(std::uint8_t family) noexcept {
  return family == 0 || family == 2 || family == 10;
}

bool has_tag(std::span<const std::byte> link_header) noexcept {
  constexpr std::size_t ethertype = 12;
  return link_header.size() >= ethertype + 2 && is_vlan(read_be16(link_header, ethertype));
}

bool parse_vlan(std::string_view text, packet& about) {
  vlan_tag tag{0, 0};
  if (!text.contains('/') || !parse_masked(text, tag.protocol, tag.tci)) return false;
  about.vlan = tag;
  return true;
}

bool parse_took(std::string_view text, std::optional<std::chrono::nanoseconds>& took) {
  const bool micro = text.ends_with(" us");
  if (!micro && !text.ends_with(" ns")) return false;
  std::int64_t count = 0;
  if (!parse_number(text.substr(0, text.size() - 3), count) || count < 0 || count > longest_took) return false;
  took = std::chrono::nanoseconds(micro ? count * 1000 : count);
  return true;
}

/// One item behind the verdict; false if it is not understood.
bool parse_item(std::string_view item, bool& of_packet, note& made) {
  const auto value_of = [&](std::string_view key) {
    return item.size() > key.size() && item.starts_with(key) && item[key.size()] == ' ' ? item.substr(key.size() + 1)
                                                                                        : std::string_view();
  };
  packet& about = made.about;
  std::uint32_t number = 0;
  if (item == "changed") return made.changed = true;
  if (item == "link header") return made.link_header = true;
  if (item == "gso") return about.gso = true;
  if (item == "checksum not ready") return about.checksum_not_ready = true;
  if (item == "checksum not verified") return about.checksum_not_verified = true;
  if (const auto value = value_of("id"); !value.empty()) {
    of_packet = true;
    return parse_number(value, about.id);
  }
  if (const auto value = value_of("mark"); !value.empty() && !of_packet) {
    if (!parse_number(value, number, 16)) return false;
    made.given = made.given.with_mark(number);
    return true;
  }
  if (const auto value = value_of("priority"); !value.empty() && !of_packet) {
    if (!parse_number(value, number, 16)) return false;
    made.given = made.given.with_priority(number);
    return true;
  }
  if (const auto value = value_of("connmark"); !value.empty()) {
    std::uint32_t mask = whole_mark;
    if (!parse_masked(value, number, mask)) return false;
    made.given = made.given.with_connmark(number, mask);
    return true;
  }
  if (const auto value = value_of("hook"); !value.empty()) {
    const auto found = std::ranges::find(hooks, value);
    if (found != hooks.end()) {
      about.hook = static_cast<std::uint8_t>(found - hooks.begin());
      return true;
    }
    return parse_number(value, about.hook);
  }
  const auto name = [&](std::string_view key, std::string_view& to) {
    const auto value = value_of(key);
    if (!value.empty()) to = value;
    return !value.empty();
  };
  if (name("in", made.names.in) || name("out", made.names.out) || name("port in", made.names.physin) ||
      name("port out", made.names.physout)) {
    return true;
  }
  if (const auto value = value_of("uid"); !value.empty()) return parse_number(value, about.uid.emplace());
  if (const auto value = value_of("gid"); !value.empty()) return parse_number(value, about.gid.emplace());
  if (const auto value = value_of("cgroup"); !value.empty()) {
    return parse_number(value, about.cgroup_classid.emplace(), 16);
  }
  if (const auto value = value_of("conntrack"); !value.empty()) {
    return parse_number(value, about.conntrack_info.emplace());
  }
  if (const auto value = value_of("queue"); !value.empty()) return parse_number(value, about.queue);
  if (const auto value = value_of("had mark"); !value.empty()) return parse_number(value, about.mark, 16);
  if (const auto value = value_of("had priority"); !value.empty()) return parse_number(value, about.priority, 16);
  if (const auto value = value_of("vlan"); !value.empty()) return parse_vlan(value, about);
  if (const auto value = value_of("family"); !value.empty()) return parse_number(value, about.family);
  if (const auto value = value_of("from"); !value.empty()) return parse_hw_addr(value, about);
  if (const auto value = value_of("took"); !value.empty()) return parse_took(value, made.took);
  return true;  // of a later version
}

}  // namespace

void write_name(std::string& text, std::string_view name) {
  for (const char each : name) {
    const auto byte = static_cast<unsigned char>(each);
    if (byte > ' ' && byte < 0x7f && byte != ',' && byte != '%') {
      text += each;
      continue;
    }
    constexpr std::string_view digits = "0123456789abcdef";
    text.append("%").append(1, digits[byte >> 4]).append(1, digits[byte & 15]);
  }
}

std::string parse_name(std::string_view text) {
  std::string name;
  while (!text.empty()) {
    unsigned char byte = 0;
    if (text[0] == '%' && text.size() >= 3 &&
        std::from_chars(text.data() + 1, text.data() + 3, byte, 16).ptr == text.data() + 3) {
      name += static_cast<char>(byte);
      text.remove_prefix(3);
    } else {
      name += text[0];
      text.remove_prefix(1);
    }
  }
  return name;
}

void write_note(std::string& text, const packet& about, const verdict& given, const interface_names& names,
                std::optional<std::chrono::nanoseconds> took) {
  text += verdict_key;
  write_action(text, given);
  if (given.mark()) write_number(text, "mark", *given.mark(), 16);
  if (given.priority()) write_number(text, "priority", *given.priority(), 16);
  if (given.connmark()) {
    write_number(text, "connmark", *given.connmark(), 16);
    if (given.connmark_mask() != whole_mark) append_number(text, "/0x", given.connmark_mask(), 16);
  }
  if (!given.payload().empty()) text += ", changed";
  write_number(text, "id", about.id);
  write_number(text, "queue", about.queue);
  if (about.hook < hooks.size()) {
    text.append(", hook ").append(hooks[about.hook]);
  } else {
    write_number(text, "hook", about.hook);
  }
  write_interface(text, "in", names.in);
  write_interface(text, "out", names.out);
  write_interface(text, "port in", names.physin);
  write_interface(text, "port out", names.physout);
  if (about.mark != 0) write_number(text, "had mark", about.mark, 16);
  if (about.priority != 0) write_number(text, "had priority", about.priority, 16);
  if (about.uid) write_number(text, "uid", *about.uid);
  if (about.gid) write_number(text, "gid", *about.gid);
  if (about.cgroup_classid) write_number(text, "cgroup", *about.cgroup_classid, 16);
  if (about.conntrack_info) write_number(text, "conntrack", *about.conntrack_info);
  if (about.vlan && !has_tag(about.l2_header)) {
    write_number(text, "vlan", about.vlan->protocol, 16);
    append_number(text, "/0x", about.vlan->tci, 16);
  }
  if (!is_ip(about.family)) write_number(text, "family", about.family);
  if (!about.l2_header.empty()) text += ", link header";
  if (about.gso) text += ", gso";
  if (about.checksum_not_ready) text += ", checksum not ready";
  if (about.checksum_not_verified) text += ", checksum not verified";
  if (about.hw_addr_length != 0 && about.l2_header.empty()) {
    text += ", from ";
    for (std::size_t i = 0; i < about.hw_addr_length; ++i) {
      constexpr std::string_view digits = "0123456789abcdef";
      if (i != 0) text += ':';
      text.append(1, digits[about.hw_addr[i] >> 4]).append(1, digits[about.hw_addr[i] & 15]);
    }
  }
  if (took) {
    const auto count = std::clamp<std::int64_t>(took->count(), 0, longest_took * 1000);
    write_number(text, "took", static_cast<std::uint64_t>(count < 1000 ? count : count / 1000));
    text += count < 1000 ? " ns" : " us";
  }
}

void write_replacement_note(std::string& text, std::uint32_t id) {
  text.append(replacement_key).append(std::to_string(id));
}

std::optional<note> parse_note(std::string_view text) {
  if (!text.starts_with(verdict_key)) return std::nullopt;
  const auto take = [&] {
    const std::string_view item = text.substr(0, text.find(", "));
    text.remove_prefix(std::min(item.size() + 2, text.size()));
    return item;
  };
  note made;
  const auto action = parse_action(take().substr(verdict_key.size()));
  if (!action) return std::nullopt;
  made.given = *action;
  for (bool of_packet = false; !text.empty();) {
    if (!parse_item(take(), of_packet, made)) return std::nullopt;
  }
  return made;
}

std::optional<std::uint32_t> parse_replacement_note(std::string_view text) {
  std::uint32_t id = 0;
  if (!text.starts_with(replacement_key) || !parse_number(text.substr(replacement_key.size()), id)) return std::nullopt;
  return id;
}

void restore(const note& from, interface_table& interfaces, packet& into) {
  const packet& was = from.about;
  into.queue = was.queue;
  into.hook = was.hook;
  into.mark = was.mark;
  into.priority = was.priority;
  into.uid = was.uid;
  into.gid = was.gid;
  into.cgroup_classid = was.cgroup_classid;
  into.conntrack_info = was.conntrack_info;
  into.gso = was.gso;
  into.checksum_not_ready = was.checksum_not_ready;
  into.checksum_not_verified = was.checksum_not_verified;
  if (!is_ip(was.family)) into.family = was.family;
  if (was.vlan) into.vlan = was.vlan;
  if (!from.link_header) {
    into.hw_addr = was.hw_addr;
    into.hw_addr_length = was.hw_addr_length;
    into.l2_header = {};
  }
  into.indev = interfaces.index_of(parse_name(from.names.in));
  into.outdev = interfaces.index_of(parse_name(from.names.out));
  into.physindev = interfaces.index_of(parse_name(from.names.physin));
  into.physoutdev = interfaces.index_of(parse_name(from.names.physout));
}

}  // namespace ipq::capture
