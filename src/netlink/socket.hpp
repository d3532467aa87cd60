// SPDX-License-Identifier: MIT
// A netlink socket: opened with the options that a queue needs, sending and receiving whole datagrams. It knows no
// message and keeps no buffer.
#pragma once

#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "ipq/error.hpp"
#include "netlink/descriptor.hpp"

namespace ipq::netlink {

/// What a receive took off the socket. The bytes are in the caller's buffer.
struct datagram {
  std::size_t length;  ///< bytes stored; 0: the other end of a stream of messages has closed
  bool truncated;      ///< the buffer was too small; the rest is lost
};

enum class waiting : std::uint8_t { until_something_comes, not_at_all };

/// Every member may be called from several threads at once, except those that are not const. Sending, receiving and
/// waiting are cancellation points (pthreads(7)), so they are not noexcept.
class socket : public descriptor {
 public:
  using descriptor::descriptor;

  /// Another descriptor, close-on-exec, of what this one refers to.
  [[nodiscard]] result<socket> duplicate() const noexcept;

  /// Closes what this descriptor referred to and lets its number refer to what `other` does; `other` is used up. What
  /// the program set by fcntl(2) stays with the number, as whom SIGIO goes to; what comes to `other` meanwhile may
  /// signal nobody.
  result<void> replace(socket&& other) noexcept;

  /// A number that no other socket has while this one is open; 0 if the descriptor does not refer to a socket.
  [[nodiscard]] std::uint64_t identity() const noexcept;

  /// The port id that the kernel gave the socket: what owns a queue. 0 if it is no netlink socket.
  [[nodiscard]] std::uint32_t port_id() const noexcept;

  /// A number for the network namespace that the socket is in (Linux 5.14); 0 where it can't be told.
  [[nodiscard]] std::uint64_t network_namespace() const noexcept;

  /// Sends the parts as one datagram. A netlink request has been carried out when this returns, and an error it met is
  /// already waiting to be received. The kernel is named as who it is for, since then the rights are those of the
  /// sender, whatever the one had who opened the socket (netlink_net_capable). Errors: those of sendmsg(2), as EMSGSIZE
  /// for more than the send buffer holds.
  result<void> send(std::span<const iovec> parts) const;
  result<void> send(std::span<const std::byte> bytes) const {
    if (send_to_kernel(bytes) >= 0) [[likely]]
      return {};
    return send_again(bytes);
  }

  /// The next datagram from the kernel; other processes can't send to the socket. Errors: EAGAIN with
  /// waiting::not_at_all, EINTR after a signal handler without SA_RESTART, ENOBUFS after a loss, others of recvmsg(2).
  /// Holds nothing while it waits: a signal handler may leave by longjmp and the thread may be cancelled.
  [[nodiscard, gnu::hot]] result<datagram> receive(std::span<std::byte> buffer, waiting how) const;

  /// The first `buffer.size()` bytes of the next datagram, which stays where it is; truncated if it has more. Never
  /// waits: EAGAIN if nothing is there, or first something that the kernel did not send.
  [[nodiscard]] result<datagram> peek(std::span<std::byte> buffer) const;

  /// From now on any signal handler ends a receive that waits, as EINTR: also one with SA_RESTART. Once in a while it
  /// ends with EAGAIN.
  result<void> let_signals_end_waits() const noexcept;

  /// Makes the kernel send something, an acknowledgement of nothing, unless so much is there that nobody waits: a
  /// receive or a poll that waits ends. False: it could not be sent. Async-signal-safe.
  bool wake(std::uint32_t sequence = 0) const noexcept;

  /// Waits until receive has something, at most until `deadline`. EINTR after any signal handler, ETIMEDOUT.
  [[nodiscard]] result<void> wait_readable(std::chrono::steady_clock::time_point deadline) const;

