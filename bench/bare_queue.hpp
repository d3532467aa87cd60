// SPDX-License-Identifier: MIT
// A queue taken with bare system calls, and the messages for it: what the two bare loops have in common.
#pragma once

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>

#include "loop.hpp"
#include "traffic.hpp"

namespace bench {

struct verdict_message {
  nlmsghdr header{sizeof(verdict_message), (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_VERDICT, NLM_F_REQUEST, 0, 0};
  nfgenmsg family{AF_UNSPEC, NFNETLINK_V0, 0};
  nlattr attribute{sizeof(nlattr) + sizeof(nfqnl_msg_verdict_hdr), NFQA_VERDICT_HDR};
  nfqnl_msg_verdict_hdr verdict{};
};
static_assert(sizeof(verdict_message) == 32);

// The kernel puts NFQA_PACKET_HDR first, and the id first in it (nfnetlink_queue.c, nfqnl_build_packet_message).
inline constexpr std::size_t id_offset = sizeof(nlmsghdr) + sizeof(nfgenmsg) + sizeof(nlattr);

class bare_queue {
 public:
  // Throws unavailable where the kernel or the rights are lacking.
  explicit bare_queue(const loop_options& options);
  int fd() const { return socket_.get(); }

 private:
  void bind(const loop_options& options) const;
  file_descriptor socket_;
};

// Whether the message, of that many bytes, is about a datagram without payload.
bool is_last(const unsigned char* message, std::size_t length);

}  // namespace bench
