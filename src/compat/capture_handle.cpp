// SPDX-License-Identifier: MIT
#include "compat/capture_handle.hpp"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <new>
#include <utility>

#include "compat/translate.hpp"
#include "netlink/cancellation.hpp"

namespace ipq::compat {
namespace {

constexpr std::chrono::milliseconds look_again(100);

/// Whether nobody else could give a verdict while this thread waits: no other thread, and no child that lives.
bool is_alone(bool has_children) noexcept {
  constexpr nlink_t of_one_thread = 3;
  const int kept = errno;
  struct stat threads {};
  bool alone = ::stat("/proc/self/task", &threads) != 0 || threads.st_nlink <= of_one_thread;
  siginfo_t state{};
  // Who has ended can't stop, so that this is an error where all have.
  if (has_children) alone = alone && ::waitid(P_ALL, 0, &state, WSTOPPED | WNOHANG | WNOWAIT) != 0;
  errno = kept;
  return alone;
}

}  // namespace

result<void> capture_handle::open(std::uint16_t number, handle* other) {
  set_number(number);
  if (queue_) return {};
  auto joined = other != nullptr ? other->through_capture() : nullptr;
  if (!joined) {
    auto opened = capture_queue::open(*options().capture);
    if (!opened) return std::unexpected(opened.error());
    joined = *std::move(opened);
  }
  auto readable = joined->join(*this);
  if (!readable) return std::unexpected(readable.error());
  readable_ = *std::move(readable);
  queue_ = std::move(joined);
  fd = readable_.fd();
  local.nl_pid = static_cast<std::uint32_t>(::getpid());
  return {};
}

void capture_handle::leave() {
  if (!queue_) return;
  queue_->leave(*this);
  queue_.reset();
}

/// At the end of a wait for input, also when the thread is cancelled: the packet that came, or the mark.
class capture_handle::mark_again {
 public:
  mark_again(capture_queue& queue, const capture_handle& reader) noexcept : queue_(queue), reader_(reader) {}
  ~mark_again() {
    const netlink::cancellation_off uninterrupted;
    const int kept = errno;
    try {
      queue_.advance(reader_);
    } catch (const std::bad_alloc&) {
      // The next read tries again.
    }
    errno = kept;
  }
  mark_again(const mark_again&) = delete;
  mark_again& operator=(const mark_again&) = delete;

