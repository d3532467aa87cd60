// SPDX-License-Identifier: MIT
// A scripted kernel: a source of sockets whose other end answers as nfnetlink_queue and rtnetlink do, for tests that
// need no rights. It follows the kernel's rules as far as tests ask for them, and a script may break them.
//
//   scripted_kernel kernel;
//   kernel.set_interface(2, "eth0", 1);
//   use(kernel);                                   // opens sockets, binds queue 0, asks for packets
//   const auto id = kernel.queue_packet({.hook = 1, .indev = 2, .payload = bytes});
//   use_more();                                    // reads the packet, answers
//   EXPECT_EQ(kernel.verdicts().at(0).value, 1u);
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ipq/packet.hpp"
#include "netlink/socket.hpp"

namespace ipq::netlink {

using byte_vector = std::vector<std::byte>;

/// A netlink message that came from the code under test.
struct scripted_request {
  struct attribute {
    std::uint16_t type = 0;  ///< with the flags for nesting and byte order
    byte_vector value;
  };

  std::size_t socket = 0;  ///< on which socket, counted from 0 in the order of opening
  int protocol = 0;        ///< NETLINK_*
  std::uint16_t type = 0;  ///< nlmsg_type and the others of struct nlmsghdr
  std::uint16_t flags = 0;
  std::uint32_t sequence = 0;
  std::uint32_t port_id = 0;
  std::uint16_t queue = 0;            ///< nfnetlink: res_id
  std::vector<attribute> attributes;  ///< nfnetlink: in their order
  byte_vector bytes;                  ///< the whole message

  /// The value of the last attribute of this type, flags aside, or null.
  [[nodiscard]] const byte_vector* find(std::uint16_t attribute_type) const;
  /// The big-endian number of 32 bits at `offset` of that attribute; throws if it is not there.
  [[nodiscard]] std::uint32_t number(std::uint16_t attribute_type, std::size_t offset = 0) const;
};

/// A verdict that was accepted; a batch leaves one for each packet.
struct scripted_verdict {
  std::uint16_t queue = 0;
  std::uint32_t id = 0;
  std::uint32_t value = 0;
  std::optional<std::uint32_t> mark = {};
  std::optional<std::uint32_t> priority = {};
  std::optional<byte_vector> payload = {};
};

struct scripted_queue {
  std::size_t owner = 0;       ///< socket that bound it
  std::uint8_t copy_mode = 0;  ///< until it is told otherwise a queue copies nothing and drops everything
  std::uint32_t copy_range = 0;
  std::uint32_t max_length = 1024;
  std::uint32_t flags = 0;
  std::uint32_t last_id = 0;
  std::uint32_t dropped = 0;           ///< packets that found the queue full
  std::vector<std::uint32_t> waiting;  ///< ids without a verdict, in the order of queueing
};

/// Every member may be called from any thread.
///
/// A real kernel has answered when send returns. Here a thread answers, soon; whoever must not wait calls settle(),
/// after which everything that was sent before has its answer, ready to be received. All members that look (requests,
/// verdicts, find_queue, open_sockets) and queue_packet do that first.
///
/// Differences to know of: port_id() of a socket is 0, and drops() too: nothing is ever lost, since what does not fit
/// into the socket waits here. Options of netlink sockets are refused, as on any pair of sockets.
class scripted_kernel final : public socket_source {
 public:
  /// Datagrams that answer a request; none at all for an answer that gets lost.
  using answers = std::vector<byte_vector>;
  /// Decides what a request is answered with; nullopt: what the kernel would say, and do. Called with the lock held: it
  /// must not call members other than the static ones.
  using handler = std::function<std::optional<answers>(const scripted_request&)>;

  scripted_kernel();
  /// Ends every connection: who receives then gets a length of 0.
  ~scripted_kernel();
  scripted_kernel(const scripted_kernel&) = delete;
  scripted_kernel& operator=(const scripted_kernel&) = delete;

  [[nodiscard]] result<socket> open(int protocol, std::uint32_t groups = 0) const noexcept override;

  // What it is like. Everything is allowed and there, but no interface, until one of these says otherwise.

  void set_handler(handler decides);
  /// From now on open fails with this errno; 0: no longer.
  void refuse_sockets(int error);
  /// Whether the caller has CAP_NET_ADMIN: without it every request about queues is EPERM.
  void set_rights(bool has_them);
  /// Whether the kernel has nfnetlink_queue: without it every request about queues is EINVAL.
  void set_queues(bool are_there);
  /// Adds, changes or renames an interface, and announces it to sockets of the group RTMGRP_LINK.
  void set_interface(std::uint32_t index, std::string_view name, std::uint16_t type);
  void remove_interface(std::uint32_t index);
  /// The id of the packet that is queued next.
  void set_next_id(std::uint16_t queue, std::uint32_t id);

  // What it sends.

  /// Queues a packet to `described.queue`: payload is the whole of it, the id is chosen here, and truncated is the copy
  /// range's work. Returns the id; nullopt if the packet was dropped, or accepted since the queue fails open.
  std::optional<std::uint32_t> queue_packet(const packet& described);
  /// Sends any bytes to the first socket of this protocol that is open; throws if there is none.
  void deliver(std::span<const std::byte> datagram, int protocol = 12 /* NETLINK_NETFILTER */);
  /// The kernel's answer to a request: NLMSG_ERROR with a positive errno, or 0 for an acknowledgement.
  [[nodiscard]] static byte_vector answer(const scripted_request& request, int error);

  // What it has seen.

  /// Waits until everything that was sent before this call is answered.
  void settle();
  /// Waits until so many requests have come in all; false if they do not within `patience`.
  [[nodiscard]] bool wait_for_requests(std::size_t count,
                                       std::chrono::milliseconds patience = std::chrono::seconds(10));
  [[nodiscard]] std::vector<scripted_request> requests();
  [[nodiscard]] std::vector<scripted_verdict> verdicts();
  /// nullopt if nobody has bound it.
  [[nodiscard]] std::optional<scripted_queue> find_queue(std::uint16_t number);
  /// How many sockets of this protocol are open.
  [[nodiscard]] std::size_t open_sockets(int protocol);

 private:
  struct state;
  const std::unique_ptr<state> state_;
};

}  // namespace ipq::netlink
