// SPDX-License-Identifier: MIT
// A live queue of the kernel: batches of packets in, verdicts out, together where that changes nothing.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "ipq/error.hpp"
#include "ipq/packet.hpp"
#include "ipq/source.hpp"
#include "ipq/verdict.hpp"

namespace ipq {

namespace queues {
struct maker;
}

/// How a queue is opened. Everything has a default, so name what differs, in this order: `{.number = 3, .gso =
/// true}`.
struct queue_options {
  std::uint16_t number = 0;  ///< of the rule: NFQUEUE --queue-num, or 0 for the old QUEUE

  /// Where the queue is: a name of ip-netns(8), or with a slash a path as "/proc/PID/ns/net". Empty: in the network
  /// namespace of the thread that opens it. Another one needs CAP_SYS_ADMIN; the thread stays where it is.
  std::string network_namespace = {};
  int network_namespace_fd = -1;  ///< the same as a descriptor, which stays the caller's; one of the two (EINVAL)

  bool metadata_only = false;    ///< no payload (NFQNL_COPY_META); not together with copy_range (EINVAL)
  std::uint32_t copy_range = 0;  ///< bytes of each packet, at most 65531; 0 all. A packet that has more is `truncated`
  std::uint32_t max_length = 1024;  ///< packets that may wait, at least 1 (EINVAL); the next are dropped, and counted
  bool fail_open = false;           ///< accept instead of drop what finds the queue or the receive buffer full
  bool gso = false;        ///< take segments unsplit: several times faster for TCP; such packets have `gso` set
  bool conntrack = false;  ///< connection of each packet; kernels without CONFIG_NETFILTER_NETLINK_GLUE_CT refuse
  bool uid_gid = false;    ///< owner of the sending socket, of packets sent by this machine
  bool security_context = false;  ///< label of the sending socket
  bool timestamps = false;        ///< time of reception; makes the kernel stamp all packets while the queue is open

  /// Bytes of packets that the kernel may hold for us; 0: what max_length packets of copy_range bytes need, at most
  /// 64 MiB. Beyond net.core.rmem_max only where CAP_NET_ADMIN is held in the initial user namespace; see
  /// statistics::receive_buffer for what came of it.
  std::size_t receive_buffer = 0;

  /// What receive() does when few packets are there, or none. None of these matters to try_receive().
  enum class waiting : std::uint8_t {
    adaptive,   ///< reads at once. Before it sleeps it looks for packets for 20 us, as long as that finds some. In a
                ///< flood of more than 200 000 packets a second, and unless that slows it down, as throughput
    latency,    ///< always looks for packets for 50 us before it sleeps: spends CPU time to save the time of waking up
    throughput  ///< lets packets gather for 50 us before it reads: they get their verdicts later by that and by what
                ///< timers are late (another 50 us for ordinary threads), for much less CPU time
  };
  waiting when_idle = waiting::adaptive;

  /// For packets that the program passes over: not answered and not held when the next batch is asked for. Without a
  /// payload (EINVAL).
  verdict unanswered = verdict::drop();

  /// How long verdicts that were given may be collected while the program is busy with the rest of a batch. A verdict
  /// that is given later than this after receive(), or after the last ones were sent, goes out at once and takes with
  /// it what was collected, as does hold(); so does the last that holders of packets owe with what they decided. The
  /// clock moves in ticks of 1 to 10 ms: a verdict is on its way at latest after verdict_delay, a tick, and the time
  /// until the next set_verdict(), hold() or receive(); a holder's, until the next of holders or those of the queue
  /// that send. 0: each goes at once, and by itself. Not negative (EINVAL).
  std::chrono::milliseconds verdict_delay{5};