 private:
  capture_queue& queue_;
  const capture_handle& reader_;
};

ssize_t capture_handle::read(std::span<unsigned char> into, int timeout) try {
  using clock = std::chrono::steady_clock;
  if (into.size() < min_read_buffer) return fail(IPQ_ERR_RECVBUF, "read");
  const int errno_before = errno;
  const auto timed_out = [&] {
    errno = errno_before;
    set_thread_error(IPQ_ERR_TIMEOUT);
    return 0;
  };
  const auto bytes = std::as_writable_bytes(into);
  std::optional<clock::time_point> deadline;
  for (bool advanced = false;;) {
    auto received = readable_.receive(bytes, netlink::waiting::not_at_all);
    if (!received && received.error().is(EAGAIN)) {
      if (!std::exchange(advanced, true)) {
        const netlink::cancellation_off uninterrupted;
        queue_->advance(*this, timeout == 0 && is_alone(queue_->has_children()));
        errno = errno_before;
        continue;
      }
      if (queue_->is_cut_off(*this)) return report_cut_off();
      if (timeout < 0) return timed_out();
      if (timeout > 0) {
        if (!deadline) deadline = clock::now() + std::chrono::microseconds(timeout);
        const auto ready = readable_.wait_readable(*deadline);
        if (ready) continue;
        if (ready.error().is(ETIMEDOUT)) return timed_out();
        if (ready.error().is(EINTR)) return 0;
        return fail(IPQ_ERR_RECV, "read");
      }
      if (queue_->holds_back()) {
        // Until another thread or a child decides, or has ended and won't.
        const auto ready = readable_.wait_readable(clock::now() + look_again);
        if (!ready && !ready.error().is(ETIMEDOUT)) return fail(IPQ_ERR_RECV, "read");
        errno = errno_before;
        advanced = false;
        continue;
      }
      received = readable_.receive(bytes, netlink::waiting::until_something_comes);
    }
    if (!received) return fail(IPQ_ERR_RECV, "read");
    errno = errno_before;
    if (received->length != 0) return deliver(*received, into);
    if (queue_->is_cut_off(*this)) return report_cut_off();  // and this was the end of the stream
    // The mark. What was refused after it was set comes before it all the same.
    std::optional<int> input;
    {
      const netlink::cancellation_off uninterrupted;
      input = queue_->mark_taken(*this);
    }
    const auto behind = readable_.receive(bytes, netlink::waiting::not_at_all);
    errno = errno_before;
    if (behind && behind->length != 0) return deliver(*behind, into);
    if (!input) return report_end();
    if (timeout < 0) deadline = clock::time_point::min();
    if (timeout > 0 && !deadline) deadline = clock::now() + std::chrono::microseconds(timeout);
    const mark_again or_packet(*queue_, *this);
    const auto ready = netlink::wait_for_either(readable_.fd(), *input, deadline);
    if (ready) continue;
    if (ready.error().is(ETIMEDOUT)) return timed_out();
    if (ready.error().is(EINTR) && timeout > 0) return 0;
    return fail(IPQ_ERR_RECV, "read");
  }
} catch (const std::bad_alloc&) {
  errno = ENOMEM;
  return fail(IPQ_ERR_BUFFER, "read");
}

ssize_t capture_handle::deliver(const netlink::datagram& received, std::span<unsigned char> into) {
  const netlink::cancellation_off uninterrupted;
  const int errno_before = errno;
  try {
    queue_->taken(*this);
  } catch (const std::bad_alloc&) {
    // This message is whole; the next read tries again to have another come.
  }
  errno = errno_before;
  if (ipq_message_type(into.data()) == IPQM_PACKET) {
    counters_.received.add();
    if (debugging() && received.length >= sizeof(nlmsghdr) + sizeof(ipq_packet_msg_t)) {
      ipq_packet_msg_t packet;
      std::memcpy(&packet, into.data() + sizeof(nlmsghdr), sizeof packet);
      debug("packet %lu hook %u in \"%s\" out \"%s\" mark 0x%lx: %zu bytes", packet.packet_id, packet.hook,
            packet.indev_name, packet.outdev_name, packet.mark, packet.data_len);
    }
  }
  if (received.truncated) return fail(IPQ_ERR_RTRUNC, "read");
  return static_cast<ssize_t>(received.length);
}

int capture_handle::report_cut_off() noexcept {
  errno = EBADF;
  return fail(IPQ_ERR_RECV, "read", "the program closed a descriptor of the library");
}

int capture_handle::report_end() {
  const netlink::cancellation_off uninterrupted;
  const auto why = queue_->take_error(*this);
  queue_->advance(*this);
  if (!why) return fail(IPQ_ERR_NLEOF, "read", "the capture is at its end");
  errno = why->code.value();
  return fail(IPQ_ERR_RECV, "read", why->message().c_str());
}

int capture_handle::set_mode(std::uint8_t mode, std::size_t range) try {
  const int errno_before = errno;
  mode_set_ = true;
  debug("set mode %u range %zu", mode, range);
  const copy_parameters copies = parameters_of(mode, range);
  if (mode > IPQ_COPY_PACKET) {
    queue_->refuse_mode(*this, {mode, static_cast<std::uint32_t>(std::min<std::size_t>(range, UINT32_MAX)), {}});
    set_refusal(describe_refused_mode(mode).data());
  } else {
    queue_->set_mode(*this, copies);
    copies_ = copies;
  }
  errno = errno_before;
  return mode_request_size;
} catch (const std::bad_alloc&) {
  errno = ENOMEM;
  return fail(IPQ_ERR_BUFFER, "set mode");
}

int capture_handle::set_verdict(ipq_id_t id, unsigned int value, std::optional<std::uint32_t> mark,
                                std::size_t data_len, const unsigned char* data) try {
  const netlink::cancellation_off uninterrupted;
  const int errno_before = errno;
  const std::size_t given = data != nullptr ? data_len : 0;
  const verdict_note asked{static_cast<std::uint32_t>(id), value, given};
  const auto refused = queue_->decide(*this, asked, mark, std::as_bytes(std::span(data, given)));
  if (!refused) {
    errno = refused.error().code.value();
    return fail(IPQ_ERR_SEND, "set verdict", refused.error().message().c_str());
  }
  errno = errno_before;
  if (*refused == 0) {
    counter_of(value, given).add();
    debug("verdict %u on packet %u, %zu bytes of replacement", value, asked.id, given);
  } else {
    counters_.refused.add();
    describe_refused_verdict(asked.id, value, *refused);
  }
  return static_cast<int>(verdict_request_size + given);
} catch (const std::bad_alloc&) {
  errno = ENOMEM;
  return fail(IPQ_ERR_BUFFER, "set verdict");
}

ipq_status capture_handle::status() const {
  const copy_parameters copies = copies_;
  ipq_status now{};
  now.queue = options().queue;
  now.peer_portid = mode_set_ ? local.nl_pid : 0;
  now.copy_mode = copies.mode;
  now.copy_range = copies.range;
  now.max_length = options().max_length;
  now.fail_open = options().fail_open;
  now.length = static_cast<std::uint32_t>(queue_->waiting());
  now.receive_buffer = readable_.receive_buffer();
  return now;
}

ipq_stats capture_handle::stats() const {
  ipq_stats now = counted();
  now.lost_queue_full = queue_->lost_queue_full();
  now.lost_no_buffer = 0;
  return now;
}

}  // namespace ipq::compat
