// SPDX-License-Identifier: MIT
#include "replay_options.hpp"

#include <fmt/format.h>

#include <map>

#include "ipq/decode.hpp"

namespace tool {
namespace {

const std::map<std::string, std::uint8_t> hooks{
    {"prerouting", std::uint8_t{0}}, {"input", std::uint8_t{1}},       {"forward", std::uint8_t{2}},
    {"output", std::uint8_t{3}},     {"postrouting", std::uint8_t{4}},
};

}  // namespace

void add_replay_options(CLI::App& to, replay_options& options) {
  to.add_option("--hook", options.hook, "where packets of a plain capture are: prerouting to postrouting (forward)")
      ->check(CLI::IsMember(hooks));
  to.add_option("--interface", options.interface, "their interface, where the capture names none")->type_name("NAME");
  to.add_option("--else", options.otherwise, "for what no rule decides: accept or drop (accept)")
      ->check(CLI::IsMember({"accept", "drop"}));
  to.add_option("--seed", options.seed, "of loss, jitter and the like: the same gives the same again (0)");
}

ipq::capture_options capture_options_of(const replay_options& from) {
  return {.hook = hooks.at(from.hook), .interface = from.interface};
}

ipq::tool::rules::engine make_engine(const ipq::tool::rules::ruleset& rules, const replay_options& from,
                                     const ipq::capture_reader& names) {
  return ipq::tool::rules::engine(
      rules, {.seed = from.seed,
              .otherwise = from.otherwise == "drop" ? ipq::verdict::drop() : ipq::verdict::accept(),
              .names = [&names](std::uint32_t index) { return names.interface_name(index); }});
}

failure about_file(const std::string& path, const ipq::error& what) {
  return {failed, fmt::format("{}: {}", path == "-" ? "standard input" : path, what.message())};
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
