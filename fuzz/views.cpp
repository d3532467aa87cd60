// SPDX-License-Identifier: MIT
// Any bytes through every view of a packet: what is handed out lies in the bytes, and nothing runs forever.
#include "input.hpp"
#include "ipq/decode.hpp"
#include "ipq/icmp.hpp"
#include "ipq/ipv4.hpp"
#include "ipq/ipv6.hpp"
#include "ipq/tcp.hpp"
#include "ipq/udp.hpp"

namespace {

using namespace ipq;
using fuzz::bytes;
using fuzz::lies_in;
using fuzz::require;

// Whatever an accessor returns is used, so that it is really read.
volatile std::uint64_t sink;

template <class... Numbers>
void use(Numbers... numbers) {
  sink = (static_cast<std::uint64_t>(numbers) + ... + 0);
}

template <class View>
void check_parts(const View& view, bytes all) {
  require(lies_in(view.bytes(), all) && lies_in(view.header(), view.bytes()) && lies_in(view.payload(), view.bytes()));
  require(view.header().size() + view.payload().size() == view.bytes().size());
}

void check_options(const option_range& options, bytes header) {
  std::size_t total = 0;
  for (auto at = options.begin(); at != options.end(); at++) {
    require(lies_in(at->bytes, header) && lies_in(at->data, at->bytes));
    require(at->bytes.size() == at->data.size() + 2 && at->kind > 1);
    total += at->bytes.size();
  }
  require(total <= 40);
}

void view_ipv4(bytes all) {
  const auto ip = ipv4_view::parse(all);
  if (!ip) return;
  check_parts(*ip, all);
  require(ip->header_length() >= 20 && ip->header_length() <= 60 && ip->fragment_offset() % 8 == 0);
  require(ip->is_fragment() == (ip->fragment() != fragment_state::none));
  require(ip->first_fragment() == (ip->fragment() == fragment_state::first));
  require(ip->truncated() == (ip->total_length() > all.size()));
  check_options(ip->options(), ip->header());
  use(ip->dscp(), ip->ecn(), ip->identification(), ip->dont_fragment(), ip->time_to_live(), ip->protocol(),
      ip->header_checksum(), ip->source().bytes[0], ip->destination().bytes[3]);
}

void view_ipv6(bytes all) {
  const auto ip = ipv6_view::parse(all);
  if (!ip) return;
  check_parts(*ip, all);
  const auto chain = ip->walk();
  require(chain.headers <= ipv6_view::most_extension_headers);
  require(chain.transport_offset >= 40 && chain.transport_offset <= ip->bytes().size());
  require(chain.fragment_offset % 8 == 0 && ip->flow_label() <= 0xfffff && ip->dscp() < 64 && ip->ecn() < 4);
  use(ip->payload_length(), ip->next_header(), ip->hop_limit(), ip->source().bytes[0], ip->destination().bytes[15],
      ip->truncated(), chain.identification, chain.complete, chain.routed, chain.home_address, chain.more_fragments);
}

void view_transports(bytes all) {
  if (const auto tcp = tcp_view::parse(all)) {
    check_parts(*tcp, all);
    check_options(tcp->options(), tcp->header());
    use(tcp->source_port(), tcp->destination_port(), tcp->sequence_number(), tcp->acknowledgment_number(), tcp->syn(),
        tcp->ack(), tcp->fin(), tcp->rst(), tcp->window(), tcp->checksum(), tcp->urgent_pointer());
  }
  if (const auto udp = udp_view::parse(all)) {
    check_parts(*udp, all);
    use(udp->source_port(), udp->destination_port(), udp->length(), udp->checksum());
  }
  if (const auto icmp = icmp_view::parse(all)) {
    check_parts(*icmp, all);
    use(icmp->type(), icmp->code(), icmp->checksum(), icmp->is_echo(), icmp->is_error(), icmp->identifier(),
        icmp->sequence());
  }
  if (const auto icmp = icmpv6_view::parse(all)) {
    check_parts(*icmp, all);
    use(icmp->is_echo(), icmp->is_error());
  }
}

void check_layers(bytes all) {
  const auto found = decode(all);
  require(found.has_value() == (ipv4_view::parse(all) || ipv6_view::parse(all)));
  if (!found) return;
  require(found->version == 4 || found->version == 6);
  require(found->transport_offset <= found->payload_offset && found->payload_offset <= found->end);
  require(found->end <= all.size());
  if (!found->has_transport) {
    require(found->payload_offset == found->transport_offset);
    return;
  }
  require(found->fragment != fragment_state::later);
  const bytes transport = all.first(found->end).subspan(found->transport_offset);
  view_transports(transport);
  switch (found->transport) {
    case ip_protocol::tcp:
      require(tcp_view::parse(transport).has_value());
      break;
    case ip_protocol::udp:
      require(udp_view::parse(transport).has_value());
      break;
    case ip_protocol::icmp:
      require(found->version == 4 && icmp_view::parse(transport).has_value());
      break;
    default:
      require(found->version == 6 && found->transport == ip_protocol::icmpv6);
      require(icmpv6_view::parse(transport).has_value());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const bytes all = std::as_bytes(std::span(data, size));
  view_ipv4(all);
  view_ipv6(all);
  view_transports(all);
  check_layers(all);
  return 0;
}
