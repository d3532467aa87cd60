// SPDX-License-Identifier: MIT
// A range of queues, each with a thread of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "ipq/error.hpp"
#include "ipq/queue.hpp"
#include "ipq/source.hpp"

namespace ipq {

/// Which queues, and where their threads run.
struct workers_options {
  queue_options queue = {};    ///< of each queue; `number` is the first one's
  std::uint16_t count = 1;     ///< queues number, number + 1, ..., as NFQUEUE --queue-balance feeds them; 1 or more
  std::vector<int> cpus = {};  ///< worker i is pinned to CPU cpus[i % cpus.size()]; empty: to none
};

/// Queues and the threads that serve them.
///
///     auto pool = ipq::workers::start({.queue = {.number = 0}, .count = 4}, [](ipq::queue& mine, std::size_t) {
///       flow_table flows;  // the worker's own: no lock
///       return ipq::serve(mine, [&](const ipq::packet& packet) { return flows.judge(packet); });
///     });
///
/// Order: one worker has all packets of a queue, in the order in which the kernel queued them, and its verdicts go out
/// in that order. The kernel spreads packets over a range (--queue-balance) by addresses and protocol, the same for
/// both directions, so packets between two addresses meet one worker, and none overtakes another; later fragments too.
/// That is not so with --queue-cpu-fanout, which spreads by CPU. Held packets are decided when their holder says so, on
/// any thread, another worker's too.
///
/// The first worker to end, in whatever way, ends all. What was moved from may only be assigned to or destroyed.
class workers {
 public:
  /// What a worker does with its queue; the number counts from 0. Called once in each worker, at the same time, so what
  /// it shares needs locks. After stop() it returns `{}`, as serve() does, or ECANCELED, which counts as that.
  using body = std::function<result<void>(queue& mine, std::size_t worker)>;

  /// Opens all queues, then starts all threads, with all signals blocked. If anything fails nothing is left. Errors:
  /// those of queue::open, about the queue in question; EINVAL a count of 0, a range that passes 65535, or a CPU that
  /// is not there or not for us; EAGAIN too many threads; ENOMEM.
  [[nodiscard]] static result<workers> start(const workers_options& options, body work);

  workers(workers&&) noexcept;
  workers& operator=(workers&&) noexcept;
  /// stop(), join(), and closes the queues as queue_options::at_close says. What join() would say is lost.
  ~workers();

  /// Lets every receive() of the workers end, as queue::stop(). From any thread, the workers' too, or a signal handler.
  void stop() noexcept;

  /// Waits until all workers have ended, and returns the error of the first that ended with one; `{}` if none did.
  /// Throws what a worker threw, if that came first. One thread at a time, and none of the workers; once more it says
  /// the same.
  result<void> join();

  /// The sum over all queues, from any thread. in_kernel is there if it is for each queue.
  [[nodiscard]] statistics stats() const;
  /// Of one worker's queue. Undefined unless worker < size().
  [[nodiscard]] statistics stats(std::size_t worker) const;
  [[nodiscard]] std::size_t size() const noexcept;

 private:
  class crew;
  explicit workers(std::unique_ptr<crew> made) noexcept;
  std::unique_ptr<crew> crew_;
};

}  // namespace ipq
