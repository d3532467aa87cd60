// SPDX-License-Identifier: MIT
#include "netlink/arena.hpp"

#include <cerrno>
#include <functional>

namespace ipq::netlink {

arena::arena(std::size_t count, std::size_t size)
    // Whole cache lines, and an odd number of them: the beginnings of the slots do not all fall on the same sets.
    : size_(((size + 63) / 64 | 1) * 64),
      memory_(std::make_unique_for_overwrite<std::byte[]>(count * size_)),
      parts_(count),
      messages_(count) {
  for (std::size_t i = 0; i < count; ++i) {
    parts_[i] = {slot(i), size_};
    messages_[i].msg_hdr.msg_iov = &parts_[i];
    messages_[i].msg_hdr.msg_iovlen = 1;
  }
}

result<std::size_t> arena::receive(const socket& from) {
  const int received =
      ::recvmmsg(from.fd(), messages_.data(), static_cast<unsigned>(messages_.size()), MSG_DONTWAIT, nullptr);
  if (received < 0) return failed("receive", errno);
  return static_cast<std::size_t>(received);
}

result<std::size_t> arena::receive_one(const socket& from) {
  const auto received = from.receive({slot(0), size_}, waiting::until_something_comes);
  if (!received) return std::unexpected(received.error());
  messages_[0].msg_len = static_cast<unsigned>(received->length);
  messages_[0].msg_hdr.msg_flags = received->truncated ? MSG_TRUNC : 0;
  return 1;
}

bool arena::contains(std::span<const std::byte> bytes) const noexcept {
  const std::less_equal<> not_after;
  return not_after(memory_.get(), bytes.data()) &&
         not_after(bytes.data() + bytes.size(), memory_.get() + messages_.size() * size_);
}

}  // namespace ipq::netlink
