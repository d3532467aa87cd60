// SPDX-License-Identifier: MIT
// The floor: one recv and one send per packet, nothing parsed, nothing checked that the next packet would not show.
#include <sys/socket.h>

#include <cstring>

#include "bare_queue.hpp"
#include "failure.hpp"

namespace bench {
namespace {

class bare_loop final : public loop {
 public:
  explicit bare_loop(const loop_options& options) : queue_(options) {}

  int fd() const override { return queue_.fd(); }

  drained drain(std::uint64_t packets, verdicts given, std::span<unsigned char> buffer) override {
    drained result;
    verdict_message message;
    while (result.packets < packets) {
      const ssize_t length = recv(fd(), buffer.data(), buffer.size(), 0);
      if (length < 0) throw failure(with_errno("recv"));
      std::memcpy(&message.verdict.id, buffer.data() + id_offset, sizeof message.verdict.id);
      message.verdict.verdict = htonl(verdict_of(given, result.packets));
      if (send(fd(), &message, sizeof message, 0) < 0) throw failure(with_errno("send"));
      if (is_last(buffer.data(), static_cast<std::size_t>(length))) break;
      result.bytes += static_cast<std::size_t>(length);
      ++result.packets;
    }
    return result;
  }

 private:
  bare_queue queue_;
};

}  // namespace

const contestant bare{
    "bare", [](const loop_options& options) -> std::unique_ptr<loop> { return std::make_unique<bare_loop>(options); },
    false};

}  // namespace bench
