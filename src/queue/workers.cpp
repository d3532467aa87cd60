// SPDX-License-Identifier: MIT
#include "ipq/workers.hpp"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <cerrno>
#include <exception>
#include <latch>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include "netlink/signals_off.hpp"

namespace ipq {
namespace {

result<void> pin_this_thread(int cpu) noexcept {
  if (cpu < 0 || cpu >= CPU_SETSIZE) return failed("pin worker", EINVAL);
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(cpu, &only);
  if (::sched_setaffinity(0, sizeof only, &only) != 0) return failed("pin worker", errno);
  return {};
}

void add(statistics& to, const statistics& one) noexcept {
  to.received += one.received;
  to.accepted += one.accepted;
  to.dropped += one.dropped;
  to.repeated += one.repeated;
  to.stopped += one.stopped;
  to.requeued += one.requeued;
  to.gone += one.gone;
  to.refused += one.refused;
  to.unanswered += one.unanswered;
  to.malformed += one.malformed;
  to.undecided += one.undecided;
  to.receive_buffer += one.receive_buffer;
  if (!to.in_kernel || !one.in_kernel) {
    to.in_kernel.reset();
    return;
  }
  to.in_kernel->queued += one.in_kernel->queued;
  to.in_kernel->waiting += one.in_kernel->waiting;
  to.in_kernel->lost_queue_full += one.in_kernel->lost_queue_full;
  to.in_kernel->lost_no_buffer += one.in_kernel->lost_no_buffer;
}

}  // namespace

class workers::crew {
 public:
  crew(std::vector<queue>&& queues, std::vector<int> cpus, body&& work)
      : queues_(std::move(queues)),
        cpus_(std::move(cpus)),
        work_(std::move(work)),
        ready_(static_cast<std::ptrdiff_t>(queues_.size())) {}
  crew(const crew&) = delete;
  crew& operator=(const crew&) = delete;
  ~crew() {
    stop();
    wait();
  }

  /// No work is done if it fails.
  result<void> start() {
    threads_.reserve(queues_.size());
    const netlink::signals_off for_the_threads;  // which start with the signals of this one
    for (std::size_t i = 0; i < queues_.size(); ++i) {
      const auto refused = start_thread(i);
      if (refused == 0) continue;
      note(failed("start worker", refused));
      ready_.count_down(static_cast<std::ptrdiff_t>(queues_.size() - i));
      break;
    }
    ready_.wait();
    auto started = outcome_;
    go_.count_down();
    return started;
  }

  void stop() noexcept {
    for (queue& each : queues_) each.stop();
  }

  void wait() {
    for (std::thread& each : threads_) {
      if (each.joinable()) each.join();
    }
  }

  result<void> join() {
    wait();
    if (thrown_) std::rethrow_exception(thrown_);
    return outcome_;
  }

  [[nodiscard]] const std::vector<queue>& queues() const noexcept { return queues_; }

 private:
  /// Returns an errno.
  int start_thread(std::size_t worker) {
    try {
      threads_.emplace_back([this, worker] {
        if (!cpus_.empty()) note(pin_this_thread(cpus_[worker % cpus_.size()]));
        ready_.count_down();
        go_.wait();
        run(worker);
      });
      return 0;
    } catch (const std::system_error& refused) {
      return refused.code().value();
    } catch (const std::bad_alloc&) {
      return ENOMEM;
    }
  }

  void note(const result<void>& ended) {
    const std::lock_guard locked(mutex_);
    if (outcome_ && !thrown_ && (ended || !ended.error().is(ECANCELED))) outcome_ = ended;
  }

  void run(std::size_t worker) {
    {
      const std::lock_guard locked(mutex_);
      if (!outcome_ || thrown_) return;
    }
    try {
      note(work_(queues_[worker], worker));
    } catch (...) {
      const auto thrown = std::current_exception();
      if (!thrown) {  // pthread_exit(3) or a cancel, which has to go on
        stop();
        throw;
      }
      const std::lock_guard locked(mutex_);
      if (outcome_ && !thrown_) thrown_ = thrown;
    }
    stop();
  }

  std::vector<queue> queues_;
  const std::vector<int> cpus_;
  const body work_;
  std::latch ready_, go_{1};
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  result<void> outcome_;  ///< the first error
  std::exception_ptr thrown_;
};

workers::workers(std::unique_ptr<crew> made) noexcept : crew_(std::move(made)) {}
workers::workers(workers&&) noexcept = default;
workers& workers::operator=(workers&&) noexcept = default;
workers::~workers() = default;

result<workers> workers::start(const workers_options& options, body work) {
  const auto refuse = [&](const char* advice) {
    auto refused = failed("start workers", EINVAL);
    refused.error().queue = options.queue.number;
    refused.error().advice = advice;
    return refused;
  };
  if (options.count == 0) return refuse("a count of 0");
  if (options.queue.number + options.count > 0x10000) return refuse("the range of queues passes 65535");
  try {
    std::vector<queue> queues;
    queues.reserve(options.count);
    queue_options each = options.queue;
    for (std::uint16_t i = 0; i < options.count; ++i, ++each.number) {
      auto opened = queue::open(each);
      if (!opened) return std::unexpected(opened.error());
      queues.push_back(*std::move(opened));
    }
    auto made = std::make_unique<crew>(std::move(queues), options.cpus, std::move(work));
    if (const auto started = made->start(); !started) return std::unexpected(started.error());
    return workers(std::move(made));
  } catch (const std::bad_alloc&) {
    return failed("start workers", ENOMEM);
  }
}

void workers::stop() noexcept {
  crew_->stop();
}

result<void> workers::join() {
  return crew_->join();
}

statistics workers::stats() const {
  statistics sum;
  sum.in_kernel = statistics::kernel{};
  for (const queue& each : crew_->queues()) add(sum, each.stats());
  return sum;
}

statistics workers::stats(std::size_t worker) const {
  return crew_->queues()[worker].stats();
}

std::size_t workers::size() const noexcept {
  return crew_->queues().size();
}

}  // namespace ipq
