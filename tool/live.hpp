// SPDX-License-Identifier: MIT
// What live commands do alike: open queues, give up rights, serve with one or more threads, stop, sum up.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "firewall/selection.hpp"
#include "ipq/queue.hpp"
#include "live_options.hpp"
#include "notify.hpp"

namespace tool {

using steady = std::chrono::steady_clock;

/// What one worker does with packets. Used by one thread at a time.
class handler {
 public:
  virtual ~handler() = default;

  /// Decides or holds every packet, or leaves it to queue_options::unanswered. An error ends the command.
  virtual ipq::result<void> take(ipq::source& from, std::span<const ipq::packet> packets) = 0;
  /// Once the verdicts of take() are on their way: for what may take its time, as printing.
  virtual void after(std::span<const ipq::packet>) {}
  /// When it has to do something though no packet comes.
  [[nodiscard]] virtual steady::time_point next_due() const { return steady::time_point::max(); }
  /// Does what is due.
  virtual ipq::result<void> tick() { return {}; }
  /// The end: decides what it holds.
  virtual void finish() {}
};

/// Blocks the signals that live commands wait for, in this thread and those that it starts, and lets a write to a
/// closed pipe be an error; signals that are ignored stay so. Before anything else.
void block_signals();

/// Says which of these interfaces there are not: no failure, as they come and go.
void note_missing_interfaces(const char* command, const std::vector<std::string>& names);

/// The queues of a live command, and the rules of --select.
class live_session {
 public:
  /// How the command wants its queues, beside what the options say.
  struct wish {
    bool uid_gid = false;
    bool accept_rest = false;                      ///< what waits at the end is accepted
    std::optional<std::uint32_t> max_length = {};  ///< where --max-length says nothing
  };

  /// Checks the options and opens all queues, or none. `command` is a literal, "watch".
  [[nodiscard]] static outcome<live_session> open(const char* command, const live_options& options, const wish& how);
  live_session(live_session&&) noexcept = default;

  /// Installs the rules of --select, if there are any. Before there are threads.
  [[nodiscard]] outcome<void> select();

  /// Serves until the end: --count, --for, SIGINT, SIGTERM, SIGHUP where `reload` is empty, stop(), or an error. Gives
  /// up rights first, and says that it is ready. `handlers`: one for each worker. Once it has begun, the queues are
  /// closed and the rules of --select are gone when it returns.
  struct hooks {
    /// Called with few rights, but before system calls are restricted: may open sockets and start threads.
    std::function<outcome<void>()> prepare = {};
    /// At SIGHUP, by the calling thread beside the workers.
    std::function<void()> reload = {};
    /// When it has said what is served.
    std::function<void()> announced = {};
    /// About once a second, by the same thread. Must not wait.
    std::function<void()> look = {};
  };
  [[nodiscard]] outcome<void> serve(std::span<handler* const> handlers, const hooks& calls);

  /// Lets so many packets wait in each queue from now on, unless --max-length says how many. From any thread.
  [[nodiscard]] outcome<void> make_room(std::uint32_t packets);

  /// Ends serve(), from any thread.
  void stop() noexcept { shared_->stop(); }

  [[nodiscard]] const service_manager& manager() const noexcept { return *manager_; }

  /// Whether serve() has come so far that packets are judged.
  [[nodiscard]] bool has_begun() const noexcept { return has_begun_; }

  /// What the kernel counts for each queue, where that can be read; nothing of closed ones. From any thread.
  struct kernel_counts {
    std::uint16_t number = 0;
    ipq::statistics::kernel counts = {};
  };
  [[nodiscard]] std::vector<kernel_counts> in_kernel() const;
  /// Prints the sum over the queues, as they were when they closed, on standard error, and what to do about losses.
  void print_summary() const;

  [[nodiscard]] const live_options& options() const noexcept { return *options_; }
  [[nodiscard]] const char* command() const noexcept { return command_; }

 private:
  // What the threads share.
  struct shared {
    std::atomic<bool> stopping = false;
    std::atomic<std::uint64_t> left;  ///< packets to judge before the end
    std::mutex lock;
    std::optional<failure> wrong;  ///< the first; under lock
    std::atomic<unsigned> running = 0;
    int wake = -1;     ///< eventfd: readable from the moment of stop() on
    int ended = -1;    ///< eventfd: counts workers that have ended
    int signals = -1;  ///< signalfd
    std::vector<ipq::queue> queues;
    std::mutex closing;  ///< of queues, against those who look at them meanwhile
    void stop() noexcept;
    void fail(failure what) noexcept;
    ~shared();
  };

  live_session(const char* command, const live_options& options) : command_(command), options_(&options) {}
  void announce() const;
  void work(handler& with, unsigned worker) const noexcept;
  ipq::result<void> serve_one(handler& with, ipq::queue& from) const;
  ipq::result<void> serve_several(handler& with, std::span<ipq::queue* const> from) const;
  ipq::result<void> take(handler& with, ipq::queue& from, const ipq::batch& received) const;
  void wait_for_end(const hooks& calls);
  void close_queues();
  [[nodiscard]] ipq::statistics sum_of_queues() const;

  const char* command_;
  const live_options* options_;
  std::optional<firewall::selection> selected_;  ///< goes behind the queues, as with it would go what waits there
  std::unique_ptr<shared> shared_;
  bool has_begun_ = false;
  bool accepts_rest_ = false;  ///< what waits at the end
  ipq::statistics at_end_;
  std::unique_ptr<service_manager> manager_ = std::make_unique<service_manager>();
};

}  // namespace tool
