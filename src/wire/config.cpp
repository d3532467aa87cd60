// SPDX-License-Identifier: MIT
#include "wire/config.hpp"

#include <libmnl/libmnl.h>

#include "wire/bytes.hpp"
#include "wire/header.hpp"

namespace ipq::wire {

std::size_t encode_config(const config& wanted, std::span<std::byte, max_config_size> into) noexcept {
  nlmsghdr* header = put_header(into.data(), {.type = message_config,
                                              .queue = wanted.queue,
                                              .acknowledge = wanted.acknowledge,
                                              .sequence = wanted.sequence,
                                              .port_id = wanted.port_id});
  if (wanted.command) {
    // struct nfqnl_msg_config_cmd: u8 command, u8 padding, be16 protocol family (ignored since 3.8).
    const std::byte value[4] = {static_cast<std::byte>(*wanted.command)};
    mnl_attr_put(header, config_cmd, sizeof value, value);
  }
  if (wanted.copy) {
    std::byte value[5];  // struct nfqnl_msg_config_params: be32 range, u8 mode, packed
    store_be<std::uint32_t>(value, wanted.copy->range);
    value[4] = static_cast<std::byte>(wanted.copy->mode);
    put_padded(header, config_params, value);
  }
  if (wanted.max_length) mnl_attr_put_u32(header, config_queue_maxlen, big_endian(*wanted.max_length));
  if (wanted.flags) {
    mnl_attr_put_u32(header, config_mask, big_endian(wanted.flags->mask));
    mnl_attr_put_u32(header, config_flags, big_endian(wanted.flags->flags));
  }
  return header->nlmsg_len;
}

}  // namespace ipq::wire
