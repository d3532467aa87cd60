// SPDX-License-Identifier: MIT
// The floor: one recv and one send per packet, nothing parsed, nothing checked that the next packet would not show.
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <limits>

#include "failure.hpp"
#include "loop.hpp"

namespace bench {
namespace {

struct bind_message {
  nlmsghdr header{sizeof(bind_message), (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_CONFIG, NLM_F_REQUEST | NLM_F_ACK, 0, 0};
  nfgenmsg family{AF_UNSPEC, NFNETLINK_V0, 0};
  nlattr command_attribute{sizeof(nlattr) + sizeof(nfqnl_msg_config_cmd), NFQA_CFG_CMD};
  nfqnl_msg_config_cmd command{NFQNL_CFG_CMD_BIND, 0, 0};
  nlattr params_attribute{sizeof(nlattr) + sizeof(nfqnl_msg_config_params), NFQA_CFG_PARAMS};
  nfqnl_msg_config_params params{htonl(0xffff), NFQNL_COPY_PACKET};
  char padding[3]{};
  nlattr max_length_attribute{sizeof(nlattr) + sizeof(std::uint32_t), NFQA_CFG_QUEUE_MAXLEN};
  std::uint32_t max_length = 0;
};
static_assert(sizeof(bind_message) == 16 + 4 + 8 + 12 + 8);

struct verdict_message {
  nlmsghdr header{sizeof(verdict_message), (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_VERDICT, NLM_F_REQUEST, 0, 0};
  nfgenmsg family{AF_UNSPEC, NFNETLINK_V0, 0};
  nlattr attribute{sizeof(nlattr) + sizeof(nfqnl_msg_verdict_hdr), NFQA_VERDICT_HDR};
  nfqnl_msg_verdict_hdr verdict{};
};
static_assert(sizeof(verdict_message) == 32);

// The kernel puts NFQA_PACKET_HDR first, and the id first in it (nfnetlink_queue.c, nfqnl_build_packet_message).
constexpr std::size_t id_offset = sizeof(nlmsghdr) + sizeof(nfgenmsg) + sizeof(nlattr);

class bare_loop final : public loop {
 public:
  explicit bare_loop(unsigned max_length) : fd_(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER)) {
    if (fd_ < 0) {
      throw unavailable(with_errno("cannot open a netfilter netlink socket") +
                        " (the kernel needs CONFIG_NETFILTER_NETLINK_QUEUE)");
    }
    try {
      bind_queue(max_length);
    } catch (...) {
      close(fd_);
      throw;
    }
    enlarge_receive_buffer(fd_, max_length);
  }
  ~bare_loop() override { close(fd_); }

  int fd() const override { return fd_; }

  drained drain(std::uint64_t packets, unsigned verdict, std::span<unsigned char> buffer) override {
    drained result;
    verdict_message message;
    message.verdict.verdict = htonl(verdict);
    while (result.packets < packets) {
      const ssize_t length = recv(fd_, buffer.data(), buffer.size(), 0);
      if (length < 0) throw failure(with_errno("recv"));
      std::memcpy(&message.verdict.id, buffer.data() + id_offset, sizeof message.verdict.id);
      if (send(fd_, &message, sizeof message, 0) < 0) throw failure(with_errno("send"));
      result.bytes += static_cast<std::size_t>(length);
      ++result.packets;
    }
    return result;
  }

 private:
  void bind_queue(unsigned max_length) {
    bind_message request;
    request.max_length = htonl(max_length);
    if (send(fd_, &request, sizeof request, 0) < 0) throw unavailable(with_errno("cannot ask for the queue"));
    struct {
      nlmsghdr header;
      nlmsgerr error;
    } answer{};
    if (recv(fd_, &answer, sizeof answer, 0) < 0) throw failure(with_errno("no answer to the request for the queue"));
    if (answer.header.nlmsg_type != NLMSG_ERROR) throw failure("the request for the queue was not acknowledged");
    errno = -answer.error.error;
    if (errno == EPERM) {
      throw unavailable(with_errno("cannot take queue 0") + " (CAP_NET_ADMIN is needed in the network namespace)");
    }
    if (errno != 0) {
      throw unavailable(with_errno("cannot take queue 0") + " (the kernel needs CONFIG_NETFILTER_NETLINK_QUEUE)");
    }
  }

  int fd_;
};

}  // namespace

std::unique_ptr<loop> open_bare(unsigned max_length) {
  return std::make_unique<bare_loop>(max_length);
}

void enlarge_receive_buffer(int fd, unsigned max_length) {
  // A packet of full Ethernet size is charged with less than this; the kernel doubles what is asked for.
  constexpr std::uint64_t charge = 4096, most = std::numeric_limits<int>::max() / 2;
  const int size = static_cast<int>(std::min<std::uint64_t>(max_length * charge, most));
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0 &&
      setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) != 0) {
    throw failure(with_errno("cannot enlarge the receive buffer"));
  }
  const int on = 1;
  if (setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on) != 0) {
    throw failure(with_errno("cannot set NETLINK_NO_ENOBUFS"));
  }
}

}  // namespace bench
