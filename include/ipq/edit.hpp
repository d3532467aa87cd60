// SPDX-License-Identifier: MIT
// Edits of a queued packet that keep its lengths and checksums right.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ipq/address.hpp"
#include "ipq/decode.hpp"
#include "ipq/error.hpp"
#include "ipq/packet.hpp"

namespace ipq {

/// A copy of a packet, to be changed and written back.
///
///     std::vector<std::byte> buffer;                        // outlives the editor; keep it for the next packet
///     auto editor = packet_editor::edit(packet, buffer);    // refuses what can't be written back
///     if (!editor || !editor->set_destination(there) || !editor->set_destination_port(53)) ...
///     auto bytes = editor->finish();                        // what the verdict carries
///
/// Checksums are changed incrementally (RFC 1624): one that was wrong stays wrong by the same difference, so an edit
/// never hides damage. If the kernel says that the checksum is not ready, finish() computes it whole. A UDP checksum of
/// zero, which means none, stays zero over IPv4; over IPv6, which forbids it, it is computed whole once something that
/// it covers has changed. The result 0 is written 0xffff for UDP and UDP-Lite. Inner packets of ICMP errors are bytes
/// like any others and not translated. Authentication headers, encrypted payloads, and what other protocols than TCP,
/// UDP, UDP-Lite, DCCP and ICMPv6 make of addresses (OSPFv3, PIM and mobility over IPv6) are left as they are: the
/// receiver will refuse those if an edit touches what they protect.
///
/// Setters that fail have changed nothing. Their errors:
///   EAFNOSUPPORT     the packet is of the other IP version
///   EPROTONOSUPPORT  its transport protocol, or the kind of ICMP message, has no such field
///   EOPNOTSUPP       a fragment does not hold what would have to change too; or, for lengths, a packet of several
///                    segments; or a source route, a routing header or a home address option hides the address that the
///                    checksum was made with
///   EBADMSG          a header that would have to change too is cut, malformed, or says another length than IP does
///   ERANGE           the value does not fit its field, or the place is outside of the payload
///   EMSGSIZE         the packet would be longer than its length field can say
///
/// One thread at a time. The editor keeps a pointer to the buffer, which must outlive it and stay untouched meanwhile.
/// What was moved from may only be assigned to or destroyed.
class packet_editor {
 public:
  /// Copies the packet into `buffer`, which is overwritten and must not hold packet.payload; bytes behind the packet's
  /// end are left out. Allocates only if the buffer has never held as much. Fails with
  ///   EMSGSIZE    the packet is truncated: what is missing would be lost
  ///   EBADMSG     not a valid IPv4 or IPv6 packet, or none at all, as in copy mode meta, or another kind of frame of a
  ///               bridge; or the checksum is not ready and lengths contradict each other
  ///   EOPNOTSUPP  the checksum is not ready, and can't be computed: a fragment, another protocol than TCP, UDP, ICMP
  ///               or ICMPv6, an address that is hidden as described above, several segments of UDP in one packet,
  ///               whose checksums the kernel makes from what an edit would overwrite, or it is that of a packet
  ///               inside of this one, as in a tunnel over UDP with offload
  [[nodiscard]] static result<packet_editor> edit(const packet& packet, std::vector<std::byte>& buffer);

  packet_editor(packet_editor&&) noexcept = default;
  packet_editor& operator=(packet_editor&&) noexcept = default;
  packet_editor(const packet_editor&) = delete;  // two editors of one buffer would contradict each other
  packet_editor& operator=(const packet_editor&) = delete;

  /// Addresses. Of a later fragment only the IP header changes, as it holds no checksum of the transport: the first
  /// fragment needs the same edit.
  [[nodiscard]] result<void> set_source(const ipv4_address& address) noexcept;
  [[nodiscard]] result<void> set_source(const ipv6_address& address) noexcept;
  [[nodiscard]] result<void> set_destination(const ipv4_address& address) noexcept;
  [[nodiscard]] result<void> set_destination(const ipv6_address& address) noexcept;

  void set_ttl(std::uint8_t hops) noexcept;                               ///< time to live, or hop limit
  [[nodiscard]] result<void> set_dscp(unsigned dscp) noexcept;            ///< 0 to 63 (RFC 2474)
  [[nodiscard]] result<void> set_ecn(unsigned ecn) noexcept;              ///< 0 to 3 (RFC 3168)
  [[nodiscard]] result<void> set_dont_fragment(bool) noexcept;            ///< IPv4
  [[nodiscard]] result<void> set_identification(std::uint16_t) noexcept;  ///< IPv4