  /// For packets that wait when the queue is closed. Where a verdict could not be sent, or one other than accept was
  /// refused, or packets have passed this queue by (see below), all are dropped. With accept_waiting what comes from
  /// then on passes as well, until the queue is gone, or adopted by somebody who has kept the descriptor; but a process
  /// that has forked since it opened the queue may lose what comes as it closes it.
  enum class closing : std::uint8_t { drop_waiting, accept_waiting };
  closing at_close = closing::drop_waiting;
};

/// Owns a queue number of a network namespace. What was moved from may only be assigned to or destroyed.
///
/// Verdicts are collected, and sent together in order of arrival: when the last packet of a batch has its verdict, with
/// every receive() before it reads or waits, by flush(), and when queue_options::verdict_delay has passed. A run of
/// equal verdicts goes out as one batch verdict where every earlier packet is decided, held ones included, so that it
/// can't hit a packet that is not decided. None does any more once a verdict was refused, as that packet waits on (to
/// know, the thread looks for its CAP_NET_ADMIN before it sends, capget(2)), or once ids are missing that the kernel
/// does not count as lost, as somebody else has those packets, or nobody.
///
/// fork(2): a packet is its receiver's. Parent and children may receive from one queue, each its own packets, and
/// events that may be about the others' verdicts. Once a second process has received, verdicts go out one by one for
/// good, and none of them accepts at its end what waits: it is dropped when the last one has closed. A child's copy
/// does nothing by itself with what its parent has: what the child decides of that goes at once, the rest it leaves.
/// With its first receive the batch that it inherited ends, and its counters begin at 0. A parent that leaves the queue
/// to a child and closes its own copy before that has received deals with what waits as at_close says, unless it ends
/// by _exit(2). Before Linux 4.14 a child can't be told from its parent: there one of them alone may use the queue
/// after a fork.
class queue final : public source {
 public:
  /// Binds. Errors: EPERM the right is missing (CAP_NET_ADMIN in the network namespace, or CAP_SYS_ADMIN to go into
  /// it); ENOENT there is no such network namespace; ENOMEM; EBUSY somebody has the number,
  /// named in the message where that can be known; EINVAL a bad option; ENOSYS a kernel without nfnetlink_queue;
  /// EOPNOTSUPP it lacks what a flag asks for; ETIMEDOUT no answer; those of socket(2).
  [[nodiscard]] static result<queue> open(const queue_options& options);

  /// Takes over a netlink socket that was opened elsewhere, as one that another process gave away with release() and
  /// sent by SCM_RIGHTS. If it has the queue options.number, the queue goes on as it is, with these options and all
  /// packets that wait in the socket; those that the one before has received and not decided get `unanswered` with the
  /// first flush after the first packet, before which they can't be told apart. If not, the queue is bound. Counters
  /// begin at 0, but for the kernel's. Afterwards `fd` is closed, unless there was an error: what waited in the socket
  /// then belongs to those that the one before has not decided. Whoever else has kept a descriptor of the socket must
  /// not receive from it meanwhile: what that one has not decided may get `unanswered`. A filter (SO_ATTACH_FILTER) is
  /// taken away, as what it rejects would never be decided. Errors: as open(); EINVAL `fd` is no socket of
  /// NETLINK_NETFILTER, or it has another queue, or its filter is locked (SO_LOCK_FILTER), or a network namespace is
  /// given; EBADF.
  [[nodiscard]] static result<queue> adopt(int fd, const queue_options& options);

  /// Gives the socket away, with the queue and what waits in it: sends what was decided, lets the rest of the batch
  /// have `unanswered`, and returns the descriptor, which is the caller's. Meanwhile the kernel goes on queueing. Uses
  /// the queue up, but for an error. Errors: those of flush(); EBUSY packets are held, or came with adopt() and are not
  /// received yet: nobody could decide them.
  [[nodiscard]] result<int> release() &&;

  queue(queue&&) noexcept;
  queue& operator=(queue&&) noexcept;
  /// Sends what was decided, then deals with what waits as queue_options::at_close says.
  ~queue() override;

  /// Up to 64 packets, as many as are there; where it had to sleep without a deadline, the one that woke it. Errors
  /// besides those of source: those of recvmmsg(2). None but ECANCELED ends the queue.
  [[nodiscard]] batch_result receive(clock::time_point deadline = clock::time_point::max()) & override;
  [[nodiscard]] batch_result try_receive() & override;
  batch_result receive(clock::time_point deadline = clock::time_point::max()) && = delete;
  batch_result try_receive() && = delete;

  result<void> set_verdict(const packet& which, const verdict& answer) override;
  [[nodiscard]] result<held_packet> hold(const packet& which) override;
  /// Errors: those of sendmsg(2).
  result<void> flush() override;
  void stop() noexcept override;

  /// From now on `packets`, at least 1 (EINVAL), may wait for a verdict (queue_options::max_length); if fewer, those
  /// that wait stay. The receive buffer grows with it where queue_options::receive_buffer is 0. From any thread, while
  /// others receive. Errors: EPERM the thread lacks CAP_NET_ADMIN; those of send(2).
  result<void> set_max_length(std::uint32_t packets);

  /// The netlink socket: nothing is kept back in the library.
  [[nodiscard]] int fd() const noexcept override;
  [[nodiscard]] std::uint16_t number() const noexcept;

  /// A snapshot, from any thread. Reads a file of /proc, for some 10 us, seldom 100, during which no verdict is sent.
  [[nodiscard]] statistics stats() const override;

 private:
  class core;
  friend struct queues::maker;
  explicit queue(std::unique_ptr<core> made) noexcept;
  std::unique_ptr<core> core_;
};

}  // namespace ipq
