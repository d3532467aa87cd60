// SPDX-License-Identifier: MIT
#include "netlink/outbox.hpp"

#include <fcntl.h>

#include <cerrno>

namespace ipq::netlink {
namespace {

/// Room for everything that the kernel holds for a queue of default length, so that the backlog stays empty.
constexpr std::size_t send_buffer_size = 128 << 20;

}  // namespace

result<std::pair<outbox, socket>> outbox::open() {
  auto ends = open_pair();
  if (!ends) return std::unexpected(ends.error());
  auto& [read_end, writer] = *ends;
  ::fcntl(writer.fd(), F_SETFL, O_NONBLOCK);
  writer.set_send_buffer(send_buffer_size);
  return std::pair(outbox(std::move(writer)), std::move(read_end));
}

void outbox::post(std::span<const std::byte> message) {
  flush();
  if (backlog_.empty() && send(message)) return;
  backlog_.emplace_back(message.begin(), message.end());
}

void outbox::flush() {
  while (!backlog_.empty() && send(backlog_.front())) backlog_.pop_front();
}

result<datagram> outbox::take_back(std::span<std::byte> into) {
  auto received = writer_->receive(into, waiting::not_at_all);
  // ECONNRESET comes before the end, where the reader has left something unread.
  if (received ? received->length == 0 : !received.error().is(EAGAIN)) {
    hung_up_ = true;
    return failed("take back", EAGAIN);
  }
  return received;
}

bool outbox::send(std::span<const std::byte> message) const {
  const auto sent = writer_->send(message);
  // EPIPE: the reader has closed its end and reads no more.
  return sent || !(sent.error().is(EAGAIN) || sent.error().is(ENOBUFS));
}

}  // namespace ipq::netlink
