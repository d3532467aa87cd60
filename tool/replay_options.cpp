// SPDX-License-Identifier: MIT
#include "replay_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "command_line.hpp"
#include "ipq/decode.hpp"
#include "live_options.hpp"
#include "rules/file.hpp"

namespace tool {
namespace {

parsed<std::uint8_t> parse_hook(std::string_view text) {
  // By number.
  static constexpr std::array<std::string_view, 5> names{"prerouting", "input", "forward", "output", "postrouting"};
  const auto* const found = std::ranges::find(names, text);
  if (found != names.end()) return static_cast<std::uint8_t>(found - names.begin());
  return std::unexpected(fmt::format("'{}': expected prerouting, input, forward, output or postrouting", text));
}

}  // namespace

void add_replay_options(command_line& to, replay_options& options) {
  to.add_option("--hook", "HOOK", options.hook, parse_hook,
                "where packets of a plain capture are: prerouting, input, forward, output or postrouting; "
                "without it forward");
  to.add_option("--interface", "NAME", options.interface, "their interface, where the capture names none");
  to.add_option("--else", "accept|drop", options.otherwise, parse_verdict,
                "what becomes of packets that no rule matches; without it accept");
  to.add_option("--seed", "N", options.seed, number_between(0, ~0ull),
                "of loss, jitter and the like: the same gives the same again; without it 0");
  to.add_option("--workers", "N", options.workers, number_between(1, 256),
                "of ipq run, where it recorded with several, each with dice of its own; without it 1");
  add_queue_option(to, options.first_queue, options.last_queue, "the queues that these workers served; without it 0");
}

ipq::capture_options capture_options_of(const replay_options& from) {
  return {.hook = from.hook, .interface = from.interface};
}

outcome<void> check(const replay_options& options) {
  return check_workers(options.workers, options.last_queue - options.first_queue + 1u);
}

const ipq::packet* as_live(const ipq::packet& packet, ipq::packet& view) {
  constexpr std::size_t most = ipq::verdict::max_payload;
  if (packet.payload.size() <= most) return &packet;
  view = packet;
  view.payload = packet.payload.first(most);
  view.truncated = true;
  return &view;
}

failure about_file(const std::string& path, const ipq::error& what) {
  const bool read = std::string_view(what.operation).ends_with("capture");
  const std::string standard = read ? "standard input" : "standard output";
  return {what.is(EACCES) ? no_rights : failed,
          fmt::format("{}: {}", path == "-" ? standard : path, ipq::tool::rules::file_reason(what))};
}

std::size_t protocol_of(const ipq::packet& packet) noexcept {
  const auto layers = ipq::decode(packet.payload);
  if (!layers) return malformed_packet;
  if (layers->fragment == ipq::fragment_state::later) return later_fragment;
  return static_cast<std::size_t>(layers->transport);
}

std::string protocol_name(std::size_t kind) {
  if (kind == malformed_packet) return "malformed";
  if (kind == later_fragment) return "later fragment";
  using enum ipq::ip_protocol;
  switch (static_cast<ipq::ip_protocol>(kind)) {
    case icmp:
      return "icmp";
    case tcp:
      return "tcp";
    case udp:
      return "udp";
    case icmpv6:
      return "icmpv6";
    case esp:
      return "esp";
    case ah:
      return "ah";
    case sctp:
      return "sctp";
    default:
      return fmt::format("protocol {}", kind);
  }
}

}  // namespace tool
