// SPDX-License-Identifier: MIT
// The classic loop of a libipq program, as it has been written since 2001.
#include <libipq/libipq.h>
#include <linux/netfilter.h>

#include "failure.hpp"
#include "loop.hpp"

namespace bench {
namespace {

[[noreturn]] void fail(const char* call) {
  throw failure(std::string(call) + ": " + ipq_errstr());
}

void refuse(const unsigned char* message) {
  throw failure(std::string("libipq: the kernel refused: ") + std::strerror(ipq_get_msgerr(message)));
}

class libipq_loop final : public loop {
 public:
  libipq_loop(unsigned flags, unsigned max_length) : handle_(ipq_create_handle(flags, NFPROTO_IPV4)) {
    if (handle_ == nullptr) fail("ipq_create_handle");
    unsigned char message[256];
    if (ipq_set_max_length(handle_.get(), max_length) != 0) fail("ipq_set_max_length");
    if (ipq_set_mode(handle_.get(), IPQ_COPY_PACKET, 0) < 0) fail("ipq_set_mode");
    if (ipq_read(handle_.get(), message, sizeof message, -1) > 0) refuse(message);
  }

  int fd() const override { return handle_->fd; }

  drained drain(std::uint64_t packets, verdicts given, std::span<unsigned char> buffer) override {
    drained result;
    while (result.packets < packets) {
      if (ipq_read(handle_.get(), buffer.data(), buffer.size(), 0) < 0) fail("ipq_read");
      switch (ipq_message_type(buffer.data())) {
        case NLMSG_ERROR:
          refuse(buffer.data());
          break;
        case IPQM_PACKET: {
          const ipq_packet_msg_t* packet = ipq_get_packet(buffer.data());
          const unsigned verdict = verdict_of(given, result.packets);
          result.bytes += packet->data_len;
          ++result.packets;
          if (ipq_set_verdict(handle_.get(), packet->packet_id, verdict, 0, nullptr) < 0) fail("ipq_set_verdict");
          break;
        }
        default:
          throw failure("ipq_read: neither a packet nor an error");
      }
    }
    return result;
  }

 private:
  struct destroy {
    void operator()(ipq_handle* handle) const { ipq_destroy_handle(handle); }
  };
  std::unique_ptr<ipq_handle, destroy> handle_;
};

}  // namespace

const contestant libipq{"libipq", [](const loop_options& options) -> std::unique_ptr<loop> {
                          return std::make_unique<libipq_loop>(0, options.max_length);
                        }};
const contestant libipq_batch{"libipq, batch", [](const loop_options& options) -> std::unique_ptr<loop> {
                                return std::make_unique<libipq_loop>(IPQ_CREATE_BATCH, options.max_length);
                              }};

}  // namespace bench
