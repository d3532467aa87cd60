// SPDX-License-Identifier: MIT
#include "live.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <exception>
#include <limits>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "firewall/iptables.hpp"
#include "ipq/status.hpp"
#include "printable.hpp"
#include "privileges.hpp"
#include "rules/file.hpp"
#include "say.hpp"
#include "second_signal.hpp"

namespace tool {
namespace {

bool is_ignored(int signal) noexcept {
  struct sigaction now {};
  return ::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

bool hangup_ends = true;  ///< not under nohup(1)

// But for those that whoever started the process wants ignored. Of a SIGHUP that reloads he can't mean that.
sigset_t awaited_signals() noexcept {
  sigset_t made;
  sigemptyset(&made);
  sigaddset(&made, SIGHUP);
  for (const int each : {SIGINT, SIGTERM})
    if (!is_ignored(each)) sigaddset(&made, each);
  return made;
}

// For poll(): rounded up, so that it does not wake before the time.
timespec until(steady::time_point due) noexcept {
  const auto left = std::max(due - steady::now(), steady::duration::zero());
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
  return {.tv_sec = seconds.count(), .tv_nsec = std::chrono::nanoseconds(left - seconds).count()};
}

// Waits until one is readable or the time has come; a signal counts as that.
int wait_readable(std::span<pollfd> fds, steady::time_point due) noexcept {
  const timespec limit = until(due);
  return ::ppoll(fds.data(), fds.size(), due == steady::time_point::max() ? nullptr : &limit, nullptr);
}

// The soft limit is for programs that use select(2), and 256 queues of as many workers take more.
void raise_limit_of_files() noexcept {
  rlimit now{};
  if (::getrlimit(RLIMIT_NOFILE, &now) != 0 || now.rlim_cur == now.rlim_max) return;
  now.rlim_cur = now.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &now);
}

// Whether some descriptors are left: for rules that are read again, for connections of --metrics. If not, workers may
// have found none for the names of interfaces, and what tests these would match nothing.
outcome<void> check_room_for_files(int any) {
  constexpr int needed = 8;
  std::vector<int> taken;
  int error = 0;
  for (int i = 0; i < needed && error == 0; ++i) {
    const int fd = ::fcntl(any, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) error = errno;
    if (fd >= 0) taken.push_back(fd);
  }
  for (const int each : taken) ::close(each);
  if (error == 0) return {};
  return fail(failed, fmt::format("keep descriptors for later: {}", ipq::tool::rules::file_reason(error)));
}

std::string_view plural(std::uint64_t number) noexcept {
  return number == 1 ? "" : "s";
}

// Whatever this command does itself, rules that a killed one could not take with it hold traffic up. That they stay is
// no reason not to start, nor to start late.
void remove_left_rules(const char* command) {
  const auto removed = firewall::remove_stale(firewall::search::easy);
  if (!removed)
    say("ipq {}: {}; it is of an ipq that was killed, and ipq cleanup tries again\n", command, removed.error().message);
  if (removed && *removed > 0) {
    say("ipq {}: removed {} rule{} of an ipq that was killed\n", command, *removed, plural(*removed));
  }
}

}  // namespace

void block_signals() {
  const sigset_t awaited = awaited_signals();
  ::pthread_sigmask(SIG_BLOCK, &awaited, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  hangup_ends = !is_ignored(SIGHUP);
  // For when nothing reads signals any more.
  for (const int each : {SIGINT, SIGTERM}) {
    if (!is_ignored(each)) std::signal(each, end_at_second_signal);
  }
}

void note_missing_interfaces(const char* command, const std::vector<std::string>& names) {
  std::set<std::string> told;
  for (const std::string& each : names) {
    if (::if_nametoindex(each.c_str()) != 0 || !told.insert(each).second) continue;
    say("ipq {}: there is no interface {} now; what tests it waits for one\n", command, printable(each));
  }
}

void live_session::shared::stop() noexcept {
  stopping = true;
  {
    const std::lock_guard guard(closing);
    for (ipq::queue& each : queues) each.stop();
  }
  ::eventfd_write(wake, 1);
}

void live_session::shared::fail(failure what) noexcept {
  {
    const std::lock_guard guard(lock);
    if (!wrong) wrong = std::move(what);
  }
  stop();
}

live_session::shared::~shared() {
  for (const int fd : {wake, ended, signals})
    if (fd >= 0) ::close(fd);
}

outcome<live_session> live_session::open(const char* command, const live_options& options, const wish& how) {
  if (auto checked = check(options); !checked) return std::unexpected(checked.error());
  if (auto checked = check_system_call_filters(); !checked) return std::unexpected(checked.error());
  // Before there is a queue, for which packets would wait meanwhile.
  if (ipq::check_queue_access()) remove_left_rules(command);
  ::tzset();  // reads a file, which is better done now
  raise_limit_of_files();
  live_session made(command, options);
  made.shared_ = std::make_unique<shared>();
  made.shared_->left = options.count == 0 ? std::numeric_limits<std::uint64_t>::max() : options.count;
  made.shared_->wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  made.shared_->ended = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const sigset_t awaited = awaited_signals();
  made.shared_->signals = ::signalfd(-1, &awaited, SFD_CLOEXEC | SFD_NONBLOCK);
  if (made.shared_->wake < 0 || made.shared_->ended < 0 || made.shared_->signals < 0) {
    return fail(failed, fmt::format("open descriptors for signals: {}", ipq::tool::rules::file_reason(errno)));
  }
  made.shared_->queues.reserve(options.queues());
  for (unsigned number = options.first_queue; number <= options.last_queue; ++number) {
    ipq::queue_options wanted = options.queue(static_cast<std::uint16_t>(number));
    wanted.uid_gid = how.uid_gid;
    if (how.max_length && !options.max_length) wanted.max_length = *how.max_length;
    if (how.accept_rest) {
      wanted.unanswered = ipq::verdict::accept();
      wanted.at_close = ipq::queue_options::closing::accept_waiting;
    }
    made.accepts_rest_ = wanted.at_close == ipq::queue_options::closing::accept_waiting;
    auto opened = ipq::queue::open(wanted);
    if (!opened) {
      failure why(opened.error());
      if (opened.error().is(EMFILE)) why.message = ipq::tool::rules::file_reason(opened.error());
      if (why.code == queue_taken) why.message += "; end it, or serve another queue with -q";
      return std::unexpected(std::move(why));
    }
    made.shared_->queues.push_back(*std::move(opened));
  }
  return made;
}

outcome<void> live_session::select() {
  if (const auto selectors = options_->selection.selectors()) {
    for (const auto& each : *selectors) note_missing_interfaces(command_, each.interfaces());
  }
  // Now, as from here on packets come.
  if (auto room = check_room_for_files(shared_->wake); !room) return room;
  auto installed = options_->selection.install(options_->range());
  if (!installed) return std::unexpected(installed.error());
  selected_ = *std::move(installed);
  return {};
}

outcome<void> live_session::make_room(std::uint32_t packets) {
  if (options_->max_length) return {};
  for (ipq::queue& each : shared_->queues) {
    if (auto set = each.set_max_length(packets); !set) return std::unexpected(failure(set.error()));
  }
  return {};
}

void live_session::announce() const {
  const std::string which = options_->queues() == 1
                                ? fmt::format("queue {}", options_->first_queue)
                                : fmt::format("queues {} to {}", options_->first_queue, options_->last_queue);
  // What becomes of packets when nobody listens is up to the rule: ours, or one that we know nothing of.
  const char* const full = options_->fail_open      ? "pass (--fail-open)"
                           : options_->fails_open() ? "pass (--fail open)"
                                                    : "are dropped";
  std::string policy =
      fmt::format("when the queue is full, packets {}; when nobody listens{}", full,
                  selected_ ? " while it runs, they are dropped" : ", the rule that queues them decides");
  if (selected_ && !options_->fail_open) policy = options_->selection.policy_text();
  say("ipq {}: serving {}; {}\n", command_, which, policy);
  if (selected_) say("ipq {}: packets are selected by {}\n", command_, selected_->description());
}

outcome<void> live_session::serve(std::span<handler* const> handlers, const hooks& calls) {
  if (auto dropped = drop_capabilities(); !dropped) return dropped;
  if (calls.prepare) {
    if (auto prepared = calls.prepare(); !prepared) return prepared;
  }
  if (auto restricted = restrict_system_calls(); !restricted) return restricted;
  announce();
  if (calls.announced) calls.announced();
  has_begun_ = true;

  {
    std::vector<std::jthread> workers;
    // Whatever leaves this block ends them, also what is thrown here.
    const std::unique_ptr<shared, void (*)(shared*)> ending(shared_.get(), [](shared* of) { of->stop(); });
    workers.reserve(handlers.size());
    shared_->running = static_cast<unsigned>(handlers.size());
    try {
      for (unsigned i = 0; i < handlers.size(); ++i) {
        workers.emplace_back([this, i, handlers] { work(*handlers[i], i); });
      }
    } catch (const std::system_error& refused) {
      // Nobody waits for those that never began.
      shared_->running -= static_cast<unsigned>(handlers.size() - workers.size());
      shared_->fail({failed, fmt::format("start worker {} of {}: {}: take fewer --workers, or raise the limit of "
                                         "processes (ulimit -u)",
                                         workers.size() + 1, handlers.size(), refused.code().message())});
    }
    if (!shared_->wrong) manager_->say("READY=1");
    wait_for_end(calls);
  }
  // What delayed packets were decided goes out now.
  for (ipq::queue& each : shared_->queues) {
    const auto sent = each.flush();
    if (!sent && !sent.error().lacks_memory()) shared_->fail(sent.error());  // that is tried again by closing
  }
  // A table that is empty goes behind the queues.
  if (selected_ && !selected_->empty_table()) {
    if (auto removed = selected_->remove(); !removed) shared_->fail(removed.error());
  }
  // Now, as what the caller has left to do, a recording to end, may take for ever: nobody reads what comes to the
  // queues.
  close_queues();
  selected_.reset();
  // From here on nobody reads signals.
  sigset_t ending;
  sigemptyset(&ending);
  for (const int each : {SIGINT, SIGTERM}) sigaddset(&ending, each);
  ::pthread_sigmask(SIG_UNBLOCK, &ending, nullptr);
  if (shared_->wrong) return std::unexpected(*shared_->wrong);
  return {};
}

void live_session::close_queues() {
  const std::lock_guard guard(shared_->closing);
  at_end_ = sum_of_queues();
  shared_->queues.clear();
}

void live_session::wait_for_end(const hooks& calls) {
  constexpr std::chrono::seconds between_looks{1};
  const auto end = options_->duration ? steady::now() + *options_->duration : steady::time_point::max();
  bool said_so = false;
  int keeper = selected_ ? selected_->keeper_line() : -1;  // -1 is passed over by poll()
  while (shared_->running > 0 || !said_so) {
    if (shared_->stopping && !std::exchange(said_so, true)) manager_->say("STOPPING=1");
    if (shared_->running == 0) continue;
    pollfd fds[] = {{.fd = shared_->signals, .events = POLLIN, .revents = 0},
                    {.fd = shared_->ended, .events = POLLIN, .revents = 0},
                    {.fd = keeper, .events = POLLIN, .revents = 0}};
    const auto wake = shared_->stopping ? steady::time_point::max() : end;
    wait_readable(fds, calls.look ? std::min(wake, steady::now() + between_looks) : wake);
    if (calls.look) calls.look();
    // Another one can't be started, with the rights that are left.
    if (fds[2].revents != 0) {
      keeper = -1;
      say("ipq {}: the process that removes its rules at the end (ipq keeper) is gone, perhaps killed: packets are "
          "judged on, but afterwards the rules stay; run ipq cleanup then\n",
          command_);
    }
    if (!shared_->stopping && steady::now() >= end) shared_->stop();
    signalfd_siginfo got{};
    while (::read(shared_->signals, &got, sizeof got) == sizeof got) {
      if (got.ssi_signo == SIGHUP && calls.reload) {
        if (!shared_->stopping) calls.reload();
      } else if (got.ssi_signo == SIGHUP && !hangup_ends) {
        continue;
      } else if (is_second_signal()) {
        // Something holds a worker. The kernel deals with what waits.
        selected_.reset();
        end_by_second_signal();
      } else {
        shared_->stop();
      }
    }
    eventfd_t count = 0;
    ::eventfd_read(shared_->ended, &count);
  }
}

void live_session::work(handler& with, unsigned worker) const noexcept {
  try {
    std::vector<ipq::queue*> mine;
    for (std::size_t i = worker; i < shared_->queues.size(); i += options_->workers)
      mine.push_back(&shared_->queues[i]);
    const auto served = mine.size() == 1 ? serve_one(with, *mine[0]) : serve_several(with, mine);
    with.finish();
    if (!served) shared_->fail(served.error());
  } catch (const std::exception& thrown) {
    shared_->fail({failed, thrown.what()});
  }
  shared_->stop();
  --shared_->running;
  ::eventfd_write(shared_->ended, 1);
}

ipq::result<void> live_session::take(handler& with, ipq::queue& from, const ipq::batch& received) const {
  for (const ipq::event& each : received.events()) {
    // A queue that is not ours any more, or a lost right: nothing will be decided from here on.
    if (each.what == ipq::event::kind::refused) {
      ipq::error wrong;
      wrong.code = each.code;
      wrong.operation = "set verdict in queue";
      wrong.queue = from.number();
      return std::unexpected(wrong);
    }
  }
  if (received.empty()) return {};
  std::uint64_t before = shared_->left.load(std::memory_order_relaxed);
  std::uint64_t mine = 0;
  if (options_->count == 0) {
    mine = received.size();
  } else {
    do mine = std::min<std::uint64_t>(before, received.size());
    while (!shared_->left.compare_exchange_weak(before, before - mine));
  }
  const std::span<const ipq::packet> packets(&received[0], mine);
  if (mine > 0) {
    if (auto taken = with.take(from, packets); !taken) return taken;
    if (auto sent = from.flush(); !sent && !sent.error().lacks_memory()) return sent;
    with.after(packets);
  }
  if (options_->count != 0 && before == mine) shared_->stop();
  return {};
}

ipq::result<void> live_session::serve_one(handler& with, ipq::queue& from) const {
  for (bool lacked_memory = false;;) {
    const auto received = from.receive(with.next_due());
    const bool lacks = !received && received.error().lacks_memory();
    if (received) {
      if (auto taken = take(with, from, *received); !taken) return taken;
    } else if (received.error().is(ECANCELED)) {
      return {};
    } else if (lacks ? lacked_memory : !received.error().is(ETIMEDOUT) && !received.error().is(EINTR)) {
      return std::unexpected(received.error());
    }
    lacked_memory = lacks;
    if (auto done_now = with.tick(); !done_now) return done_now;
  }
}

ipq::result<void> live_session::serve_several(handler& with, std::span<ipq::queue* const> from) const {
  std::vector<pollfd> fds{{.fd = shared_->wake, .events = POLLIN, .revents = 0}};
  for (const ipq::queue* each : from) fds.push_back({.fd = each->fd(), .events = POLLIN, .revents = 0});
  bool lacked_memory = false;
  while (!shared_->stopping) {
    // What could not be sent is tried again at once.
    const auto due = lacked_memory ? steady::now() : with.next_due();
    if (wait_readable(fds, due) < 0 && errno != EINTR) return ipq::failed("wait for packets", errno);
    bool lacks = false;
    const auto is_fault = [&](const ipq::error& what) {
      lacks = lacks || what.lacks_memory();
      return what.lacks_memory() ? lacked_memory : !what.is(ETIMEDOUT) && !what.is(EINTR) && !what.is(ECANCELED);
    };
    for (std::size_t i = 0; i < from.size(); ++i) {
      if (fds[i + 1].revents == 0) continue;
      const auto received = from[i]->try_receive();
      if (received) {
        if (auto taken = take(with, *from[i], *received); !taken) return taken;
      } else if (is_fault(received.error())) {
        return std::unexpected(received.error());
      }
    }
    if (auto done_now = with.tick(); !done_now) return done_now;
    for (ipq::queue* each : from)
      if (auto sent = each->flush(); !sent && is_fault(sent.error())) return sent;
    lacked_memory = lacks;
  }
  return {};
}

std::vector<live_session::kernel_counts> live_session::in_kernel() const {
  std::vector<kernel_counts> made;
  const std::lock_guard guard(shared_->closing);
  for (const ipq::queue& each : shared_->queues) {
    if (const auto counts = each.stats().in_kernel) made.push_back({each.number(), *counts});
  }
  return made;
}

ipq::statistics live_session::sum_of_queues() const {
  ipq::statistics sum;
  ipq::statistics::kernel kernel;
  bool known = true;
  for (const ipq::queue& each : shared_->queues) {
    const ipq::statistics one = each.stats();
    sum.received += one.received;
    sum.accepted += one.accepted;
    sum.dropped += one.dropped;
    sum.repeated += one.repeated;
    sum.stopped += one.stopped;
    sum.requeued += one.requeued;
    sum.gone += one.gone;
    sum.unanswered += one.unanswered;
    sum.malformed += one.malformed;
    sum.undecided += one.undecided;
    known = known && one.in_kernel.has_value();
    if (!one.in_kernel) continue;
    kernel.queued += one.in_kernel->queued;
    kernel.waiting += one.in_kernel->waiting;
    kernel.lost_queue_full += one.in_kernel->lost_queue_full;
    kernel.lost_no_buffer += one.in_kernel->lost_no_buffer;
  }
  if (known) sum.in_kernel = kernel;
  return sum;
}

void live_session::print_summary() const {
  const ipq::statistics& sum = at_end_;
  std::string text =
      fmt::format("ipq {}: {} received, {} accepted, {} dropped", command_, sum.received, sum.accepted, sum.dropped);
  const std::pair<const char*, std::uint64_t> rare[] = {{"repeated", sum.repeated},
                                                        {"stopped", sum.stopped},
                                                        {"sent to another queue", sum.requeued},
                                                        {"gone", sum.gone},
                                                        {"malformed", sum.malformed}};
  for (const auto& [what, number] : rare)
    if (number != 0) text += fmt::format(", {} {}", number, what);
  if (!sum.in_kernel) {
    text += ", lost and still waiting: not shown here";
  } else {
    const std::uint64_t lost = std::uint64_t{sum.in_kernel->lost_queue_full} + sum.in_kernel->lost_no_buffer;
    text += fmt::format(", {} lost", lost);
    if (sum.in_kernel->waiting != 0) {
      text += fmt::format(", {} still waiting: {}", sum.in_kernel->waiting, accepts_rest_ ? "accepted" : "dropped");
    }
    if (sum.in_kernel->lost_queue_full != 0) {
      text += fmt::format("\nipq {}: {} packet{} found the queue full: a larger --max-length holds more", command_,
                          sum.in_kernel->lost_queue_full, plural(sum.in_kernel->lost_queue_full));
    }
    if (sum.in_kernel->lost_no_buffer != 0) {
      text += fmt::format("\nipq {}: {} packet{} found no buffer: a smaller --copy-range needs less", command_,
                          sum.in_kernel->lost_no_buffer, plural(sum.in_kernel->lost_no_buffer));
    }
  }
  say("{}\n", text);
}

}  // namespace tool
