// SPDX-License-Identifier: MIT
#include "compat/translate.hpp"

#include <algorithm>
#include <cstring>

#include "wire/constants.hpp"

namespace ipq::compat {

std::size_t write_refusal(int code, const request_note& request, std::uint32_t port_id,
                          std::span<unsigned char> into) noexcept {
  constexpr std::size_t request_head = sizeof(nlmsghdr);
  struct {
    nlmsghdr header;
    nlmsgerr error;
    unsigned char request[mode_request_size - request_head];
  } message;
  std::memset(&message, 0, sizeof message);
  constexpr std::size_t verdict_length = sizeof message.header + sizeof message.error.error + verdict_request_size;
  static_assert(sizeof message == sizeof message.header + sizeof message.error.error + mode_request_size);
  static_assert(verdict_request_size <= mode_request_size);

  const std::size_t length = request.verdict ? verdict_length : sizeof message;
  message.header.nlmsg_len = static_cast<std::uint32_t>(length);
  message.header.nlmsg_type = NLMSG_ERROR;
  message.header.nlmsg_pid = port_id;
  message.error.error = -code;
  message.error.msg.nlmsg_flags = NLM_F_REQUEST;
  message.error.msg.nlmsg_pid = port_id;
  if (request.verdict) {
    ipq_verdict_msg_t verdict;
    std::memset(&verdict, 0, sizeof verdict);
    verdict.value = request.verdict->value;
    verdict.id = request.verdict->id;
    verdict.data_len = request.verdict->data_len;
    message.error.msg.nlmsg_type = IPQM_VERDICT;
    message.error.msg.nlmsg_len = static_cast<std::uint32_t>(request_head + sizeof verdict + request.verdict->data_len);
    std::memcpy(message.request, &verdict, sizeof verdict);
  } else if (request.mode) {
    ipq_mode_msg_t mode;
    std::memset(&mode, 0, sizeof mode);  // what is between its members goes out too
    mode.value = request.mode->mode;
    mode.range = request.mode->range;
    message.error.msg.nlmsg_type = IPQM_MODE;
    message.error.msg.nlmsg_len = sizeof message - sizeof message.header - sizeof message.error.error;
    std::memcpy(message.request, &mode, sizeof mode);
  }
  std::memcpy(into.data(), &message, std::min(length, into.size()));
  return length;
}

std::size_t write_answer(std::span<const std::byte> answer, std::span<unsigned char> into) noexcept {
  struct {
    nlmsghdr header;
    nlmsgerr error;
  } message;
  std::memcpy(&message, answer.data(), sizeof message);
  message.header.nlmsg_len = sizeof message;
  message.header.nlmsg_flags = 0;
  std::memcpy(into.data(), &message, std::min(sizeof message, into.size()));
  return sizeof message;
}

}  // namespace ipq::compat
