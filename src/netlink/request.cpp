// SPDX-License-Identifier: MIT
#include "netlink/request.hpp"

#include <cerrno>
#include <new>

#include "wire/bytes.hpp"
#include "wire/message.hpp"

namespace ipq::netlink {

result<void> execute(const socket& connection, std::span<const std::byte> request, std::uint32_t sequence,
                     const char* operation, std::chrono::steady_clock::time_point deadline, stash& others) try {
  // Packets may come meanwhile, with a page each of connection and security context.
  std::vector<std::byte> buffer(wire::max_datagram + 2 * std::size_t{4096});
  const auto type = wire::load<std::uint16_t>(request.data() + 4);  // nlmsg_type
  if (const auto sent = connection.send(request); !sent) return failed(operation, sent.error().code.value());
  for (;;) {
    const auto received = connection.receive(buffer, waiting::not_at_all);
    if (!received) {
      if (received.error().is(ENOBUFS)) continue;
      if (!received.error().is(EAGAIN)) return failed(operation, received.error().code.value());
      const auto ready = connection.wait_readable(deadline);
      if (!ready && !ready.error().is(EINTR)) return failed(operation, ready.error().code.value());
      continue;
    }
    if (received->length == 0) return failed(operation, ECONNRESET);
    const std::span<const std::byte> whole(buffer.data(), received->length);
    wire::bytes rest = whole;
    const auto message = wire::next_message(rest);
    const auto reply = message ? wire::parse_error(*message) : std::nullopt;
    if (!reply || reply->sequence != sequence || reply->request_type != type) {
      others.emplace_back(whole.begin(), whole.end());
      // Whoever answers the packets meanwhile keeps them coming.
      if (std::chrono::steady_clock::now() >= deadline) return failed(operation, ETIMEDOUT);
      continue;
    }
    if (reply->code != 0) return failed(operation, reply->code);
    return {};
  }
} catch (const std::bad_alloc&) {
  return failed(operation, ENOMEM);
}

}  // namespace ipq::netlink
