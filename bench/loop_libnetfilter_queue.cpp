// SPDX-License-Identifier: MIT
// The same loop as its manual shows it for libnetfilter_queue: recv, nfq_handle_packet, and the verdict in a callback.
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <sys/socket.h>
// The library's header needs the ones above and brings its own copy of the kernel's.
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>

#include "failure.hpp"
#include "loop.hpp"
#include "measurement.hpp"

namespace bench {
namespace {

class libnetfilter_queue_loop final : public loop {
 public:
  explicit libnetfilter_queue_loop(const loop_options& options) : handle_(nfq_open()) {
    if (handle_ == nullptr) throw failure(with_errno("nfq_open"));
    queue_.reset(nfq_create_queue(handle_.get(), options.queue, decide, this));
    if (queue_ == nullptr) throw failure(with_errno("nfq_create_queue"));
    if (nfq_set_queue_maxlen(queue_.get(), options.max_length) < 0) throw failure(with_errno("nfq_set_queue_maxlen"));
    const std::uint32_t gso = NFQA_CFG_F_GSO;
    if (nfq_set_queue_flags(queue_.get(), gso, options.gso ? gso : 0) < 0) {
      throw failure(with_errno("nfq_set_queue_flags"));
    }
    if (nfq_set_mode(queue_.get(), NFQNL_COPY_PACKET, options.copy_range) < 0) {
      throw failure(with_errno("nfq_set_mode"));
    }
    enlarge_receive_buffer(fd(), options.max_length);
  }

  int fd() const override { return nfq_fd(handle_.get()); }

  drained drain(std::uint64_t packets, verdicts given, std::span<unsigned char> buffer) override {
    drained_ = {};
    given_ = given;
    last_ = false;
    const int fd = this->fd();
    while (drained_.packets < packets && !last_) {
      const ssize_t length = recv(fd, buffer.data(), buffer.size(), 0);
      if (length < 0) throw failure(with_errno("recv"));
      if (nfq_handle_packet(handle_.get(), reinterpret_cast<char*>(buffer.data()), static_cast<int>(length)) < 0) {
        throw failure(with_errno("nfq_handle_packet"));
      }
    }
    return drained_;
  }

 private:
  static int decide(nfq_q_handle* queue, nfgenmsg*, nfq_data* data, void* self) {
    auto* loop = static_cast<libnetfilter_queue_loop*>(self);
    const nfqnl_msg_packet_hdr* header = nfq_get_msg_packet_hdr(data);
    unsigned char* payload = nullptr;
    const int length = nfq_get_payload(data, &payload);
    if (header == nullptr || length < 0) return -1;
    const std::uint32_t verdict = verdict_of(loop->given_, loop->drained_.packets);
    loop->last_ = length == header_bytes;
    if (!loop->last_) {
      loop->drained_.bytes += static_cast<unsigned>(length);
      ++loop->drained_.packets;
    }
    return nfq_set_verdict(queue, ntohl(header->packet_id), verdict, 0, nullptr);
  }

  struct close_handle {
    void operator()(nfq_handle* handle) const { nfq_close(handle); }
  };
  struct destroy_queue {
    void operator()(nfq_q_handle* queue) const { nfq_destroy_queue(queue); }
  };
  std::unique_ptr<nfq_handle, close_handle> handle_;
  std::unique_ptr<nfq_q_handle, destroy_queue> queue_;
  drained drained_;
  verdicts given_ = verdicts::drop;
  bool last_ = false;
};

}  // namespace

const contestant libnetfilter_queue{"libnetfilter_queue", [](const loop_options& options) -> std::unique_ptr<loop> {
                                      return std::make_unique<libnetfilter_queue_loop>(options);
                                    }};

}  // namespace bench