  /// TCP and UDP.
  [[nodiscard]] result<void> set_source_port(std::uint16_t port) noexcept;
  [[nodiscard]] result<void> set_destination_port(std::uint16_t port) noexcept;

  /// TCP. Nobody adjusts the numbers of later segments, or of the other direction: that is the caller's.
  [[nodiscard]] result<void> set_tcp_flags(std::uint8_t flags) noexcept;  ///< tcp_flag bits
  [[nodiscard]] result<void> set_tcp_sequence(std::uint32_t number) noexcept;
  [[nodiscard]] result<void> set_tcp_acknowledgment(std::uint32_t number) noexcept;
  [[nodiscard]] result<void> set_tcp_window(std::uint16_t window) noexcept;
  /// Lowers the maximum segment size that a SYN announces (RFC 9293 section 3.7.1) to `most`; never raises it, and adds
  /// no option. Returns whether it changed anything.
  [[nodiscard]] result<bool> clamp_tcp_mss(std::uint16_t most) noexcept;

  /// Echo requests and replies of ICMP and ICMPv6.
  [[nodiscard]] result<void> set_icmp_identifier(std::uint16_t identifier) noexcept;

  /// Puts other bytes in place of the transport's payload, of any size that fits. Not for fragments, and not for GSO
  /// packets, whose segment size the kernel keeps. The bytes may be part of this packet. Note that the kernel takes at
  /// most 65531 bytes in a verdict.
  [[nodiscard]] result<void> replace_payload(std::span<const std::byte> fresh);
  /// Overwrites as many bytes of the transport's payload, `offset` bytes behind its beginning. Also for first fragments
  /// and GSO packets. The bytes may be part of this packet.
  [[nodiscard]] result<void> overwrite_payload(std::size_t offset, std::span<const std::byte> fresh) noexcept;

  /// The packet as it is now, except for checksums, which finish() puts in place. Valid until the next edit.
  [[nodiscard]] const layers& decoded() const noexcept { return layers_; }
  [[nodiscard]] std::span<const std::byte> payload() const noexcept {  ///< of the transport; empty if there is none
    if (!layers_.has_transport) return {};
    return std::span<const std::byte>(*buffer_).subspan(layers_.payload_offset);
  }

  /// The packet with all checksums in place: the whole buffer, valid until the next edit or until the buffer changes.
  /// Edits may follow, and another finish().
  [[nodiscard]] std::span<const std::byte> finish() noexcept;

 private:
  // Checksum changes that wait for finish(): words that were there, and words that are, in one sum.
  struct pending {
    std::uint64_t sum = 0;
    bool any = false;
  };

  packet_editor(std::vector<std::byte>& buffer, const layers& found, bool gso) noexcept
      : buffer_(&buffer), layers_(found), gso_(gso) {}

  result<void> examine(bool checksum_not_ready) noexcept;
  result<void> set_address(std::size_t at, std::span<const std::byte> address, bool hidden) noexcept;
  result<void> need(ip_protocol protocol, const char* operation) const noexcept;
  result<void> set_port(std::size_t at, std::uint16_t port, const char* operation) noexcept;
  result<void> set_tcp(std::size_t at, std::span<const std::byte> fresh, const char* operation) noexcept;
  result<void> need_payload(const char* operation) const noexcept;

  std::span<std::byte> bytes() noexcept { return *buffer_; }
  void change_header(std::size_t at, std::span<const std::byte> fresh) noexcept;
  void change_transport(std::size_t at, std::span<const std::byte> fresh) noexcept;
  void set_length(std::size_t end) noexcept;
  [[nodiscard]] std::uint16_t whole_checksum() noexcept;
  [[nodiscard]] bool has_pseudo_header() const noexcept { return layers_.transport != ip_protocol::icmp; }

  std::vector<std::byte>* buffer_;
  layers layers_;
  pending header_, transport_;
  std::uint32_t checksum_at_ = 0;  // of the transport; 0: there is none, or none that is known
  bool gso_;
  bool whole_ = false;             // finish() computes the transport checksum from scratch
  bool no_checksum_ = false;       // UDP over IPv4 without one
  bool checksum_missing_ = false;  // the transport has one that depends on the addresses, but it is not here
  bool lengths_agree_ = true;      // UDP's with that of IP
  bool source_hidden_ = false, destination_hidden_ = false;
};

}  // namespace ipq
