// SPDX-License-Identifier: MIT
// The answer to a packet, or to all packets up to one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "ipq/packet.hpp"
#include "wire/bytes.hpp"
#include "wire/constants.hpp"
#include "wire/header.hpp"

namespace ipq::wire {

/// NFQNL_MSG_VERDICT, or with `batch` NFQNL_MSG_VERDICT_BATCH: the same verdict for every waiting packet up to `id`,
/// read or not; of the rest a batch honours only mark and priority.
struct verdict {
  std::uint16_t queue = 0;
  std::uint32_t id = 0;
  std::uint32_t value = 0;  ///< NF_* in the low 8 bits; for NF_QUEUE the target queue in bits 31 to 16
  bool batch = false;
  bool acknowledge = false;
  std::uint32_t sequence = 0;
  std::uint32_t port_id = 0;  ///< as in config
  std::optional<std::uint32_t> mark = {};
  std::optional<std::uint32_t> priority = {};   ///< Linux 5.18; older kernels pass over it
  std::span<const std::byte> conntrack = {};    ///< ctnetlink attributes to apply; empty: none
  std::span<const std::byte> expectation = {};  ///< with conntrack only
  std::optional<vlan_tag> vlan = {};            ///< for bridge packets, as the next; others pass over it
  std::span<const std::byte> l2_header = {};    ///< replaces the link header, of exactly its length; empty: as it was
  std::optional<std::size_t> payload_length = {};  ///< a replacement payload of this length follows the encoded bytes
};

/// A verdict and nothing else, which is what nearly every packet gets.
struct plain_verdict {
  std::uint16_t queue = 0;
  std::uint32_t id = 0;
  std::uint32_t value = 0;
  bool batch = false;
  bool acknowledge = false;
  std::uint32_t sequence = 0;
  std::uint32_t port_id = 0;
};

inline constexpr std::size_t plain_verdict_size = nlmsg_header_size + nfgen_size + attribute_header_size + 8;

/// Writes the message, plain_verdict_size bytes. Inline and without a branch: in the reader's loop, between two system
/// calls, it is the code that has to come back into the cache that costs.
inline void encode_plain_verdict(const plain_verdict& answer, std::byte* into) noexcept {
  put_header(into, {.type = answer.batch ? message_verdict_batch : message_verdict,
                    .queue = answer.queue,
                    .acknowledge = answer.acknowledge,
                    .sequence = answer.sequence,
                    .port_id = answer.port_id});
  std::byte* const hdr = into + nlmsg_header_size + nfgen_size;  // struct nfqnl_msg_verdict_hdr
  store(into, static_cast<std::uint32_t>(plain_verdict_size));
  store(hdr, static_cast<std::uint16_t>(attribute_header_size + 8));
  store(hdr + 2, std::uint16_t{attribute_verdict_hdr});
  store_be<std::uint32_t>(hdr + 4, answer.value);
  store_be<std::uint32_t>(hdr + 8, answer.id);
}

/// Room for everything but conntrack, expectation and l2_header, which add their aligned size and 4 bytes each.
inline constexpr std::size_t max_verdict_size = 72;

/// Bytes that encode_verdict writes.
[[nodiscard]] std::size_t encoded_size(const verdict& answer) noexcept;

/// Writes the message up to and including the header of the payload attribute, returns the bytes written. The payload
/// itself is not copied: send it behind them. `into` is 4-aligned and holds at least encoded_size(answer); no span and
/// no payload_length is more than max_payload. A message that is not the last in its datagram needs padding to 4 behind
/// the payload.
std::size_t encode_verdict(const verdict& answer, std::span<std::byte> into) noexcept;

}  // namespace ipq::wire