  /// Lets the kernel keep `bytes` of datagrams, more than net.core.rmem_max where the process may (CAP_NET_ADMIN in the
  /// initial user namespace), else as many as that permits. Returns what the kernel keeps now.
  std::size_t set_receive_buffer(std::size_t bytes) const noexcept;
  /// The same, but never fewer than now, also where the right to more has been given up since.
  void grow_receive_buffer(std::size_t bytes) const noexcept;
  std::size_t set_send_buffer(std::size_t bytes) const noexcept;
  [[nodiscard]] std::size_t receive_buffer() const noexcept;
  /// Bytes of the largest datagram that can be sent.
  [[nodiscard]] std::size_t send_room() const noexcept;

  /// While a socket with this option is open the kernel stamps every packet that the machine receives, and
  /// nfnetlink_queue passes the time on.
  result<void> set_timestamps(bool wanted) const noexcept;

  /// Datagrams that the kernel could not put into the receive buffer (sk_drops).
  [[nodiscard]] std::uint32_t drops() const noexcept;

 private:
  /// Sockets of another kind than netlink's, as a script's, pass over the address: they keep the bounds of messages.
  static constexpr sockaddr_nl the_kernel{.nl_family = AF_NETLINK, .nl_pad = 0, .nl_pid = 0, .nl_groups = 0};
  ssize_t send_to_kernel(std::span<const std::byte> bytes) const {
    return ::sendto(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&the_kernel),
                    sizeof the_kernel);
  }
  /// After a failure, with its errno.
  [[gnu::cold]] result<void> send_again(std::span<const std::byte> bytes) const;
};

/// A socket that the program does not know of, and may have closed, as programs do that close what they did not open.
/// Its number may be the program's own since, and then is let alone.
class unseen_socket {
 public:
  unseen_socket() = default;
  explicit unseen_socket(socket&& opened) noexcept : socket_(std::move(opened)), identity_(socket_.identity()) {}
  unseen_socket(unseen_socket&&) noexcept = default;
  unseen_socket& operator=(unseen_socket&& other) noexcept {
    let_go();
    socket_ = std::move(other.socket_);
    identity_ = other.identity_;
    return *this;
  }
  ~unseen_socket() { let_go(); }

  /// A system call. Afterwards it can be used.
  [[nodiscard]] bool is_there() const noexcept { return socket_ && socket_.identity() == identity_; }
  const socket& operator*() const noexcept { return socket_; }
  const socket* operator->() const noexcept { return &socket_; }

 private:
  void let_go() noexcept {
    if (socket_ && !is_there()) static_cast<void>(socket_.release());
  }

  socket socket_;
  std::uint64_t identity_ = 0;
};

/// Where sockets come from: the kernel, or in tests a script.
class socket_source {
 public:
  /// A netlink socket, bound, connected to the kernel and close-on-exec, with NETLINK_CAP_ACK and NETLINK_EXT_ACK.
  /// `protocol` is NETLINK_*, `groups` the multicast groups to hear. Only a socket that hears some is told of a loss;
  /// the others have NETLINK_NO_ENOBUFS. The process id as port id is left to the program, unless the protocol is
  /// NETLINK_NETFILTER. Needs no privilege.
  [[nodiscard]] virtual result<socket> open(int protocol, std::uint32_t groups = 0) const noexcept = 0;

 protected:
  ~socket_source() = default;
};

[[nodiscard]] const socket_source& kernel() noexcept;

/// A duplicate, close-on-exec, of a netlink socket that somebody else opened, with what kernel().open() sees to: it is
/// connected to the kernel and has these options, and no filter. What waits in it stays. Errors: EBADF; EINVAL it is no
/// netlink socket of this protocol; EPERM its filter is locked (SO_LOCK_FILTER); those of connect(2).
[[nodiscard]] result<socket> adopt(int fd, int protocol) noexcept;

/// Waits until one of two descriptors has something to read, at most until `deadline`. Errors: as
/// socket::wait_readable.
[[nodiscard]] result<void> wait_for_either(int first, int second,
                                           std::optional<std::chrono::steady_clock::time_point> deadline);

/// Two connected sockets that keep the bounds of messages, close-on-exec.
[[nodiscard]] result<std::pair<socket, socket>> open_pair() noexcept;

}  // namespace ipq::netlink
