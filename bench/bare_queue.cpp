// SPDX-License-Identifier: MIT
// The bind, in one message.
#include "bare_queue.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "failure.hpp"
#include "measurement.hpp"

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
  nlattr flags_attribute{sizeof(nlattr) + sizeof(std::uint32_t), NFQA_CFG_FLAGS};
  std::uint32_t flags = 0;
  nlattr mask_attribute{sizeof(nlattr) + sizeof(std::uint32_t), NFQA_CFG_MASK};
  std::uint32_t mask = htonl(NFQA_CFG_F_GSO);
};
static_assert(sizeof(bind_message) == 16 + 4 + 8 + 12 + 8 + 8 + 8);

}  // namespace

bare_queue::bare_queue(const loop_options& options)
    : socket_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER)) {
  if (fd() < 0) {
    throw unavailable(with_errno("cannot open a netfilter netlink socket") +
                      " (the kernel needs CONFIG_NETFILTER_NETLINK_QUEUE)");
  }
  bind(options);
  enlarge_receive_buffer(fd(), options.max_length);
}

void bare_queue::bind(const loop_options& options) const {
  bind_message request;
  request.family.res_id = htons(options.queue);
  request.params.copy_range = htonl(options.copy_range);
  request.max_length = htonl(options.max_length);
  request.flags = options.gso ? htonl(NFQA_CFG_F_GSO) : 0;
  if (send(fd(), &request, sizeof request, 0) < 0) throw unavailable(with_errno("cannot ask for the queue"));
  struct {
    nlmsghdr header;
    nlmsgerr error;
  } answer{};
  if (recv(fd(), &answer, sizeof answer, 0) < 0) throw failure(with_errno("no answer to the request for the queue"));
  if (answer.header.nlmsg_type != NLMSG_ERROR) throw failure("the request for the queue was not acknowledged");
  errno = -answer.error.error;
  if (errno == EPERM) {
    throw unavailable(with_errno("cannot take queue 0") + " (CAP_NET_ADMIN is needed in the network namespace)");
  }
  if (errno != 0) {
    throw unavailable(with_errno("cannot take queue 0") + " (the kernel needs CONFIG_NETFILTER_NETLINK_QUEUE)");
  }
}

bool is_last(const unsigned char* message, std::size_t length) {
  nlattr payload;
  const std::size_t whole = sizeof payload + header_bytes;
  if (length < sizeof(nlmsghdr) + whole) return false;
  std::memcpy(&payload, message + length - whole, sizeof payload);
  return payload.nla_len == whole && payload.nla_type == NFQA_PAYLOAD;
}

int receive_buffer_for(unsigned max_length) {
  // A packet of full Ethernet size is charged with less than this.
  constexpr std::uint64_t charge = 4096, most = std::numeric_limits<int>::max() / 2;
  return static_cast<int>(std::min<std::uint64_t>(max_length * charge, most));
}

void enlarge_receive_buffer(int fd, unsigned max_length) {
  const int size = receive_buffer_for(max_length);
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0 &&
      setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) != 0) {
    throw failure(with_errno("cannot enlarge the receive buffer"));
  }
  const int on = 1;
  if (setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on) != 0) {
    throw failure(with_errno("cannot set NETLINK_NO_ENOBUFS"));
  }
}

std::uint32_t verdict_of(verdicts given, std::uint64_t index) {
  switch (given) {
    case verdicts::accept:
      return NF_ACCEPT;
    case verdicts::drop:
      return NF_DROP;
    case verdicts::alternating:
      break;
  }
  return index % 2 == 0 ? NF_ACCEPT : NF_DROP;
}

}  // namespace bench
